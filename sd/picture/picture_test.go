package picture

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
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

// Every kind of file that Pillow writes shows the pixels of
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

// hugePNG is the beginning of a PNG that claims a size.
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
		{[]byte("II*\x00\x08\x00\x00\x00"), "not a picture"}, // TIFF
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

func FuzzRead(f *testing.F) {
	names, err := filepath.Glob(filepath.Join(folder, "*.*"))
	require.NoError(f, err)
	for _, name := range names {
		data, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Add(hugePNG(1<<31-1, 1<<31-1))
	f.Fuzz(func(t *testing.T, data []byte) {
		img, err := Read(bytes.NewReader(data))
		if err == nil && img.Bounds().Empty() {
			t.Fatal("an empty picture")
		}
	})
}
