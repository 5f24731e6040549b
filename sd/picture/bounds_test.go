package picture

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// evilBMP has one colour and pixels of colour 255 (CVE-2026-42500 of
// golang.org/x/image before 0.41): a panic where the picture is scaled.
func evilBMP() []byte {
	le := binary.LittleEndian
	b := []byte("BM")
	b = le.AppendUint32(b, 58+64*64)
	b = le.AppendUint32(le.AppendUint32(le.AppendUint32(b, 0), 58), 40)
	b = le.AppendUint32(le.AppendUint32(b, 64), 64)
	b = le.AppendUint16(le.AppendUint16(b, 1), 8)
	for _, v := range []uint32{0, 64 * 64, 0, 0, 1, 0} {
		b = le.AppendUint32(b, v)
	}
	return append(append(b, 1, 2, 3, 0), bytes.Repeat([]byte{255}, 64*64)...)
}

func TestPaletteOfDecoders(t *testing.T) {
	_, err := Read(bytes.NewReader(evilBMP()))
	require.ErrorContains(t, err, "a damaged bmp picture of 64x64 pixels")
}

// A decoder that panics, or returns something wrong, gives an error.
func TestDecodersAreNotBelieved(t *testing.T) {
	old := kinds
	defer func() { kinds = old }()
	var gives image.Image
	kinds = []kind{{name: "test", looks: startsWith("test"), header: gifHeader, decode: func([]byte, image.Point) (image.Image, error) {
		if gives == nil {
			panic("a fault")
		}
		return gives, nil
	}}}
	file := []byte("test..\x08\x00\x08\x00.......")
	for want, img := range map[string]image.Image{
		"the decoder panicked: a fault":   nil,
		"the decoder returned 9x8 pixels": image.NewGray(image.Rect(0, 0, 9, 8)),
		"are too few":                     &image.Gray{Rect: image.Rect(0, 0, 8, 8), Stride: 8},
		"colour 255 of a palette of 1":    &image.Paletted{Pix: bytes.Repeat([]byte{255}, 64), Stride: 8, Rect: image.Rect(0, 0, 8, 8), Palette: color.Palette{color.White}},
		"the decoder panicked: runtime ":  (*image.Gray)(nil),
	} {
		gives = img
		_, err := Read(bytes.NewReader(file))
		require.ErrorContains(t, err, want)
	}
}

// A progressive file of a few kilobytes may go over its pixels many times.
func TestScansAreCounted(t *testing.T) {
	for name, want := range map[string]int{"modes/420.jpg": 1, "modes/progressive.jpg": 10, "orient-1.jpg": 1, "cmyk.jpg": 1, "comment.jpg": 1} {
		data, err := os.ReadFile(filepath.Join(folder, name))
		require.NoError(t, err)
		require.Equal(t, want, scans(data), name)
	}
	data, err := os.ReadFile(filepath.Join(modes, "progressive.jpg"))
	require.NoError(t, err)
	last := bytes.LastIndex(data, []byte("\xff\xda"))
	scan := data[last : len(data)-2] // which is repeated
	many := append(bytes.Clone(data[:last]), bytes.Repeat(scan, maxScans-9)...)
	many = append(many, 0xff, markerEOI)
	require.Equal(t, maxScans, scans(many))
	_, err = Read(bytes.NewReader(many)) // the decoder may see that it has had that scan
	require.NotContains(t, fmt.Sprint(err), "at most")
	more := append(append(bytes.Clone(many[:len(many)-2]), scan...), 0xff, markerEOI)
	_, err = Read(bytes.NewReader(more))
	require.ErrorContains(t, err, "101 scans of 19x13 pixels; at most 100")
	_, err = decodeJPEG(many, image.Pt(8192, 8192))
	require.ErrorContains(t, err, "and 1073741824 pixels in all of them")
}

// A picture of the largest side is read, a longer one is refused.
func TestThinPictures(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, image.NewGray(image.Rect(0, 0, 1, MaxSide))))
	img, err := Read(&b)
	require.NoError(t, err)
	require.Equal(t, MaxSide, img.Rect.Dy())
	_, err = Read(bytes.NewReader(hugePNG(1, MaxSide+1)))
	require.ErrorContains(t, err, "1x131073 pixels")
}

// Broken texts affect neither a picture's pixels nor its orientation.
func TestBrokenTexts(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(folder, "orient-6.png"))
	require.NoError(t, err)
	body := []byte("zTXtno separator")
	chunk := binary.BigEndian.AppendUint32(nil, uint32(len(body)-4))
	chunk = binary.BigEndian.AppendUint32(append(chunk, body...), crc32.ChecksumIEEE(body))
	broken := append(append(bytes.Clone(data[:33]), chunk...), data[33:]...)
	_, err = ReadFacts(bytes.NewReader(broken))
	require.ErrorContains(t, err, "the keyword must have")
	img, err := Read(bytes.NewReader(broken))
	require.NoError(t, err)
	require.Equal(t, image.Pt(6, 4), img.Rect.Size(), "turned")
}

// The number of a JPEG file's comments is bounded. WebP files have at most one.
func TestTextsOfJPEG(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, 8, 8)), nil))
	data := b.Bytes()
	comment := append([]byte{0xff, markerCOM, 0xff, 0xff}, bytes.Repeat([]byte{0xe9}, 0xffff-2)...)
	file := func(n int) []byte {
		return append(append(bytes.Clone(data[:2]), bytes.Repeat(comment, n)...), data[2:]...)
	}
	facts, err := ReadFacts(bytes.NewReader(file(3)))
	require.NoError(t, err)
	require.Len(t, facts.Texts, 3)
	_, err = ReadFacts(bytes.NewReader(file(65)))
	require.ErrorContains(t, err, "at most 64 texts")
	f := Facts{Format: JPEG}
	require.NoError(t, f.addText("a", strings.Repeat("a", maxTextBytes-10)))
	require.ErrorContains(t, f.addText("b", strings.Repeat("b", 11)), "texts must be at most 8388608 bytes in all, got 8388609")
	_, err = Read(bytes.NewReader(file(65)))
	require.NoError(t, err, "its pixels can be read")
}
