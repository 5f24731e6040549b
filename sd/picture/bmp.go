package picture

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"io"
	"math/bits"
	"slices"

	"golang.org/x/image/bmp"
)

// Offsets in a BMP file, whose second header begins as BITMAPINFOHEADER's.
const (
	bmpPixels      = 10
	bmpHeaderSize  = 14
	bmpWidth       = bmpHeaderSize + 4
	bmpHeight      = bmpHeaderSize + 8
	bmpBits        = bmpHeaderSize + 14
	bmpCompression = bmpHeaderSize + 16
	bmpColours     = bmpHeaderSize + 32
	bmpMasks       = bmpHeaderSize + 40 // within the header, or after one of 40 bytes
)

// bmpHeaders are the lengths of the second header: BITMAPINFOHEADER, with masks of three
// colours, with alpha's, BITMAPV4HEADER, BITMAPV5HEADER.
var bmpHeaders = []uint32{40, 52, 56, 108, 124}

// bmpBitfields is the compression of pixels that masks describe.
const bmpBitfields = 3

func isBMP(head []byte) bool {
	return len(head) >= 10 && head[0] == 'B' && head[1] == 'M' && binary.LittleEndian.Uint32(head[6:]) == 0
}

func bmpHeader(r *bufio.Reader) (size image.Point, err error) {
	var head [bmpHeaderSize + 40]byte
	if _, err := io.ReadFull(r, head[:bmpHeaderSize+4]); err != nil {
		return size, err
	}
	le := binary.LittleEndian
	if n := le.Uint32(head[bmpHeaderSize:]); !slices.Contains(bmpHeaders, n) {
		return size, unsupported(fmt.Sprintf("a header of %d bytes; 40, 52, 56, 108 and 124 are supported", n))
	}
	if _, err := io.ReadFull(r, head[bmpHeaderSize+4:]); err != nil {
		return size, err
	}
	width, height := int64(int32(le.Uint32(head[bmpWidth:]))), int64(int32(le.Uint32(head[bmpHeight:])))
	size = image.Pt(int(width), int(max(height, -height))) // a negative one counts from the top
	depth, compression := le.Uint16(head[bmpBits:]), le.Uint32(head[bmpCompression:])
	switch depth {
	case 1, 2, 4, 8, 16, 24, 32:
	default:
		return size, unsupported(fmt.Sprintf("%d bits a pixel; 1, 2, 4, 8, 16, 24 and 32 are supported", depth))
	}
	if compression != 0 && (compression != bmpBitfields || depth != 16 && depth != 32) {
		return size, unsupported(fmt.Sprintf("compression %d of %d bits a pixel; uncompressed pixels are supported", compression, depth))
	}
	return size, nil
}

// decodeBMP decodes a BMP file.
func decodeBMP(data []byte, size image.Point) (image.Image, error) {
	if binary.LittleEndian.Uint16(data[bmpBits:]) <= 8 {
		return decodePalettedBMP(data)
	}
	return decodeTrueBMP(data, size)
}

// decodePalettedBMP decodes pixels of at most 8 bits. Package bmp takes neither longer
// headers nor a gap before the pixels.
func decodePalettedBMP(data []byte) (image.Image, error) {
	le := binary.LittleEndian
	header, pixels, colours := int64(le.Uint32(data[bmpHeaderSize:])), int64(le.Uint32(data[bmpPixels:])), int64(le.Uint32(data[bmpColours:]))
	if colours == 0 {
		colours = 1 << le.Uint16(data[bmpBits:])
	}
	table, end := bmpHeaderSize+header, bmpHeaderSize+header+4*colours
	if colours > 256 || end > int64(len(data)) || pixels < end || pixels > int64(len(data)) {
		return nil, errors.New("bmp: the colours and the pixels do not fit into the file")
	}
	plain := slices.Concat(data[:bmpHeaderSize+40], data[table:end], data[pixels:])
	le.PutUint32(plain[bmpHeaderSize:], 40)
	le.PutUint32(plain[bmpPixels:], uint32(bmpHeaderSize+40+4*colours))
	return bmp.Decode(bytes.NewReader(plain))
}

// decodeTrueBMP decodes pixels of 16, 24 or 32 bits. A pixel's alpha counts only where
// the header has a mask for it and says that masks count: many programs leave it 0.
func decodeTrueBMP(data []byte, size image.Point) (image.Image, error) {
	le := binary.LittleEndian
	depth := int(le.Uint16(data[bmpBits:]))
	masks, err := bmpMasksOf(data, depth)
	if err != nil {
		return nil, err
	}
	bytesEach := depth / 8
	stride := (size.X*bytesEach + 3) &^ 3
	pixels := int64(le.Uint32(data[bmpPixels:]))
	if pixels < bmpHeaderSize+40 || pixels+int64(stride)*int64(size.Y) > int64(len(data)) {
		return nil, io.ErrUnexpectedEOF
	}
	out := image.NewNRGBA(image.Rectangle{Max: size})
	for y := range size.Y {
		row := data[pixels+int64(y)*int64(stride):]
		to := y
		if int32(le.Uint32(data[bmpHeight:])) > 0 { // from the bottom up
			to = size.Y - 1 - y
		}
		for x := range size.X {
			v := uint32(0)
			for i := range bytesEach {
				v |= uint32(row[x*bytesEach+i]) << (8 * i)
			}
			p := out.Pix[to*out.Stride+4*x:][:4]
			for c, mask := range masks {
				p[c] = bmpSample(v, mask)
			}
		}
	}
	return out, nil
}

// bmpMasksOf are the bits of red, green, blue and alpha in a pixel; no bits of alpha
// mean that there is none.
func bmpMasksOf(data []byte, depth int) (masks [4]uint32, err error) {
	le := binary.LittleEndian
	if le.Uint32(data[bmpCompression:]) != bmpBitfields {
		if depth == 16 {
			return [4]uint32{0x7c00, 0x3e0, 0x1f}, nil
		}
		return [4]uint32{0xff0000, 0xff00, 0xff}, nil
	}
	n := 3
	if le.Uint32(data[bmpHeaderSize:]) >= 56 {
		n = 4
	}
	if len(data) < bmpMasks+4*n {
		return masks, io.ErrUnexpectedEOF
	}
	for i := range n {
		masks[i] = le.Uint32(data[bmpMasks+4*i:])
	}
	all := uint32(0)
	for i, m := range masks {
		run := m >> bits.TrailingZeros32(m)
		if i < 3 && m == 0 || run&(run+1) != 0 || m&all != 0 || uint64(m) >= 1<<depth {
			return masks, unsupported(fmt.Sprintf("masks %#x; each colour must have bits of its own, one after the other", masks))
		}
		all |= m
	}
	return masks, nil
}

// bmpSample is a colour in 8 bits: the bits of a mask, in proportion.
func bmpSample(pixel, mask uint32) uint8 {
	if mask == 0 {
		return 255
	}
	shift := bits.TrailingZeros32(mask)
	return uint8(uint64((pixel&mask)>>shift) * 255 / uint64(mask>>shift))
}
