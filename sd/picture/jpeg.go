package picture

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
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

// maxSegment is the largest body of a segment, in bytes.
const maxSegment = 1<<16 - 1 - 2

// isJPEG recognises JPEG by the first bytes. (The fourth, a marker, distinguishes it
// from a safetensors file, which begins with a length.)
func isJPEG(head []byte) bool {
	return len(head) >= 4 && head[0] == 0xff && head[1] == markerSOI && head[2] == 0xff && head[3] >= 0xc0
}

// Limits of a picture's scans. A progressive file has about ten. However short a scan
// is, decoding it visits every pixel.
const (
	maxScans    = 100
	maxScanWork = 1 << 30 // pixels of all scans together
)

// errFound ends the visit of segments.
var errFound = errors.New("found")

// jpegHeader reads the size. It refuses, by name, what the decoder does not support:
// that supports Huffman-coded JPEG, baseline, extended and progressive, of 8 bits.
func jpegHeader(r *bufio.Reader) (size image.Point, err error) {
	err = segments(r, func(marker byte, body []byte) error {
		if !isFrame(marker) {
			return nil
		}
		if len(body) < 5 {
			return errors.New("jpeg: the header is too short to have the picture's size")
		}
		size = image.Pt(int(binary.BigEndian.Uint16(body[3:])), int(binary.BigEndian.Uint16(body[1:])))
		switch {
		case marker >= 0xc9:
			return unsupported("arithmetic coding; Huffman coding is supported")
		case marker == 0xc3 || marker == 0xc7:
			return unsupported("lossless JPEG; baseline and progressive JPEG are supported")
		case marker > 0xc3:
			return unsupported("hierarchical JPEG; baseline and progressive JPEG are supported")
		case body[0] != 8:
			return unsupported(fmt.Sprintf("%d bits a sample; 8 are supported", body[0]))
		}
		return errFound
	})
	switch {
	case errors.Is(err, errFound):
		return size, nil
	case err == nil:
		err = errors.New("jpeg: the header with the picture's size is missing")
	}
	return size, err
}

func decodeJPEG(data []byte, size image.Point) (image.Image, error) {
	if n := scans(data); n > maxScans || n*size.X*size.Y > maxScanWork {
		return nil, fmt.Errorf("jpeg: %d scans of %dx%d pixels; at most %d, and %d pixels in all of them, are read",
			n, size.X, size.Y, maxScans, maxScanWork)
	}
	return jpeg.Decode(bytes.NewReader(data))
}

// scans counts a picture's scans: the SOS markers before its end that are not inside a
// segment. Within a scan 0xff is followed by 0 or by a restart marker.
func scans(data []byte) (n int) {
	for at := 2; ; {
		i := bytes.IndexByte(data[min(at, len(data)):], 0xff)
		if i < 0 {
			return n
		}
		at += i + 1
		for at < len(data) && data[at] == 0xff { // fill bytes
			at++
		}
		if at+3 > len(data) {
			return n
		}
		marker := data[at]
		at++
		switch {
		case marker == markerEOI:
			return n
		case marker < 0x02 || marker >= 0xd0 && marker <= 0xd8: // without a body
			continue
		case marker == markerSOS:
			n++
		}
		at += int(binary.BigEndian.Uint16(data[at:]))
	}
}

// jpegExif returns the body of the EXIF segment.
func jpegExif(data []byte) (exif []byte) {
	_ = segments(bufio.NewReader(bytes.NewReader(data)), func(marker byte, body []byte) error {
		if isExif(marker, body) {
			exif = body
			return errFound
		}
		return nil
	})
	return exif
}

// jpegFacts reads the segments before the pixels.
func jpegFacts(r io.Reader) (Facts, error) {
	f := Facts{Format: JPEG}
	err := segments(bufio.NewReader(r), func(marker byte, body []byte) error {
		switch {
		case isFrame(marker):
			if len(body) < 5 {
				return errors.New("jpeg: the header is too short to have the picture's size")
			}
			f.Height, f.Width = int(binary.BigEndian.Uint16(body[1:])), int(binary.BigEndian.Uint16(body[3:]))
		case isExif(marker, body):
			return f.addExif(body)
		case marker == markerCOM:
			return f.addText("Comment", strings.TrimRight(string(body), "\x00"))
		}
		return nil
	})
	if err == nil && (f.Width == 0 || f.Height == 0) {
		err = errors.New("jpeg: the header with the picture's size is missing")
	}
	return f, err
}

// isFrame reports whether a marker is one of SOF0 to SOF15. Three of the numbers
// between them belong to other markers.
func isFrame(marker byte) bool {
	return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc
}

func isExif(marker byte, body []byte) bool {
	return marker == markerAPP1 && bytes.HasPrefix(body, []byte(exifHeader))
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
			return fmt.Errorf("jpeg: must have a marker (0xff), got %#02x", head[0])
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
			return errors.New("jpeg: a segment's length must be at least 2")
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
