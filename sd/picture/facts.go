package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/sdgo/sdgo/sd/pngtext"
)

// ErrUnknown is returned by [ReadFacts] for files of other formats.
var ErrUnknown = errors.New("not a PNG, JPEG or WebP file")

// Facts are the metadata of a picture's file.
type Facts struct {
	Format        Format
	Width, Height int // as stored, before the orientation is applied
	Orientation   int // EXIF's, 1 to 8; 0 if unknown

	// Texts are a PNG file's text chunks; for JPEG and WebP, EXIF's UserComment with
	// the keyword [Keyword], ComfyUI's "prompt" and "workflow" out of EXIF's names of
	// cameras, and JPEG's comments with the keyword "Comment".
	Texts []pngtext.Text

	// Broken are the errors of a PNG file's text chunks that are left out because their
	// checksums are wrong.
	Broken []error

	alpha bool // whether a PNG file's pixels have it
}

// Limits of the texts that are read from one file.
const (
	maxTexts     = 64
	maxTextBytes = pngtext.MaxTexts
)

// ReadFacts reads the metadata of a PNG, JPEG or WebP file. It does not decode the
// pixels.
func ReadFacts(r io.Reader) (Facts, error) {
	r = io.LimitReader(r, MaxBytes) // an endless file is cut here
	var head [12]byte
	n, err := io.ReadFull(r, head[:])
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return Facts{}, err
	}
	whole := io.MultiReader(bytes.NewReader(head[:n]), r)
	switch {
	case bytes.HasPrefix(head[:n], []byte(pngtext.Signature)):
		return pngFacts(whole)
	case isJPEG(head[:n]):
		return jpegFacts(whole)
	case isWebP(head[:n]):
		return webpFacts(whole)
	}
	return Facts{}, ErrUnknown
}

// addExif adds the fields of EXIF data.
func (f *Facts) addExif(data []byte) error {
	e, err := decodeExif(data)
	if err != nil {
		return err
	}
	if e.orientation >= 1 && e.orientation <= 8 {
		f.Orientation = e.orientation
	}
	for _, g := range e.graphs {
		if err := f.addText(g[0], g[1]); err != nil {
			return err
		}
	}
	if e.comment == "" {
		return nil
	}
	return f.addText(Keyword, e.comment)
}

func (f *Facts) addText(keyword, text string) error {
	if len(f.Texts) == maxTexts {
		return fmt.Errorf("%s: must have at most %d texts", f.Format, maxTexts)
	}
	text = strings.ToValidUTF8(text, "\uFFFD")
	total := len(text)
	for _, t := range f.Texts {
		total += len(t.Value)
	}
	if total > maxTextBytes {
		return fmt.Errorf("%s: texts must be at most %d bytes in all, got %d", f.Format, maxTextBytes, total)
	}
	f.Texts = append(f.Texts, pngtext.Text{Keyword: keyword, Value: text})
	return nil
}

func pngFacts(r io.Reader) (Facts, error) {
	f := Facts{Format: PNG}
	// The signature, and the header chunk's length, name, width, height, bits and colour.
	var head [26]byte
	n, err := io.ReadFull(r, head[:])
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return f, err
	}
	var exif []byte
	f.Texts, exif, f.Broken, err = pngtext.DecodeAll(io.MultiReader(bytes.NewReader(head[:n]), r))
	if err != nil {
		return f, err
	}
	width, height := binary.BigEndian.Uint32(head[16:]), binary.BigEndian.Uint32(head[20:])
	if string(head[12:16]) != "IHDR" || width == 0 || height == 0 {
		return f, errors.New("png: the header chunk with the picture's size is missing")
	}
	f.Width, f.Height = int(width), int(height)
	f.alpha = head[24] == 8 && head[25] == 6 // colour and alpha of a byte each
	if exif != nil {
		err = f.addExif(exif)
	}
	return f, err
}
