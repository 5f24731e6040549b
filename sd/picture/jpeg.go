package picture

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Markers of JPEG segments (ITU-T T.81, table B.1).
const (
	markerSOI  = 0xd8
	markerEOI  = 0xd9
	markerSOS  = 0xda
	markerAPP1 = 0xe1
	markerCOM  = 0xfe
)

// maxSegment is the size of a segment's body.
const maxSegment = 1<<16 - 1 - 2

// isJPEG tells by the first bytes. (The fourth, a marker, tells it from a
// safetensors file, which begins with a length.)
func isJPEG(head []byte) bool {
	return len(head) >= 4 && head[0] == 0xff && head[1] == markerSOI && head[2] == 0xff && head[3] >= 0xc0
}

// jpegFacts reads the segments before the pixels.
func jpegFacts(r io.Reader) (Facts, error) {
	f := Facts{Format: JPEG}
	err := segments(bufio.NewReader(r), func(marker byte, body []byte) error {
		switch {
		case isFrame(marker):
			if len(body) < 5 {
				return errors.New("jpeg: a header without the picture's size")
			}
			f.Height, f.Width = int(binary.BigEndian.Uint16(body[1:])), int(binary.BigEndian.Uint16(body[3:]))
		case marker == markerAPP1 && strings.HasPrefix(string(body), exifHeader):
			return f.addExif(body)
		case marker == markerCOM:
			return f.addText("Comment", strings.TrimRight(string(body), "\x00"))
		}
		return nil
	})
	if err == nil && (f.Width == 0 || f.Height == 0) {
		err = errors.New("jpeg: no header with the picture's size")
	}
	return f, err
}

// isFrame reports whether a marker is one of SOF0 to SOF15, which are numbered
// with three others between them.
func isFrame(marker byte) bool {
	return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc
}

// segments visits the segments up to the pixels.
func segments(r *bufio.Reader, visit func(marker byte, body []byte) error) error {
	ends := func(err error) error {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return errors.New("jpeg: the file ends before its pixels")
		}
		return err
	}
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil { // SOI
		return ends(err)
	}
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return ends(err)
		}
		if head[0] != 0xff {
			return fmt.Errorf("jpeg: %#02x where a marker is wanted", head[0])
		}
		for head[1] == 0xff { // fill bytes
			var err error
			if head[1], err = r.ReadByte(); err != nil {
				return ends(err)
			}
		}
		marker := head[1]
		if marker == markerSOS || marker == markerEOI {
			return nil
		}
		if marker == 0x01 || marker >= 0xd0 && marker <= 0xd8 { // without a body
			continue
		}
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return ends(err)
		}
		n := int(binary.BigEndian.Uint16(head[:])) - 2
		if n < 0 {
			return errors.New("jpeg: a segment shorter than its own length")
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(r, body); err != nil {
			return ends(err)
		}
		if err := visit(marker, body); err != nil {
			return err
		}
	}
}
