package picture

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Flags of a WebP file's VP8X chunk.
const (
	flagAnimation = 0x02
	flagEXIF      = 0x08
	flagAlpha     = 0x10
)

// webpFacts reads a WebP file's chunks (WebP Container Specification; RFC
// 6386, section 9.1, for VP8's header; RFC 9649 for VP8L's). It refuses a canvas whose
// size is not the picture's, because decoders allocate both.
func webpFacts(r io.Reader) (Facts, error) {
	f, err := webpChunks(bufio.NewReader(r))
	if err == nil && f.exif != nil {
		err = f.addExif(f.exif)
	}
	return f.Facts, err
}

// webpFile is what a WebP file consists of. Its EXIF data is not checked here: broken
// data must not make the picture unreadable.
type webpFile struct {
	Facts
	exif     []byte
	lossless bool // the picture is a VP8L chunk
	alpha    bool // there is an ALPH chunk
}

func webpChunks(in *bufio.Reader) (f webpFile, err error) {
	f.Format = WebP
	var head [12]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return f, ended(err)
	}
	rest := int64(binary.LittleEndian.Uint32(head[4:])) - 4
	seen := false // there was a picture
	for rest > 0 {
		if _, err := io.ReadFull(in, head[:8]); err != nil {
			return f, ended(err)
		}
		kind, size := string(head[:4]), int64(binary.LittleEndian.Uint32(head[4:]))
		rest -= 8 + size + size%2
		// The padding of the last chunk may be missing.
		if rest < -1 || rest < 0 && size%2 == 0 {
			return f, fmt.Errorf("webp: a %q chunk of %d bytes, more than the file has", kind, size)
		}
		part := &io.LimitedReader{R: in, N: size}
		switch {
		case kind == "VP8X" || !seen && (kind == "VP8 " || kind == "VP8L"):
			if err := f.addSize(kind, part); err != nil {
				return f, err
			}
			seen = seen || kind != "VP8X"
			f.lossless = f.lossless || kind == "VP8L"
		case kind == "ALPH" && !seen:
			f.alpha = true
		case kind == "EXIF" && size <= maxExif:
			if f.exif, err = io.ReadAll(part); err == nil && part.N > 0 {
				err = io.ErrUnexpectedEOF
			}
			if err != nil {
				return f, ended(err)
			}
		}
		if _, err := io.CopyN(io.Discard, in, part.N+size%2); err != nil && (rest > 0 || part.N > 0) {
			return f, ended(err)
		}
	}
	if !seen {
		return f, errors.New("webp: no picture in the file")
	}
	return f, nil
}

var errWebPEnd = errors.New("webp: the file ends within a chunk")

func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errWebPEnd
	}
	return err
}

// addSize reads the size from a chunk that has one.
func (f *Facts) addSize(kind string, r io.Reader) error {
	var b [10]byte
	n := map[string]int{"VP8X": 10, "VP8 ": 10, "VP8L": 5}[kind]
	if _, err := io.ReadFull(r, b[:n]); err != nil {
		return ended(err)
	}
	var width, height int
	switch kind {
	case "VP8X":
		if b[0]&flagAnimation != 0 {
			return unsupported("webp: an animation; must be a still picture")
		}
		width, height = 1+(int(b[4])|int(b[5])<<8|int(b[6])<<16), 1+(int(b[7])|int(b[8])<<8|int(b[9])<<16)
	case "VP8 ":
		if string(b[3:6]) != "\x9d\x01\x2a" {
			return errors.New("webp: a VP8 chunk must begin with a key frame")
		}
		width, height = int(binary.LittleEndian.Uint16(b[6:])&0x3fff), int(binary.LittleEndian.Uint16(b[8:])&0x3fff)
	case "VP8L":
		if b[0] != 0x2f {
			return errors.New("webp: a VP8L chunk must begin with its signature")
		}
		bits := binary.LittleEndian.Uint32(b[1:])
		width, height = 1+int(bits&0x3fff), 1+int(bits>>14&0x3fff)
	}
	if f.Width != 0 && (f.Width != width || f.Height != height) {
		return fmt.Errorf("webp: a picture of %dx%d pixels on a canvas of %dx%d", width, height, f.Width, f.Height)
	}
	f.Width, f.Height = width, height
	return nil
}

// forDecoder clears the canvas's alpha flag where there is no ALPH chunk, because
// package webp would look for one. A VP8L chunk has its own transparency.
func (f webpFile) forDecoder(data []byte) []byte {
	if f.alpha && !f.lossless || string(data[12:16]) != "VP8X" || data[20]&flagAlpha == 0 {
		return data
	}
	data = bytes.Clone(data)
	data[20] &^= flagAlpha
	return data
}
