package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"image/jpeg"
	"io"

	"github.com/HugoSmits86/nativewebp"

	"github.com/sdgo/sdgo/internal/guard"
	"github.com/sdgo/sdgo/sd/pngtext"
)

// Keyword is the keyword of the generation parameters' text, in PNG files
// and in [Facts].
const Keyword = "parameters"

// DefaultQuality is the quality of JPEG files.
const DefaultQuality = 90

// The longest sides that the formats allow, in pixels.
const (
	maxJPEGSide = 1<<16 - 1
	maxWebPSide = 1 << 14
)

// Options say how [Encode] writes a picture.
type Options struct {
	Format  Format // empty means PNG
	Quality int    // of JPEG, 1 to 100; 0 means DefaultQuality

	// Parameters are the generation parameters (A1111's infotext); empty writes
	// none. In PNG files they are a text chunk, in JPEG and WebP files EXIF's
	// UserComment in UTF-16, as in AUTOMATIC1111's web UI.
	Parameters string
}

// Check returns an error for options that [Encode] would refuse for any picture.
func (o Options) Check() error {
	if o.Quality < 0 || o.Quality > 100 {
		return fmt.Errorf("quality must be 1 to 100, got %d", o.Quality)
	}
	switch o.Format {
	case "", PNG, WebP:
		return nil
	case JPEG:
		if n := len(o.exif()); n > maxSegment {
			return fmt.Errorf("parameters must be at most %d bytes in a JPEG file, got %d; PNG and WebP files hold more", maxSegment, n)
		}
		return nil
	}
	return fmt.Errorf("format must be png, jpeg or webp, got %q", o.Format)
}

// exif returns the body of the EXIF segment, nil without parameters.
func (o Options) exif() []byte {
	if o.Parameters == "" {
		return nil
	}
	return append([]byte(exifHeader), encodeExif(o.Parameters)...)
}

// Encode writes a picture. JPEG has no transparency, so the picture is composited
// over white. If one of the picture's methods panics, Encode returns an error.
func Encode(w io.Writer, img image.Image, o Options) error {
	if err := o.Check(); err != nil {
		return err
	}
	switch o.Format {
	case JPEG:
		return guard.Call("the picture", func() error { return encodeJPEG(w, img, o) })
	case WebP:
		return guard.Call("the picture", func() error { return encodeWebP(w, img, o) })
	}
	var texts []pngtext.Text
	if o.Parameters != "" {
		texts = []pngtext.Text{{Keyword: Keyword, Value: o.Parameters}}
	}
	return pngtext.Encode(w, img, texts...)
}

func checkSides(img image.Image, most int, format string) error {
	if size := img.Bounds().Size(); size.X > most || size.Y > most {
		return fmt.Errorf("sides must be at most %d pixels in a %s file, got %dx%d", most, format, size.X, size.Y)
	}
	return nil
}

func encodeJPEG(w io.Writer, img image.Image, o Options) error {
	if err := checkSides(img, maxJPEGSide, "JPEG"); err != nil {
		return err
	}
	if p, ok := img.(interface{ Opaque() bool }); !ok || !p.Opaque() {
		white := image.NewRGBA(img.Bounds())
		draw.Draw(white, white.Rect, image.White, image.Point{}, draw.Src)
		draw.Draw(white, white.Rect, img, white.Rect.Min, draw.Over)
		img = white
	}
	quality := o.Quality
	if quality == 0 {
		quality = DefaultQuality
	}
	var file bytes.Buffer
	if err := jpeg.Encode(&file, img, &jpeg.Options{Quality: quality}); err != nil {
		return err
	}
	head := file.Next(2) // SOI
	if exif := o.exif(); exif != nil {
		head = append(bytes.Clone(head), 0xff, markerAPP1)
		head = binary.BigEndian.AppendUint16(head, uint16(len(exif)+2))
		head = append(head, exif...)
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	_, err := file.WriteTo(w)
	return err
}

// encodeWebP writes a lossless WebP file. The encoder returns a file with one VP8L
// chunk; with parameters the chunk goes into the extended format, which can hold
// EXIF (WebP Container Specification, "Extended File Format").
func encodeWebP(w io.Writer, img image.Image, o Options) error {
	if err := checkSides(img, maxWebPSide, "WebP"); err != nil {
		return err
	}
	var file bytes.Buffer
	if err := nativewebp.Encode(&file, img, nil); err != nil {
		return err
	}
	simple := file.Bytes()
	if len(simple) < 12+8+5 || string(simple[12:16]) != "VP8L" {
		return errors.New("webp: the encoder returned no VP8L chunk")
	}
	if o.Parameters == "" {
		_, err := w.Write(simple)
		return err
	}
	flags := byte(flagEXIF)
	if simple[20+4]&0x10 != 0 { // the bit after two sides of 14 bits each
		flags |= flagAlpha
	}
	size := img.Bounds().Size()
	x, y := size.X-1, size.Y-1
	body := append([]byte("WEBP"), chunk("VP8X", []byte{flags, 0, 0, 0, byte(x), byte(x >> 8), byte(x >> 16), byte(y), byte(y >> 8), byte(y >> 16)})...)
	body = append(body, simple[12:]...)
	body = append(body, chunk("EXIF", encodeExif(o.Parameters))...)
	_, err := w.Write(chunk("RIFF", body))
	return err
}

// chunk makes a RIFF chunk, padded to an even length.
func chunk(kind string, body []byte) []byte {
	out := binary.LittleEndian.AppendUint32([]byte(kind), uint32(len(body)))
	out = append(out, body...)
	return append(out, make([]byte, len(body)%2)...)
}
