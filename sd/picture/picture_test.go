package picture

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/pngtext"
)

const folder = "../../testdata/pictures"

func open(t testing.TB, name string) image.Image {
	img, err := Open(filepath.Join(folder, name))
	require.NoError(t, err)
	return img
}

// requireLike compares with want(x, y) in 8 bits, within some levels.
func requireLike(t *testing.T, img image.Image, width, height, within int, want func(x, y int) color.NRGBA) {
	t.Helper()
	corner := img.Bounds().Min
	require.Equal(t, image.Pt(width, height), img.Bounds().Size())
	for y := range height {
		for x := range width {
			got := color.NRGBAModel.Convert(img.At(corner.X+x, corner.Y+y)).(color.NRGBA)
			w := want(x, y)
			for i, pair := range [][2]uint8{{got.R, w.R}, {got.G, w.G}, {got.B, w.B}, {got.A, w.A}} {
				require.InDelta(t, pair[1], pair[0], float64(within), "%d,%d channel %d", x, y, i)
			}
		}
	}
}

// Every kind of file that Pillow writes has the pixels of
// testdata/pictures/make.py.
func TestFormats(t *testing.T) {
	rgb := func(x, y int) color.NRGBA { return color.NRGBA{uint8(50 * x), uint8(80 * y), 100, 255} }
	for _, name := range []string{"rgb.png", "rgb.bmp", "rgb.webp", "palette.png", "palette.gif"} {
		t.Run(name, func(t *testing.T) { requireLike(t, open(t, name), 6, 4, 0, rgb) })
	}
	for _, name := range []string{"alpha.png", "alpha.webp"} {
		requireLike(t, open(t, name), 6, 4, 0, func(x, y int) color.NRGBA {
			c := rgb(x, y)
			if x < 3 {
				c.A = 0
			}
			return c
		})
	}
	requireLike(t, open(t, "red-as-grey16.png"), 6, 4, 0, func(x, _ int) color.NRGBA {
		return color.NRGBA{uint8(50 * x), uint8(50 * x), uint8(50 * x), 255}
	})
	requireLike(t, open(t, "grey.png"), 6, 4, 1, func(x, y int) color.NRGBA {
		v := uint8(0.299*float64(50*x) + 0.587*float64(80*y) + 0.114*100)
		return color.NRGBA{v, v, v, 255}
	})
	requireLike(t, open(t, "cmyk.jpg"), 48, 32, 20, func(x, y int) color.NRGBA { return rgb(x/8, y/8) })
}

func TestOrientations(t *testing.T) {
	for n := 1; n <= 8; n++ {
		requireLike(t, open(t, fmt.Sprintf("orient-%d.jpg", n)), 48, 32, 6, func(x, y int) color.NRGBA {
			v := uint8(50 * (x/16 + 3*(y/16)))
			return color.NRGBA{v, v, v, 255}
		})
	}
}

// hugePNG makes the beginning of a PNG file that claims a size.
func hugePNG(width, height uint32) []byte {
	head := append([]byte("IHDR"), binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, width), height)...)
	head = append(head, 8, 2, 0, 0, 0)
	b := append([]byte("\x89PNG\r\n\x1a\n"), 0, 0, 0, 13)
	return binary.BigEndian.AppendUint32(append(b, head...), crc32.ChecksumIEEE(head))
}

func TestRefusals(t *testing.T) {
	good, err := os.ReadFile(filepath.Join(folder, "rgb.png"))
	require.NoError(t, err)
	jpeg, err := os.ReadFile(filepath.Join(folder, "orient-1.jpg"))
	require.NoError(t, err)
	for _, c := range []struct {
		data []byte
		want string
	}{
		{nil, "not a picture"},
		{[]byte("a sentence"), "not a picture"},
		{[]byte("II*\x00\x08\x00\x00\x00"), "a TIFF picture: must be PNG"},
		{good[:30], "damaged"},
		{good[:60], "damaged png picture of 6x4"},
		{jpeg[:len(jpeg)/2], "damaged"},
		{hugePNG(1<<14, 1<<14), "16384x16384 pixels"},
		{hugePNG(1<<30, 1), "1073741824x1 pixels"},
	} {
		_, err := Read(bytes.NewReader(c.data))
		require.ErrorContains(t, err, c.want)
	}
	_, err = Open(filepath.Join(folder, "none.png"))
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "none.png: ")
	_, err = Open(folder)
	require.ErrorContains(t, err, folder)
}

