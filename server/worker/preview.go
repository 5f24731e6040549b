package worker

import (
	"bytes"
	"image"
	"image/png"
	"sync"
)

// previews encodes previews, which are small and many: one after each step, shown for a
// moment. The compressor's tables are kept between them, and little is tried to make the
// files smaller: anew and with the usual effort 16 x 16 pixels take a hundred times as long,
// about what a small model's step does.
type previews struct{ free sync.Pool }

func (p *previews) Get() *png.EncoderBuffer {
	b, _ := p.free.Get().(*png.EncoderBuffer)
	return b
}

func (p *previews) Put(b *png.EncoderBuffer) { p.free.Put(b) }

// encode makes a PNG file of a preview.
func (p *previews) encode(img *image.NRGBA) ([]byte, error) {
	var b bytes.Buffer
	err := (&png.Encoder{CompressionLevel: png.BestSpeed, BufferPool: p}).Encode(&b, img)
	return b.Bytes(), err
}
