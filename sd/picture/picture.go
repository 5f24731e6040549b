// Package picture reads picture files from outside: PNG, JPEG, WebP, GIF (the
// first frame) and BMP, turned the way their EXIF orientation says. What a
// file claims is checked before anything of its size is allocated.
package picture

import (
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
func Open(path string) (image.Image, error) {
	f, err := os.Open(path)
	if err != nil {
		var p *fs.PathError
		if errors.As(err, &p) {
			err = p.Err
		}
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer f.Close()
	img, err := Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return img, nil
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
	config, format, err := image.DecodeConfig(bytes.NewReader(data))
	if !formats[format] {
		return nil, errors.New("not a picture that can be read: PNG, JPEG, WebP, GIF or BMP wanted")
	}
	if err != nil {
		return nil, fmt.Errorf("a damaged picture: %w", err)
	}
	if w, h := int64(config.Width), int64(config.Height); w < 1 || h < 1 || w > MaxPixels || h > MaxPixels || w*h > MaxPixels {
		return nil, fmt.Errorf("%dx%d pixels, at least one and at most %d in all wanted", w, h, MaxPixels)
	}
	img, err := decode(data)
	if err != nil {
		return nil, fmt.Errorf("a damaged %s picture of %dx%d pixels: %w", format, config.Width, config.Height, err)
	}
	return img, nil
}

// decode decodes and turns a picture. A decoder's panic would be a fault of
// its own; it must not end the program that asked to read a file.
func decode(data []byte) (img image.Image, err error) {
	defer func() {
		if p := recover(); p != nil {
			img, err = nil, fmt.Errorf("the decoder failed: %v", p)
		}
	}()
	return imaging.Decode(bytes.NewReader(data), imaging.AutoOrientation(true))
}
