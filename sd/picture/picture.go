// Package picture reads and writes picture files. It reads PNG, JPEG, WebP, GIF
// (the first frame) and BMP, from untrusted sources too, and applies their EXIF
// orientation. A file's first bytes choose its decoder. The size that a file claims
// is checked before memory for it is allocated, and the decoder's result before it is
// used. Colours are the file's numbers, as Pillow reads them: of 16 bits the upper eight
// count, JPEG's markers say how its channels are meant, and what a screen would make of
// gamma, cICP and ICC profiles is left out, as programs of the field do. The package writes PNG, JPEG and WebP with generation parameters, and reads
// those back.
package picture

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"os"

	"github.com/disintegration/imaging"

	"github.com/sdgo/sdgo/internal/guard"
)

// Limits of a picture.
const (
	MaxBytes  = 1 << 28 // of the file
	MaxPixels = 1 << 26 // 8192 x 8192
	MaxSide   = 1 << 17 // pixels
)

// Open reads the picture in a file; errors begin with its name.
func Open(path string) (img *image.NRGBA, err error) {
	err = openFile(path, func(f io.Reader) error {
		img, err = Read(f)
		return err
	})
	return img, err
}

// Probe reads the beginning of a file and returns the error that [Open] would for its format or size.
func Probe(path string) error {
	return openFile(path, func(f io.Reader) error {
		_, _, err := checkHeader(io.LimitReader(f, MaxBytes))
		return err
	})
}

func openFile(path string, read func(io.Reader) error) error {
	f, err := os.Open(path)
	if err == nil {
		defer f.Close()
		err = read(f)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, withoutPath(err))
	}
	return nil
}

// withoutPath removes the path from an error, because the caller adds it.
func withoutPath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// checkHeader finds a picture's format and checks the size in its header.
func checkHeader(r io.Reader) (kind, image.Point, error) {
	in := bufio.NewReader(r)
	head, err := in.Peek(sniffed)
	if err != nil && !errors.Is(err, io.EOF) {
		return kind{}, image.Point{}, withoutPath(err)
	}
	k, ok := sniff(head)
	if !ok {
		return k, image.Point{}, fmt.Errorf("%s: must be PNG, JPEG, WebP, GIF or BMP", foreign(head))
	}
	size, err := k.header(in)
	if err != nil {
		return k, size, describe(k, size, err)
	}
	_, err = sizeOf(image.Rectangle{Max: size})
	return k, size, err
}

// Read reads one picture.
func Read(r io.Reader) (*image.NRGBA, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxBytes+1))
	if err != nil {
		return nil, withoutPath(err)
	}
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("a picture's file must be at most %d MB", MaxBytes>>20)
	}
	k, size, err := checkHeader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	var img *image.NRGBA
	err = guard.Call("the decoder", func() error { // a panic is the file's fault
		decoded, err := k.decode(data, size)
		if err != nil {
			return err
		}
		if got := decoded.Bounds().Size(); got != size {
			return fmt.Errorf("the decoder returned %dx%d pixels", got.X, got.Y)
		}
		img, err = toNRGBA(decoded, k.video)
		return err
	})
	if err != nil {
		return nil, describe(k, size, err)
	}
	return turn(img, orientation(k, data)), nil
}

// describe words the error of a damaged picture, or of one that is not supported.
func describe(k kind, size image.Point, err error) error {
	what := k.name + " picture"
	if size != (image.Point{}) {
		what += fmt.Sprintf(" of %dx%d pixels", size.X, size.Y)
	}
	if isUnsupported(err) {
		return fmt.Errorf("a %s of a kind that is not supported: %w", what, err)
	}
	return fmt.Errorf("a damaged %s: %w", what, err)
}

// turn applies EXIF's orientation to a picture.
func turn(img *image.NRGBA, orientation int) *image.NRGBA {
	switch orientation {
	case 2:
		return imaging.FlipH(img)
	case 3:
		return imaging.Rotate180(img)
	case 4:
		return imaging.FlipV(img)
	case 5:
		return imaging.Transpose(img)
	case 6:
		return imaging.Rotate270(img)
	case 7:
		return imaging.Transverse(img)
	case 8:
		return imaging.Rotate90(img)
	}
	return img
}
