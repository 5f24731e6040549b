package sd

import (
	"context"
	"image"

	"github.com/sdgo/sdgo/cgo"
)

// Tiles for pictures that are too large to decode at once, in latent pixels:
// the size that the autoencoder was trained at, or half of it, with a quarter
// shared between neighbours.
var tilings = []tiling{{size: 64, overlap: 16}, {size: 32, overlap: 8}}

// decode turns a latent [channels, h, w] into a picture, whole if memory
// allows and in tiles otherwise.
func (m *Model) decode(ctx context.Context, latent plane, done func(index, of int) error) (*image.NRGBA, error) {
	z := plane{make([]float32, len(latent.data)), latent.channels, latent.height, latent.width}
	for i, v := range latent.data {
		z.data[i] = v / m.weights.VAE.ScaleFactor
	}
	pixels, err := m.decodePlane(ctx, m.decoder, "the autoencoder", z, m.factor(), done)
	if err != nil {
		return nil, err
	}
	return toImage(pixels), nil
}

// decodePlane runs a decoder, which gives scale pixels for a latent one, whole
// or in tiles.
func (m *Model) decodePlane(ctx context.Context, p *part, name string, z plane, scale int, done func(index, of int) error) (pixels plane, err error) {
	net, err := p.get(ctx)
	if err != nil {
		return pixels, err
	}
	defer p.idle()
	release, err := m.takePixels(z.width*scale, z.height*scale, planePixel+2*picturePixel) // as a picture, and as its file
	if err != nil {
		return pixels, err
	}
	defer release()
	one := func(ctx context.Context, z plane) (plane, error) {
		out := newPlane(3, z.height*scale, z.width*scale)
		err := m.run(ctx, name, p, []cgo.Input{{Name: "z", Shape: z.shape(), F32: z.data}}, []cgo.Output{{Name: "image", Data: out.data}})
		return out, err
	}
	t, err := m.chooseTiling(z.height, z.width, func(height, width int) (uint64, error) {
		in := []cgo.Input{{Name: "z", Shape: []int64{1, int64(z.channels), int64(height), int64(width)}}}
		return net.Estimate(ctx, in, []cgo.Output{{Name: "image"}})
	})
	if err != nil {
		return pixels, err
	}
	if t == nil {
		if pixels, err = one(ctx, z); err == nil {
			err = done(1, 1)
		}
	} else {
		pixels, err = t.decodeTiled(ctx, z, scale, one, done)
	}
	return pixels, err
}

// chooseTiling returns nil where a latent can be decoded, or encoded to, at
// once, else the largest tiles that fit the memory at hand. estimate says what
// a latent of some size takes.
func (m *Model) chooseTiling(height, width int, estimate func(height, width int) (uint64, error)) (*tiling, error) {
	available := m.roomOn(m.devices[partVAE])
	fits := func(height, width int) (bool, error) {
		need, err := estimate(height, width)
		return need <= available, err
	}
	if ok, err := fits(height, width); ok || err != nil {
		return nil, err
	}
	for _, t := range tilings {
		if height <= t.size && width <= t.size {
			continue
		}
		if ok, err := fits(min(t.size, height), min(t.size, width)); ok || err != nil {
			return &t, err
		}
	}
	// Nothing is sure to fit. The smallest tiles are the best chance; running
	// out of memory is an error of its own.
	return &tilings[len(tilings)-1], nil
}

// shape is the plane's as a batch of one.
func (p plane) shape() []int64 {
	return []int64{1, int64(p.channels), int64(p.height), int64(p.width)}
}

// toImage maps [-1, 1] to 0 … 255, rounding half up to the even neighbour as
// the diffusers library does.
func toImage(p plane) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, p.width, p.height))
	n := p.width * p.height
	for i := range n {
		for c := range 3 {
			img.Pix[i*4+c] = toByte(p.data[c*n+i])
		}
		img.Pix[i*4+3] = 255
	}
	return img
}
