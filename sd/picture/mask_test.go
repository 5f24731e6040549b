package picture

import (
	"image"
	"image/color"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMask(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 4, 1))
	copy(img.Pix, []uint8{255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 255, 255, 0, 0, 255})
	require.Equal(t, []uint8{255, 0, 0, 76}, Mask(img).Pix)
}

// One white pixel grows to a square, and a square shrinks back to it.
func TestGrow(t *testing.T) {
	mask := image.NewGray(image.Rect(0, 0, 9, 7))
	mask.SetGray(4, 3, color.Gray{200})
	grown := Grow(mask, 2)
	for y := range 7 {
		for x := range 9 {
			want := uint8(0)
			if x >= 2 && x <= 6 && y >= 1 && y <= 5 {
				want = 200
			}
			require.Equal(t, want, grown.GrayAt(x, y).Y, "%d,%d", x, y)
		}
	}
	require.Equal(t, mask.Pix, Grow(grown, -2).Pix)
	require.Equal(t, mask.Pix, Grow(mask, 0).Pix)
	require.Len(t, Grow(mask, 1<<30).Pix, 63)
}

func TestBlur(t *testing.T) {
	mask := image.NewGray(image.Rect(0, 0, 40, 1))
	for x := 20; x < 40; x++ {
		mask.Pix[x] = 255
	}
	soft := Blur(mask, 2)
	require.Equal(t, uint8(0), soft.Pix[5])
	require.Equal(t, uint8(255), soft.Pix[35])
	require.InDelta(t, 127, int(soft.Pix[19])/2+int(soft.Pix[20])/2, 3)
}

func TestCanvas(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 2, 2))
	copy(img.Pix, []uint8{1, 0, 0, 255, 2, 0, 0, 255, 3, 0, 0, 255, 4, 0, 0, 255})
	out, mask := Canvas(img, 6, 4)
	want := []uint8{1, 1, 1, 2, 2, 2, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 3, 3, 3, 4, 4, 4}
	for i, v := range want {
		require.Equal(t, v, out.Pix[4*i], "pixel %d", i)
		inside := i == 8 || i == 9 || i == 14 || i == 15
		require.Equal(t, !inside, mask.Pix[i] == 255, "pixel %d", i)
	}
}
