// Package pngtext reads and writes the text chunks of PNG files, where image
// generators store generation parameters (with the keyword "parameters", in
// AUTOMATIC1111's layout).
//
// It follows the PNG specification, third edition, sections 11.3.3.2 to
// 11.3.3.4: tEXt (Latin-1), zTXt (Latin-1, compressed) and iTXt (UTF-8). Programs
// such as stable-diffusion.cpp write UTF-8 in tEXt, too, so what is UTF-8 is read as
// that, and is never written as Latin-1. The
// reader never decodes pixels, and reads at most a few megabytes of text, however
// large the file claims to be.
package pngtext

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/png"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/sdgo/sdgo/internal/guard"
)

// Text is one text chunk.
type Text struct {
	Keyword string // 1 to 79 characters of Latin-1
	Value   string // UTF-8
}

// Signature is what a PNG file begins with.
const Signature = "\x89PNG\r\n\x1a\n"

// MaxTexts is the largest size of all texts of a file, in bytes of UTF-8.
const MaxTexts = 8 << 20

const (
	maxText  = 4 << 20 // bytes of one text, compressed or not
	maxTexts = 64      // text chunks of one file
)

// ErrNotPNG is returned for a file that does not begin with [Signature].
var ErrNotPNG = errors.New("not a PNG file")

// Encode writes img as PNG, with texts between the header and the pixels.
func Encode(w io.Writer, img image.Image, texts ...Text) error {
	var file bytes.Buffer
	// A picture may be nil, have too few bytes, or have methods that panic.
	if err := guard.Call("the picture", func() error { return png.Encode(&file, img) }); err != nil {
		return err
	}
	// The signature and the IHDR chunk (length, type, 13 bytes, CRC) come first.
	header := file.Next(len(Signature) + 4 + 4 + 13 + 4)
	if _, err := w.Write(header); err != nil {
		return err
	}
	for _, t := range texts {
		chunk, err := encodeText(t)
		if err != nil {
			return err
		}
		if _, err := w.Write(chunk); err != nil {
			return err
		}
	}
	_, err := file.WriteTo(w)
	return err
}

// encodeText makes a tEXt chunk where Latin-1 can hold the text and an
// uncompressed iTXt chunk where it cannot, as Pillow's PngInfo.add_text does, or where
// its Latin-1 could be read as UTF-8.
func encodeText(t Text) ([]byte, error) {
	keyword, ok := latin1(t.Keyword)
	if !ok || len(keyword) < 1 || len(keyword) > 79 {
		return nil, fmt.Errorf("png: a keyword must have 1 to 79 Latin-1 characters, got %q", t.Keyword)
	}
	value := strings.ReplaceAll(t.Value, "\x00", "")
	if len(value) > maxText {
		return nil, fmt.Errorf("png: text %q must have at most %d bytes, got %d", t.Keyword, maxText, len(value))
	}
	kind, body := "tEXt", append(keyword, 0)
	if text, ok := latin1(value); ok && (len(text) == len(value) || !utf8.Valid(text)) {
		body = append(body, text...)
	} else {
		kind = "iTXt"
		body = append(body, 0, 0, 0, 0) // not compressed, method 0, no language, no translated keyword
		body = append(body, strings.ToValidUTF8(value, "\uFFFD")...)
	}
	chunk := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	chunk = append(append(chunk, kind...), body...)
	return binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(chunk[4:])), nil
}

func latin1(s string) ([]byte, bool) {
	out := make([]byte, 0, len(s))
	for _, r := range s {
		if r > 0xFF {
			return nil, false
		}
		out = append(out, byte(r))
	}
	return out, true
}

// Decode returns the text chunks of a PNG file in their order, those after the
// pixels too. A broken or too large text chunk is an error; other chunks are
// skipped.
func Decode(r io.Reader) ([]Text, error) {
	texts, _, broken, err := DecodeAll(r)
	if err == nil && len(broken) > 0 {
		return nil, broken[0]
	}
	return texts, err
}

// DecodeAll returns the text chunks as [Decode] does, and the body of the eXIf
// chunk (section 11.3.4.5), nil if there is none. Of a chunk whose checksum is wrong it
// returns the error in broken and goes on after it, as the PNG specification
// (section 13.1) has it for chunks that are not critical.
func DecodeAll(r io.Reader) (texts []Text, exif []byte, broken []error, err error) {
	left := MaxTexts
	wrong := func(err error) error {
		if len(broken) == maxTexts {
			return err
		}
		broken = append(broken, err)
		return nil
	}
	err = chunks(r, func(kind string) bool { return kind == "eXIf" || isText(kind) }, func(kind string, body []byte) error {
		if kind == "eXIf" {
			exif = body
			return nil
		}
		if len(texts) == maxTexts {
			return fmt.Errorf("png: must have at most %d text chunks", maxTexts)
		}
		text, err := decodeText(kind, body, min(left, maxText))
		if err != nil {
			return fmt.Errorf("png: %s chunk: %w", kind, err)
		}
		left -= len(text.Value)
		texts = append(texts, text)
		return nil
	}, wrong)
	if err != nil {
		return nil, nil, nil, err
	}
	return texts, exif, broken, nil
}

// Exif returns the body of the eXIf chunk, nil if there is none. It reads no text.
func Exif(r io.Reader) (exif []byte, err error) {
	err = chunks(r, func(kind string) bool { return kind == "eXIf" }, func(_ string, body []byte) error {
		exif = body
		return nil
	}, func(err error) error { return err })
	return exif, err
}

func isText(kind string) bool { return kind == "tEXt" || kind == "zTXt" || kind == "iTXt" }