// pictureFiles are those of testdata/pictures.
func pictureFiles(f *testing.F) (all [][]byte) {
	for _, pattern := range []string{"*.*", "modes/*.[!j]*"} {
		names, err := filepath.Glob(filepath.Join(folder, pattern))
		require.NoError(f, err)
		for _, name := range names {
			data, err := os.ReadFile(name)
			require.NoError(f, err)
			all = append(all, data)
		}
	}
	return all
}

// requireRead reads a file. There must be no panic, and a picture must be complete.
func requireRead(t *testing.T, data []byte) {
	img, err := Read(bytes.NewReader(data))
	if err == nil && (img.Rect.Empty() || len(img.Pix) < 4*img.Rect.Dx()*img.Rect.Dy()) {
		t.Fatalf("%v in %d bytes", img.Rect, len(img.Pix))
	}
	if err != nil && strings.Contains(err.Error(), "panicked") {
		t.Fatal(err)
	}
}

func FuzzRead(f *testing.F) {
	for _, data := range pictureFiles(f) {
		f.Add(data)
	}
	f.Add(hugePNG(1<<31-1, 1<<31-1))
	f.Add(evilBMP())
	f.Fuzz(requireRead)
}

// FuzzReadPNG makes files whose checksums and compression are right: plain mutations
// seldom get past those.
func FuzzReadPNG(f *testing.F) {
	f.Add(uint8(2), uint8(2), uint8(8), uint8(6), uint8(0), "tEXt", []byte("k\x00v"), make([]byte, 18))
	f.Add(uint8(3), uint8(1), uint8(4), uint8(3), uint8(1), "PLTE", []byte("abcdef"), make([]byte, 9))
	f.Add(uint8(3), uint8(1), uint8(16), uint8(0), uint8(0), "tRNS", []byte("ab"), make([]byte, 7))
	f.Add(uint8(8), uint8(8), uint8(1), uint8(0), uint8(1), "eXIf", encodeExif("a"), make([]byte, 40))
	f.Fuzz(func(t *testing.T, width, height, depth, colour, interlace uint8, kind string, body, rows []byte) {
		chunk := func(kind string, body []byte) []byte {
			kind = (kind + "    ")[:4]
			b := append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), kind...)
			b = append(b, body...)
			return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[4:]))
		}
		var pixels bytes.Buffer
		z := zlib.NewWriter(&pixels)
		z.Write(rows)
		z.Close()
		header := []byte{0, 0, 0, width, 0, 0, 0, height, depth, colour, 0, 0, interlace}
		requireRead(t, slices.Concat([]byte(pngtext.Signature), chunk("IHDR", header), chunk(kind, body), chunk("IDAT", pixels.Bytes()), chunk("IEND", nil)))
	})
}

// FuzzNRGBA makes pictures of package image whose fields contradict each other. That
// must be found before anything is read beyond their bytes.
func FuzzNRGBA(f *testing.F) {
	for kind := range uint8(10) {
		f.Add(kind, 256, 16, -3, 5, 61, 21, uint8(2))
	}
	f.Fuzz(func(t *testing.T, kind uint8, n, stride, left, top, right, bottom int, more uint8) {
		pix, box := make([]uint8, min(max(n, 0), 1<<16)), image.Rectangle{image.Pt(left, top), image.Pt(right, bottom)}
		for i := range pix {
			pix[i] = uint8(i) * more
		}
		all := []image.Image{
			&image.NRGBA{Pix: pix, Stride: stride, Rect: box}, &image.RGBA{Pix: pix, Stride: stride, Rect: box},
			&image.NRGBA64{Pix: pix, Stride: stride, Rect: box}, &image.RGBA64{Pix: pix, Stride: stride, Rect: box},
			&image.Gray{Pix: pix, Stride: stride, Rect: box}, &image.Gray16{Pix: pix, Stride: stride, Rect: box}, &image.CMYK{Pix: pix, Stride: stride, Rect: box},
			&image.Paletted{Pix: pix, Stride: stride, Rect: box, Palette: make(color.Palette, 0, 4)},
			&image.YCbCr{Y: pix, Cb: pix, Cr: pix[len(pix)/2:], YStride: stride, CStride: stride / 2, SubsampleRatio: image.YCbCrSubsampleRatio(more), Rect: box},
			&image.NYCbCrA{YCbCr: image.YCbCr{Y: pix, Cb: pix, Cr: pix, YStride: stride, CStride: stride, Rect: box}, A: pix, AStride: int(more)},
		}
		img, err := NRGBA(all[int(kind)%len(all)])
		if err == nil && len(img.Pix) < 4*img.Rect.Dx()*img.Rect.Dy() {
			t.Fatalf("%v in %d bytes", img.Rect, len(img.Pix))
		}
		if err != nil && strings.Contains(err.Error(), "panicked") {
			t.Fatal(err)
		}
	})
}
