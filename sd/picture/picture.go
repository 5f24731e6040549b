// Package picture reads and writes picture files. It reads PNG, JPEG, WebP, GIF
// (the first frame) and BMP from outside, turned the way their EXIF orientation
// says; what a file claims is checked before anything of its size is allocated.
// It writes PNG, JPEG and WebP with the parameters that made a picture, and
// reads those back.
package picture

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"image"
	_ "image/gif" // formats that Read knows
	_ "image/jpeg"
	_ "image/png"
	"io"
	"io/fs"
	"os"

	"github.com/disintegration/imaging"
	_ "golang.org/x/image/bmp"
	_ "golang.org/x/image/webp"
)

// Limits of a picture.
const (
	MaxBytes  = 1 << 28 // of the file
	MaxPixels = 1 << 26 // 8192 x 8192
)

// formats are those that Read knows, of all that may be registered with
// package image by other parts of a program.
var formats = map[string]bool{"png": true, "jpeg": true, "webp": true, "gif": true, "bmp": true}

// Open reads the picture in a file; errors begin with its name.
func Open(path string) (img image.Image, err error) {
	err = openFile(path, func(f io.Reader) error {
		img, err = Read(f)
		return err
	})
	return img, err
}

// Probe refuses what [Open] would for its kind or size, by a file's beginning.
func Probe(path string) error {
	return openFile(path, func(f io.Reader) error {
		_, _, err := checkHeader(f)
		return err
	})
}

func openFile(path string, read func(io.Reader) error) error {
	f, err := os.Open(path)
	if err == nil {
		defer f.Close()
		err = read(f)
	}
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// checkHeader checks what a picture's header claims.
func checkHeader(r io.Reader) (image.Config, string, error) {
	config, format, err := image.DecodeConfig(r)
	var p *fs.PathError
	if errors.As(err, &p) {
		return config, format, p.Err // a folder, say; its name is the caller's to tell
	}
	if !formats[format] {
		return config, format, errors.New("not a picture that can be read: PNG, JPEG, WebP, GIF or BMP wanted")
	}
	if err != nil {
		return config, format, fmt.Errorf("a damaged picture: %w", err)
	}
	if w, h := int64(config.Width), int64(config.Height); w < 1 || h < 1 || w > MaxPixels || h > MaxPixels || w*h > MaxPixels {
		return config, format, fmt.Errorf("%dx%d pixels, at least one and at most %d in all wanted", w, h, MaxPixels)
	}
	return config, format, nil
}

// Read reads one picture.
func Read(r io.Reader) (image.Image, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxBytes+1))
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err // a folder, say; its name is the caller's to tell
	}
	if err != nil {
		return nil, err
	}
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("a file of more than %d MB, too large for a picture", MaxBytes>>20)
	}
	config, format, err := checkHeader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	if format == "webp" {
		f, err := webpChunks(bufio.NewReader(bytes.NewReader(data)))
		if err != nil {
			return nil, fmt.Errorf("a picture that can't be read: %w", err)
		}
		data = f.forDecoder(data)
	}
	img, err := decode(data)
	if err != nil {
		return nil, fmt.Errorf("a damaged %s picture of %dx%d pixels: %w", format, config.Width, config.Height, err)
	}
	facts, _ := ReadFacts(bytes.NewReader(data)) // broken ones tell nothing
	return turn(img, facts.Orientation), nil
}

// turn turns a picture the way that EXIF's orientation says.
func turn(img image.Image, orientation int) image.Image {
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

// decode decodes a picture. A decoder's panic would be a fault of its own; it
// must not end the program that asked to read a file.
func decode(data []byte) (img image.Image, err error) {
	defer func() {
		if p := recover(); p != nil {
			img, err = nil, fmt.Errorf("the decoder failed: %v", p)
		}
	}()
	return imaging.Decode(bytes.NewReader(data))
}
