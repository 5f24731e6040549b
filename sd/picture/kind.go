package picture

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"

	"golang.org/x/image/bmp"
	"golang.org/x/image/webp"

	"github.com/sdgo/sdgo/sd/pngtext"
)

// kind is a file format that [Read] reads.
type kind struct {
	name  string
	video bool // the range of its YCbCr (ycbcr.go)
	looks func(head []byte) bool
	// header reads the size, and refuses variants that decode does not support.
	header func(r *bufio.Reader) (image.Point, error)
	// decode decodes a picture whose header was checked.
	decode func(data []byte, size image.Point) (image.Image, error)
	// exif finds EXIF data; nil for formats without it.
	exif func(data []byte) []byte
}

// sniffed is the number of bytes that distinguish all formats.
const sniffed = 16

func startsWith(prefix string) func([]byte) bool {
	return func(head []byte) bool { return bytes.HasPrefix(head, []byte(prefix)) }
}

// kinds are the formats. Package image's own registry of decoders is not used,
// because other code of the program may add to it.
var kinds = []kind{
	{name: "png", looks: startsWith(pngtext.Signature), header: pngHeader, decode: decodePNG, exif: pngExif},
	{name: "jpeg", looks: isJPEG, header: jpegHeader, decode: decodeJPEG, exif: jpegExif},
	{name: "webp", video: true, looks: isWebP, header: webpHeader, decode: decodeWebP, exif: webpExif},
	{name: "gif", looks: func(head []byte) bool { return startsWith("GIF87a")(head) || startsWith("GIF89a")(head) }, header: gifHeader, decode: decodeGIF},
	{name: "bmp", looks: isBMP, header: bmpHeader, decode: decodeBMP},
}

func sniff(head []byte) (kind, bool) {
	for _, k := range kinds {
		if k.looks(head) {
			return k, true
		}
	}
	return kind{}, false
}

// unsupported is the error of a valid picture of a variant that is not supported.
type unsupported string

func (e unsupported) Error() string { return string(e) }

func isUnsupported(err error) bool {
	var own unsupported
	var ofPNG png.UnsupportedError
	var ofJPEG jpeg.UnsupportedError
	return errors.As(err, &own) || errors.As(err, &ofPNG) || errors.As(err, &ofJPEG) || errors.Is(err, bmp.ErrUnsupported)
}

// orientation is EXIF's, 0 if the file has none or it is broken.
func orientation(k kind, data []byte) int {
	if k.exif == nil {
		return 0
	}
	body := k.exif(data)
	if body == nil {
		return 0
	}
	e, _ := decodeExif(body)
	return e.orientation
}

func pngHeader(r *bufio.Reader) (size image.Point, err error) {
	// The signature, and the header chunk's length, name, width and height.
	var head [24]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return size, err
	}
	width, height := binary.BigEndian.Uint32(head[16:]), binary.BigEndian.Uint32(head[20:])
	if string(head[12:16]) != "IHDR" || width == 0 || height == 0 {
		return size, errors.New("the header with the picture's size is missing")
	}
	return image.Pt(int(width), int(height)), nil
}

func decodePNG(data []byte, _ image.Point) (image.Image, error) {
	return png.Decode(bytes.NewReader(data))
}

func pngExif(data []byte) []byte {
	body, _ := pngtext.Exif(bytes.NewReader(data))
	return body
}

func isWebP(head []byte) bool {
	return len(head) >= 12 && string(head[:4]) == "RIFF" && string(head[8:12]) == "WEBP"
}

func webpHeader(r *bufio.Reader) (image.Point, error) {
	f, err := webpChunks(r)
	return image.Pt(f.Width, f.Height), err
}

func decodeWebP(data []byte, _ image.Point) (image.Image, error) {
	f, err := webpChunks(bufio.NewReader(bytes.NewReader(data)))
	if err != nil {
		return nil, err
	}
	return webp.Decode(bytes.NewReader(f.forDecoder(data)))
}

func webpExif(data []byte) []byte {
	f, _ := webpChunks(bufio.NewReader(bytes.NewReader(data)))
	return f.exif
}

// gifHeader reads the size of GIF's logical screen (GIF89a, section 18).
func gifHeader(r *bufio.Reader) (size image.Point, err error) {
	var head [10]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return size, err
	}
	return image.Pt(int(binary.LittleEndian.Uint16(head[6:])), int(binary.LittleEndian.Uint16(head[8:]))), nil
}

// decodeGIF decodes the first frame; the rest of the screen is transparent.
func decodeGIF(data []byte, size image.Point) (image.Image, error) {
	frame, err := gif.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	if frame.Bounds() == (image.Rectangle{Max: size}) {
		return frame, nil
	}
	part, err := toNRGBA(frame, false)
	if err != nil {
		return nil, err
	}
	screen := image.NewNRGBA(image.Rectangle{Max: size})
	draw.Draw(screen, frame.Bounds(), part, image.Point{}, draw.Src)
	return screen, nil
}

// Offsets in a BMP file, whose second header has 40, 108 or 124 bytes
// (BITMAPINFOHEADER, BITMAPV4HEADER, BITMAPV5HEADER).
const (
	bmpHeaderSize  = 14
	bmpWidth       = bmpHeaderSize + 4
	bmpHeight      = bmpHeaderSize + 8
	bmpBits        = bmpHeaderSize + 14
	bmpCompression = bmpHeaderSize + 16
)

func isBMP(head []byte) bool {
	return len(head) >= 10 && head[0] == 'B' && head[1] == 'M' && binary.LittleEndian.Uint32(head[6:]) == 0
}

func bmpHeader(r *bufio.Reader) (size image.Point, err error) {
	var head [bmpHeaderSize + 40]byte
	if _, err := io.ReadFull(r, head[:bmpHeaderSize+4]); err != nil {
		return size, err
	}
	le := binary.LittleEndian
	if n := le.Uint32(head[bmpHeaderSize:]); n != 40 && n != 108 && n != 124 {
		return size, unsupported(fmt.Sprintf("a header of %d bytes; 40, 108 and 124 are supported", n))
	}
	if _, err := io.ReadFull(r, head[bmpHeaderSize+4:]); err != nil {
		return size, err
	}
	width, height := int64(int32(le.Uint32(head[bmpWidth:]))), int64(int32(le.Uint32(head[bmpHeight:])))
	size = image.Pt(int(width), int(max(height, -height))) // a negative one counts from the top
	if bits := le.Uint16(head[bmpBits:]); bits == 16 {
		return size, unsupported("16 bits a pixel; 1, 2, 4, 8, 24 and 32 are supported")
	}
	if c := le.Uint32(head[bmpCompression:]); c == 1 || c == 2 || c == 4 || c == 5 {
		return size, unsupported(fmt.Sprintf("compression %d; uncompressed pixels are supported", c))
	}
	return size, nil
}

// decodeBMP decodes a BMP file. The fourth byte of its pixels is alpha only where the
// header has masks that say so; without masks many programs leave it 0.
func decodeBMP(data []byte, _ image.Point) (image.Image, error) {
	img, err := bmp.Decode(bytes.NewReader(data))
	if p, ok := img.(*image.NRGBA); ok && binary.LittleEndian.Uint32(data[bmpCompression:]) == 0 {
		for i := 3; i < len(p.Pix); i += 4 {
			p.Pix[i] = 255
		}
	}
	return img, err
}
