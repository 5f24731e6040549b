package picture

import (
	"image"
	"testing"

	"github.com/stretchr/testify/require"
)

// What Pillow 12 makes of it with GaussianBlur and alpha_composite, which round to 8 bits
// in between: a picture of 40x32 pixels (6x, 7y, 3(x+y)) with a masked box.
func TestFill(t *testing.T) {
	img, mask := image.NewNRGBA(image.Rect(0, 0, 40, 32)), image.NewGray(image.Rect(0, 0, 40, 32))
	for y := range 32 {
		for x := range 40 {
			copy(img.Pix[img.PixOffset(x, y):], []byte{byte(6 * x), byte(7 * y), byte(3 * (x + y)), 255})
			if x >= 10 && x < 30 && y >= 8 && y < 24 {
				mask.Pix[mask.PixOffset(x, y)] = 255
			}
		}
	}
	got := Fill(img, mask)
	for _, c := range []struct{ y, x, r, g, b int }{{0, 0, 0, 0, 0}, {8, 10, 55, 51, 49}, {12, 15, 82, 70, 70}, {16, 20, 118, 114, 108},
		{16, 10, 46, 111, 70}, {23, 29, 177, 165, 160}, {20, 25, 160, 155, 143}, {9, 20, 119, 43, 77}} {
		at := got.Pix[got.PixOffset(c.x, c.y):]
		for i, want := range []int{c.r, c.g, c.b} {
			require.InDelta(t, want, int(at[i]), 4, "%d,%d: got %v", c.x, c.y, at[:3])
		}
	}
	for i, v := range mask.Pix {
		if v == 0 {
			require.Equal(t, img.Pix[4*i:4*i+4], got.Pix[4*i:4*i+4], "what is not masked stays")
		}
	}
	for i := range mask.Pix {
		mask.Pix[i] = 255
	}
	require.Equal(t, []byte{0, 0, 0, 255}, Fill(img, mask).Pix[:4], "nothing is near")
}

func BenchmarkFill(b *testing.B) {
	img, mask := image.NewNRGBA(image.Rect(0, 0, 512, 512)), image.NewGray(image.Rect(0, 0, 512, 512))
	for b.Loop() {
		Fill(img, mask)
	}
}
