package picture

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"io"
	"unicode/utf8"

	"github.com/sdgo/sdgo/sd/pngtext"
)

// Some programs (NovelAI, extensions of AUTOMATIC1111) hide a picture's parameters in the
// lowest bits of its alpha, column by column: a signature, the length in bits as four
// bytes, big-endian, and the text, compressed or not. NovelAI's is a JSON object of the
// texts that its files have.

const (
	hiddenPlain   = "stealth_pnginfo"
	hiddenGzipped = "stealth_pngcomp"
)

// ErrNothingHidden is what a picture without hidden texts gives.
var ErrNothingHidden = errors.New("nothing is hidden in the picture's alpha")

// MayHide reports whether a file may have texts hidden in its pixels: a PNG file with
// alpha.
func MayHide(f Facts) bool { return f.Format == PNG && f.alpha }

// ReadHidden reads the texts hidden in a picture's alpha, [ErrNothingHidden] if there are
// none.
func ReadHidden(r io.Reader) ([]pngtext.Text, error) {
	img, err := Read(r)
	if err != nil {
		return nil, err
	}
	text, err := hiddenText(img)
	if err != nil {
		return nil, err
	}
	var named map[string]any
	if json.Unmarshal([]byte(text), &named) != nil || named["Comment"] == nil {
		return []pngtext.Text{{Keyword: Keyword, Value: text}}, nil
	}
	var all []pngtext.Text
	for _, key := range []string{"Title", "Description", "Software", "Source", "Comment"} {
		switch value := named[key].(type) {
		case string:
			all = append(all, pngtext.Text{Keyword: key, Value: value})
		case map[string]any:
			again, err := json.Marshal(value)
			if err != nil {
				return nil, err
			}
			all = append(all, pngtext.Text{Keyword: key, Value: string(again)})
		}
	}
	return all, nil
}

// lowBits reads the lowest bits of alpha as bytes.
type lowBits struct {
	img  *image.NRGBA
	x, y int
}

func (b *lowBits) Read(p []byte) (int, error) {
	size := b.img.Rect.Size()
	if (size.X-b.x)*size.Y-b.y < 8*len(p) {
		return 0, io.ErrUnexpectedEOF
	}
	for i := range p {
		p[i] = 0
		for range 8 {
			p[i] = p[i]<<1 | b.img.Pix[b.y*b.img.Stride+4*b.x+3]&1
			if b.y++; b.y == size.Y {
				b.x, b.y = b.x+1, 0
			}
		}
	}
	return len(p), nil
}

func hiddenText(img *image.NRGBA) (string, error) {
	bits := &lowBits{img: img}
	head := make([]byte, len(hiddenPlain)+4)
	if _, err := bits.Read(head); err != nil {
		return "", ErrNothingHidden
	}
	kind := string(head[:len(hiddenPlain)])
	if kind != hiddenPlain && kind != hiddenGzipped {
		return "", ErrNothingHidden
	}
	length := int(binary.BigEndian.Uint32(head[len(hiddenPlain):])) / 8
	if length > maxTextBytes {
		return "", fmt.Errorf("a hidden text must be at most %d bytes, got %d", maxTextBytes, length)
	}
	if left := img.Rect.Dx() * img.Rect.Dy() / 8; length > left {
		return "", fmt.Errorf("a hidden text must be at most the picture's %d bytes, got %d", left, length)
	}
	text := make([]byte, length)
	if _, err := bits.Read(text); err != nil {
		return "", fmt.Errorf("the picture ends within a hidden text of %d bytes", length)
	}
	if kind == hiddenGzipped {
		z, err := gzip.NewReader(bytes.NewReader(text))
		if err == nil {
			text, err = io.ReadAll(io.LimitReader(z, maxTextBytes+1))
		}
		if err != nil {
			return "", fmt.Errorf("a hidden text: %w", err)
		}
		if len(text) > maxTextBytes {
			return "", fmt.Errorf("a hidden text must be at most %d bytes", maxTextBytes)
		}
	}
	if !utf8.Valid(text) {
		return "", errors.New("a hidden text must be UTF-8")
	}
	return string(text), nil
}