// chunks calls visit with the chunks whose kind is selected, and skips the others. It
// calls wrong with the error of one whose checksum is not that of its contents.
func chunks(r io.Reader, selected func(kind string) bool, visit func(kind string, body []byte) error, wrong func(error) error) error {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil || string(head[:]) != Signature {
		return ErrNotPNG
	}
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return fmt.Errorf("png: the file ends before its IEND chunk: %w", err)
		}
		length, kind := binary.BigEndian.Uint32(head[:4]), string(head[4:])
		switch {
		case kind == "IEND":
			return nil
		case length > 1<<31-1:
			return fmt.Errorf("png: a %q chunk must have at most %d bytes, got %d", kind, 1<<31-1, length)
		case !selected(kind):
			if _, err := io.CopyN(io.Discard, r, int64(length)+4); err != nil {
				return fmt.Errorf("png: the file ends within a %q chunk: %w", kind, err)
			}
			continue
		case length > maxText:
			return fmt.Errorf("png: a %s chunk must have at most %d bytes, got %d", kind, maxText, length)
		}
		body, err := readBody(r, kind, int64(length))
		var checksum *checksumError
		switch {
		case errors.As(err, &checksum):
			err = wrong(err)
		case err == nil:
			err = visit(kind, body)
		}
		if err != nil {
			return err
		}
	}
}

// readBody reads a chunk's body and checks its CRC. Its memory grows with the bytes
// that are read, not with the length that the header claims.
func readBody(r io.Reader, kind string, length int64) ([]byte, error) {
	var b bytes.Buffer
	if n, err := io.CopyN(&b, r, length+4); err != nil {
		return nil, fmt.Errorf("png: the file ends within a %s chunk, after %d of %d bytes: %w", kind, n, length, err)
	}
	body, sum := b.Bytes()[:length], binary.BigEndian.Uint32(b.Bytes()[length:])
	if crc := crc32.Update(crc32.ChecksumIEEE([]byte(kind)), crc32.IEEETable, body); crc != sum {
		return nil, &checksumError{kind, sum, crc}
	}
	return body, nil
}

// checksumError is of a chunk whose checksum is not that of its contents.
type checksumError struct {
	kind      string
	sum, want uint32
}

func (e *checksumError) Error() string {
	return fmt.Sprintf("png: a %s chunk's checksum is %08x, its contents have %08x", e.kind, e.sum, e.want)
}

// decodeText reads a text of at most this many bytes.
func decodeText(kind string, body []byte, most int) (t Text, err error) {
	keyword, rest, ok := bytes.Cut(body, []byte{0})
	if !ok || len(keyword) < 1 || len(keyword) > 79 {
		return t, errors.New("the keyword must have 1 to 79 characters")
	}
	if t.Keyword, err = fromLatin1(keyword, maxText); err != nil {
		return t, err
	}
	switch kind {
	case "tEXt":
		t.Value, err = decodePlain(rest, most)
	case "zTXt":
		if len(rest) < 1 || rest[0] != 0 {
			return t, errors.New("an unknown compression method")
		}
		if rest, err = inflate(rest[1:], most); err == nil {
			t.Value, err = decodePlain(rest, most)
		}
	case "iTXt":
		t.Value, err = decodeInternational(rest, most)
	}
	return t, err
}

// decodeInternational reads an iTXt chunk's body after its keyword.
func decodeInternational(b []byte, most int) (string, error) {
	if len(b) < 2 || b[0] > 1 || b[1] != 0 {
		return "", errors.New("an unknown compression flag or method")
	}
	compressed := b[0] == 1
	_, b, ok := bytes.Cut(b[2:], []byte{0}) // language
	if ok {
		_, b, ok = bytes.Cut(b, []byte{0}) // translated keyword
	}
	if !ok {
		return "", errors.New("the language or the translated keyword is missing")
	}
	if compressed {
		var err error
		if b, err = inflate(b, most); err != nil {
			return "", err
		}
	}
	if len(b) > most {
		return "", tooMuch(len(b), most)
	}
	if !utf8.Valid(b) {
		return "", errors.New("the text is not UTF-8")
	}
	return string(b), nil
}

// tooMuch is the error of a text that is larger than the limit of one text, or than
// what is left of the limit of a file's texts.
func tooMuch(n, most int) error {
	return fmt.Errorf("a text of %d bytes or more when decompressed: must be at most %d; the limits are %d bytes for a text and %d for a file's texts", n, most, maxText, MaxTexts)
}

func inflate(b []byte, most int) ([]byte, error) {
	z, err := zlib.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	out, err := io.ReadAll(io.LimitReader(z, int64(most)+1))
	if err != nil {
		return nil, err
	}
	if len(out) > most {
		return nil, tooMuch(len(out), most)
	}
	return out, nil
}

// decodePlain reads what should be Latin-1, and is UTF-8 where it can be: hardly any
// other text is.
func decodePlain(b []byte, most int) (string, error) {
	if !utf8.Valid(b) {
		return fromLatin1(b, most)
	}
	if len(b) > most {
		return "", tooMuch(len(b), most)
	}
	return string(b), nil
}

// fromLatin1 converts Latin-1 to UTF-8, where its upper half takes two bytes.
func fromLatin1(b []byte, most int) (string, error) {
	n := len(b)
	for _, c := range b {
		n += int(c >> 7)
	}
	if n > most {
		return "", tooMuch(n, most)
	}
	var s strings.Builder
	s.Grow(n)
	for _, c := range b {
		s.WriteRune(rune(c))
	}
	return s.String(), nil
}
