package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// EXIF 2.32 (CIPA DC-008): a TIFF structure of directories, whose entries have
// 12 bytes: tag, type, count, and the value or its offset.

// exifHeader precedes the structure in JPEG files.
const exifHeader = "Exif\x00\x00"

const (
	tagDescription = 0x010e
	tagMake        = 0x010f
	tagModel       = 0x0110
	tagOrientation = 0x0112
	tagExif        = 0x8769 // the offset of the directory that has UserComment
	tagUserComment = 0x9286

	typeASCII     = 2
	typeShort     = 3
	typeLong      = 4
	typeUndefined = 7
)

// maxExif is the largest EXIF data that is read, in bytes.
const maxExif = 4 << 20

// exif has the EXIF fields that this package reads.
type exif struct {
	orientation int // 1 to 8; 0 is unknown
	comment     string
	graphs      [][2]string // ComfyUI's texts "prompt" and "workflow", which its savers write as names of cameras
}

// encodeExif makes a big-endian structure that holds a UserComment, byte for byte as
// piexif does, the library that AUTOMATIC1111's web UI uses.
func encodeExif(comment string) []byte {
	const second = 8 + 2 + 12 + 4 // where the second directory begins
	const data = second + 2 + 12 + 4
	units := utf16.Encode([]rune(strings.ToValidUTF8(comment, "\uFFFD")))
	b := binary.BigEndian
	directory := func(out []byte, tag, kind uint16, count, value uint32) []byte {
		out = b.AppendUint16(out, 1)
		out = b.AppendUint16(b.AppendUint16(out, tag), kind)
		out = b.AppendUint32(b.AppendUint32(out, count), value)
		return b.AppendUint32(out, 0) // no next directory
	}
	out := append([]byte("MM\x00\x2a"), 0, 0, 0, 8)
	out = directory(out, tagExif, typeLong, 1, second)
	out = directory(out, tagUserComment, typeUndefined, uint32(8+2*len(units)), data)
	out = append(out, "UNICODE\x00"...)
	for _, u := range units {
		out = b.AppendUint16(out, u)
	}
	return out
}

// decodeExif reads a structure, with or without exifHeader.
func decodeExif(data []byte) (e exif, err error) {
	data = bytes.TrimPrefix(data, []byte(exifHeader))
	if len(data) > maxExif {
		return e, fmt.Errorf("exif: must be at most %d bytes, got %d", maxExif, len(data))
	}
	t := tiff{data: data}
	switch {
	case bytes.HasPrefix(data, []byte("II\x2a\x00")):
		t.order = binary.LittleEndian
	case bytes.HasPrefix(data, []byte("MM\x00\x2a")):
		t.order = binary.BigEndian
	default:
		return e, errors.New("exif: must begin with a TIFF header (II or MM)")
	}
	if len(data) < 8 {
		return e, errors.New("exif: the data ends before its first directory")
	}
	var second uint32
	comment := func(n entry) error { // in the second directory; Fooocus has it in the first
		if n.tag != tagUserComment || n.count <= 4 {
			return nil
		}
		at := uint64(t.order.Uint32(n.value))
		if at+uint64(n.count) > uint64(len(data)) {
			return errors.New("exif: the comment reaches beyond the data")
		}
		e.comment = userComment(data[at:][:n.count], t.order)
		return nil
	}
	err = t.directory(t.order.Uint32(data[4:]), func(n entry) error {
		switch {
		case n.tag == tagOrientation && n.kind == typeShort && n.count == 1:
			e.orientation = int(t.order.Uint16(n.value))
		case n.kind == typeASCII && (n.tag == tagDescription || n.tag == tagMake || n.tag == tagModel):
			e.addGraph(t.text(n))
		case n.tag == tagExif && n.kind == typeLong && n.count == 1:
			second = t.order.Uint32(n.value)
		}
		return comment(n)
	})
	if err != nil || second == 0 {
		return e, err
	}
	err = t.directory(second, comment)
	return e, err
}

// addGraph adds a text of ComfyUI: "prompt:{…}". Others are of no interest.
func (e *exif) addGraph(text string) {
	keyword, value, ok := strings.Cut(text, ":")
	if keyword = strings.ToLower(keyword); ok && (keyword == "prompt" || keyword == "workflow") && strings.HasPrefix(value, "{") {
		e.graphs = append(e.graphs, [2]string{keyword, value})
	}
}

// text is the value of an entry that is a text of more than four bytes, if it is in the
// data.
func (t tiff) text(n entry) string {
	at := uint64(t.order.Uint32(n.value))
	if n.count <= 4 || at+uint64(n.count) > uint64(len(t.data)) {
		return ""
	}
	return strings.TrimRight(string(t.data[at:][:n.count]), "\x00")
}

// tiff is a structure to read.
type tiff struct {
	data  []byte
	order binary.ByteOrder
}

// entry is an entry of a directory. value has the four bytes of the value or of its
// offset.
type entry struct {
	tag, kind uint16
	count     uint32
	value     []byte
}

// directory visits the entries of the directory at an offset. It does not follow
// links to other directories.
func (t tiff) directory(at uint32, visit func(entry) error) error {
	if uint64(at)+2 > uint64(len(t.data)) {
		return errors.New("exif: a directory begins beyond the data")
	}
	n := int(t.order.Uint16(t.data[at:]))
	rest := t.data[at+2:]
	if len(rest) < 12*n {
		return errors.New("exif: a directory reaches beyond the data")
	}
	for ; n > 0; n, rest = n-1, rest[12:] {
		e := entry{t.order.Uint16(rest), t.order.Uint16(rest[2:]), t.order.Uint32(rest[4:]), rest[8:12]}
		if err := visit(e); err != nil {
			return err
		}
	}
	return nil
}

// userComment reads a comment, which follows eight bytes that name its encoding:
// UTF-16, or ASCII, where programs write UTF-8 too. Fooocus writes its JSON without these
// bytes. Other encodings return "".
func userComment(b []byte, order binary.ByteOrder) string {
	if len(b) < 8 {
		return ""
	}
	code, text := string(b[:8]), b[8:]
	switch code {
	case "UNICODE\x00":
		return fromUTF16(text, order)
	case "ASCII\x00\x00\x00", "\x00\x00\x00\x00\x00\x00\x00\x00":
		if text = bytes.TrimRight(text, "\x00 "); utf8.Valid(text) {
			return string(text)
		}
	default:
		if text = bytes.TrimRight(b, "\x00 "); b[0] == '{' && utf8.Valid(text) {
			return string(text)
		}
	}
	return ""
}

// fromUTF16 reads UTF-16, whose byte order often differs from the structure's. A byte
// order mark decides; without one, ASCII letters do, whose upper byte is 0; else it is
// the structure's order.
func fromUTF16(b []byte, order binary.ByteOrder) string {
	var zeros [2]int // number of zero upper bytes if the order is big-endian, little-endian
	for i, c := range b[:len(b)/2*2] {
		if c == 0 {
			zeros[i%2]++
		}
	}
	switch {
	case bytes.HasPrefix(b, []byte{0xfe, 0xff}):
		b, order = b[2:], binary.BigEndian
	case bytes.HasPrefix(b, []byte{0xff, 0xfe}):
		b, order = b[2:], binary.LittleEndian
	case zeros[0] > zeros[1]:
		order = binary.BigEndian
	case zeros[1] > zeros[0]:
		order = binary.LittleEndian
	}
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = order.Uint16(b[2*i:])
	}
	return strings.TrimRight(string(utf16.Decode(units)), "\x00")
}
