// Package inputs reads the pictures of requests: base64, data URLs, uploaded files, and
// where the server's owner allows it, addresses on the web.
package inputs

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"image"
	"strings"

	"github.com/sdgo/sdgo/sd/picture"
)

// Reader reads pictures. The zero value reads pictures of any size that package picture
// reads, and none from the web.
type Reader struct {
	MaxPixels int      // of a picture; 0 means picture.MaxPixels
	Web       *Fetcher // nil refuses addresses
	Gate      Gate     // nil lets any number of pictures be decoded at once
}

// Gate bounds how many pictures are decoded or resized at once, whoever sends them: each
// may take a quarter of a gigabyte.
type Gate chan struct{}

// Enter waits for its turn; what it returns ends it.
func (g Gate) Enter() (leave func()) {
	if g == nil {
		return func() {}
	}
	g <- struct{}{}
	return func() { <-g }
}

// ErrWeb is the error for an address where none are allowed.
var ErrWeb = errors.New("addresses of pictures are turned off on this server; send the picture itself in base64")

// Text reads a picture from base64, a data URL or an address.
func (r Reader) Text(ctx context.Context, text string) (*image.NRGBA, error) {
	data, err := r.Bytes(ctx, text)
	if err != nil {
		return nil, err
	}
	return r.Data(data)
}

// Bytes are the bytes of the file that a text has, or is the address of.
func (r Reader) Bytes(ctx context.Context, text string) ([]byte, error) {
	text = strings.TrimSpace(text)
	lower := strings.ToLower(text[:min(len(text), 8)])
	if strings.HasPrefix(lower, "http://") || strings.HasPrefix(lower, "https://") {
		if r.Web == nil {
			return nil, ErrWeb
		}
		return r.Web.Fetch(ctx, text)
	}
	if strings.HasPrefix(lower, "data:") {
		head, body, ok := strings.Cut(text, ",")
		if !ok || !strings.HasSuffix(strings.ToLower(head), ";base64") {
			return nil, errors.New("a data URL must be data:image/…;base64,…")
		}
		text = body
	}
	if text == "" {
		return nil, errors.New("the picture is empty")
	}
	return decode64(text)
}

// decode64 reads base64 with or without padding, in both alphabets, with line breaks.
func decode64(text string) ([]byte, error) {
	text = strings.NewReplacer("\n", "", "\r", "", " ", "", "-", "+", "_", "/").Replace(text)
	data, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
	if err != nil {
		return nil, errors.New("not base64")
	}
	return data, nil
}

// Data reads a picture from its file's bytes.
func (r Reader) Data(data []byte) (*image.NRGBA, error) {
	if bytes.HasPrefix(data, []byte("BM")) {
		return nil, errors.New("must be PNG, JPEG, WebP or GIF, got BMP")
	}
	size, err := picture.Size(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	if r.MaxPixels > 0 && size.X*size.Y > r.MaxPixels {
		return nil, fmt.Errorf("must have at most %d pixels, got %dx%d", r.MaxPixels, size.X, size.Y)
	}
	defer r.Gate.Enter()()
	return picture.Read(bytes.NewReader(data))
}
