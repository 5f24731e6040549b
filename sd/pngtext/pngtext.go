// Package pngtext reads and writes the text chunks of PNG files, where image
// generators keep the parameters that made a picture (under the keyword
// "parameters", in AUTOMATIC1111's layout).
//
// It follows the PNG specification, third edition, sections 11.3.3.2 to
// 11.3.3.4: tEXt (Latin-1), zTXt (Latin-1, compressed) and iTXt (UTF-8). The
// reader looks at chunk headers only: it never decodes pixels, and takes at
// most a few megabytes of text from a file however large it claims to be.
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
)

// Text is one text chunk.
type Text struct {
	Keyword string // 1 to 79 characters of Latin-1
	Value   string // UTF-8
}

const (
	signature = "\x89PNG\r\n\x1a\n"
	maxText   = 4 << 20 // bytes of one text, compressed or not
	maxTexts  = 64      // text chunks kept from one file
)

// ErrNotPNG is returned for a file that does not begin as PNG files do.
var ErrNotPNG = errors.New("not a PNG file")

// Encode writes img as PNG with texts between its header and its pixels.
func Encode(w io.Writer, img image.Image, texts ...Text) error {
	var file bytes.Buffer
	if err := png.Encode(&file, img); err != nil {
		return err
	}
	// The signature and the IHDR chunk (length, type, 13 bytes, CRC) come first.
	header := file.Next(len(signature) + 4 + 4 + 13 + 4)
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
// uncompressed iTXt chunk where it cannot, as Pillow's PngInfo.add_text does.
func encodeText(t Text) ([]byte, error) {
	keyword, ok := latin1(t.Keyword)
	if !ok || len(keyword) < 1 || len(keyword) > 79 {
		return nil, fmt.Errorf("png: keyword %q, 1 to 79 Latin-1 characters wanted", t.Keyword)
	}
	value := strings.ReplaceAll(t.Value, "\x00", "")
	if len(value) > maxText {
		return nil, fmt.Errorf("png: text %q has %d bytes, at most %d are possible", t.Keyword, len(value), maxText)
	}
	kind, body := "tEXt", append(keyword, 0)
	if text, ok := latin1(value); ok {
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

// Decode returns the text chunks of a PNG file in their order. Text after the
// pixels counts too. A broken or oversized text chunk is an error; everything
// else is passed over unread.
func Decode(r io.Reader) ([]Text, error) {
	texts, _, err := DecodeAll(r)
	return texts, err
}

// DecodeAll returns the text chunks as [Decode] does, and the body of the eXIf
// chunk (section 11.3.4.5), nil if there is none.
func DecodeAll(r io.Reader) (texts []Text, exif []byte, err error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil || string(head[:]) != signature {
		return nil, nil, ErrNotPNG
	}
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return nil, nil, fmt.Errorf("png: the file ends before its IEND chunk: %w", err)
		}
		length, kind := binary.BigEndian.Uint32(head[:4]), string(head[4:])
		switch kind {
		case "IEND":
			return texts, exif, nil
		case "tEXt", "zTXt", "iTXt", "eXIf":
			if length > maxText {
				return nil, nil, fmt.Errorf("png: a %s chunk of %d bytes, at most %d are read", kind, length, maxText)
			}
			if len(texts) == maxTexts {
				return nil, nil, fmt.Errorf("png: more than %d text chunks", maxTexts)
			}
			body, err := readBody(r, kind, int64(length))
			if err != nil {
				return nil, nil, err
			}
			if kind == "eXIf" {
				exif = body
				continue
			}
			text, err := decodeText(kind, body)
			if err != nil {
				return nil, nil, fmt.Errorf("png: %s chunk: %w", kind, err)
			}
			texts = append(texts, text)
		default:
			if length > 1<<31-1 {
				return nil, nil, fmt.Errorf("png: a %q chunk of %d bytes, more than the format allows", kind, length)
			}
			if _, err := io.CopyN(io.Discard, r, int64(length)+4); err != nil {
				return nil, nil, fmt.Errorf("png: the file ends within a %q chunk: %w", kind, err)
			}
		}
	}
}

// readBody reads a chunk's body and checks its CRC. It grows with what is
// there, not with what the header claims.
func readBody(r io.Reader, kind string, length int64) ([]byte, error) {
	var b bytes.Buffer
	if n, err := io.CopyN(&b, r, length+4); err != nil {
		return nil, fmt.Errorf("png: the file ends within a %s chunk, after %d of %d bytes: %w", kind, n, length, err)
	}
	body, sum := b.Bytes()[:length], binary.BigEndian.Uint32(b.Bytes()[length:])
	if crc := crc32.Update(crc32.ChecksumIEEE([]byte(kind)), crc32.IEEETable, body); crc != sum {
		return nil, fmt.Errorf("png: a %s chunk's checksum is %08x, its contents have %08x", kind, sum, crc)
	}
	return body, nil
}

func decodeText(kind string, body []byte) (Text, error) {
	keyword, rest, ok := bytes.Cut(body, []byte{0})
	if !ok || len(keyword) < 1 || len(keyword) > 79 {
		return Text{}, errors.New("no keyword of 1 to 79 characters")
	}
	t := Text{Keyword: fromLatin1(keyword)}
	var err error
	switch kind {
	case "tEXt":
		t.Value = fromLatin1(rest)
	case "zTXt":
		if len(rest) < 1 || rest[0] != 0 {
			return Text{}, errors.New("an unknown compression method")
		}
		var value []byte
		value, err = inflate(rest[1:])
		t.Value = fromLatin1(value)
	case "iTXt":
		t.Value, err = decodeInternational(rest)
	}
	return t, err
}

// decodeInternational reads an iTXt chunk's body behind its keyword.
func decodeInternational(b []byte) (string, error) {
	if len(b) < 2 || b[0] > 1 || b[1] != 0 {
		return "", errors.New("an unknown compression flag or method")
	}
	compressed := b[0] == 1
	_, b, ok := bytes.Cut(b[2:], []byte{0}) // language
	if ok {
		_, b, ok = bytes.Cut(b, []byte{0}) // translated keyword
	}
	if !ok {
		return "", errors.New("no language or translated keyword")
	}
	if compressed {
		var err error
		if b, err = inflate(b); err != nil {
			return "", err
		}
	}
	if !utf8.Valid(b) {
		return "", errors.New("the text is not UTF-8")
	}
	return string(b), nil
}

func inflate(b []byte) ([]byte, error) {
	z, err := zlib.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	out, err := io.ReadAll(io.LimitReader(z, maxText+1))
	if err != nil {
		return nil, err
	}
	if len(out) > maxText {
		return nil, fmt.Errorf("more than %d bytes when decompressed", maxText)
	}
	return out, nil
}

func fromLatin1(b []byte) string {
	var s strings.Builder
	for _, c := range b {
		s.WriteRune(rune(c))
	}
	return s.String()
}
