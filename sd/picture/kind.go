package picture

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/draw"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"slices"

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

// others are formats that are not read, for errors, by what their files begin with.
var others = []struct {
	name  string
	looks func(head []byte) bool
}{
	{"a TIFF picture", anyPrefix("II*\x00", "MM\x00*", "II+\x00", "MM\x00+")},
	{"a JPEG XL picture", anyPrefix("\xff\x0a", "\x00\x00\x00\x0cJXL ")},
	{"a JPEG 2000 picture", anyPrefix("\x00\x00\x00\x0cjP  ", "\xff\x4f\xff\x51")},
	{"an AVIF picture", isBrand("avif", "avis")},
	{"a HEIC picture", isBrand("heic", "heix", "hevc", "heim", "heis", "mif1", "msf1")},
	{"a video", anyPrefix("\x1aE\xdf\xa3", "\x00\x00\x01\xba")},
	{"a video", isBrand("")},
	{"a Photoshop document", anyPrefix("8BPS")},
	{"an OpenEXR picture", anyPrefix("v/1\x01")},
	{"a Radiance HDR picture", anyPrefix("#?RADIANCE", "#?RGBE")},
	{"a DDS texture", anyPrefix("DDS ")},
	{"a QOI picture", anyPrefix("qoif")},
	{"an icon (.ico)", anyPrefix("\x00\x00\x01\x00", "\x00\x00\x02\x00")},
	{"a PNM picture", func(head []byte) bool {
		return len(head) > 2 && head[0] == 'P' && head[1] >= '1' && head[1] <= '7' && (head[2] == ' ' || head[2] == '\n' || head[2] == '\r' || head[2] == '\t')
	}},
	{"a PDF document", anyPrefix("%PDF-")},
	{"a Git LFS pointer, not the picture itself", anyPrefix("version https:/")},
	{"an HTML page", anyPrefix("<!DOCTYPE html", "<!doctype html", "<html", "<HTML")},
	{"an SVG drawing or another XML document", anyPrefix("<svg", "<?xml")},
}

func anyPrefix(prefixes ...string) func([]byte) bool {
	return func(head []byte) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool { return startsWith(p)(head) })
	}
}

// isBrand recognises the ISO base media format by its brand.
func isBrand(brands ...string) func([]byte) bool {
	return func(head []byte) bool {
		return len(head) >= 12 && string(head[4:8]) == "ftyp" && slices.ContainsFunc(brands, func(b string) bool { return startsWith(b)(head[8:]) })
	}
}

// foreign says what a file is that is not read: "not a picture", or its format.
func foreign(head []byte) string {
	for _, o := range others {
		if o.looks(head) {
			return o.name
		}
	}
	return "not a picture"
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

// decodeGIF decodes the first frame. The rest of the screen is as in Pillow: transparent,
// or, if the frame's palette has nothing transparent, of that palette's first colour.
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
	if p, ok := frame.(*image.Paletted); ok && len(p.Palette) > 0 && !slices.ContainsFunc(p.Palette, isTransparent) {
		draw.Draw(screen, screen.Rect, image.NewUniform(p.Palette[0]), image.Point{}, draw.Src)
	}
	draw.Draw(screen, frame.Bounds(), part, image.Point{}, draw.Src)
	return screen, nil
}

func isTransparent(c color.Color) bool {
	_, _, _, a := c.RGBA()
	return a == 0
}
