package picture

import (
	"image"
	"image/color"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBounds(t *testing.T) {
	mask := image.NewGray(image.Rect(0, 0, 20, 10))
	require.True(t, Bounds(mask).Empty())
	mask.SetGray(3, 8, color.Gray{1})
	require.Equal(t, image.Rect(3, 8, 4, 9), Bounds(mask))
	mask.SetGray(17, 2, color.Gray{255})
	require.Equal(t, image.Rect(3, 2, 18, 9), Bounds(mask))
	require.Equal(t, image.Rect(17, 2, 18, 3), Bounds(mask.SubImage(image.Rect(10, 0, 20, 5)).(*image.Gray)))
}

func TestRegion(t *testing.T) {
	picture := image.Rect(0, 0, 1000, 600)
	for _, c := range []struct {
		box           image.Rectangle
		padding       int
		width, height int
		want          image.Rectangle
	}{
		{image.Rect(400, 200, 500, 300), 0, 512, 512, image.Rect(400, 200, 500, 300)},
		{image.Rect(400, 200, 500, 300), 32, 512, 512, image.Rect(368, 168, 532, 332)},
		{image.Rect(400, 200, 500, 300), 0, 512, 256, image.Rect(350, 200, 550, 300)},
		{image.Rect(400, 200, 500, 300), 0, 256, 512, image.Rect(400, 150, 500, 350)},
		{image.Rect(0, 0, 100, 50), 10, 512, 512, image.Rect(0, 0, 110, 110)},           // at a corner
		{image.Rect(900, 590, 1000, 600), 0, 512, 512, image.Rect(900, 500, 1000, 600)}, // at the other
		{image.Rect(0, 0, 1000, 10), 0, 512, 512, image.Rect(0, 0, 1000, 600)},          // as far as the picture goes
		{picture, 64, 64, 64, picture},
	} {
		got := Region(picture, c.box, c.padding, c.width, c.height)
		require.Equal(t, c.want, got)
		require.True(t, c.box.In(got))
	}
}

// Inside a mask the old picture fades over a few pixels. Outside nothing changes, and
// the picture's own border is no edge.
func TestFeather(t *testing.T) {
	mask := image.NewGray(image.Rect(0, 0, 40, 3))
	for y := range 3 {
		for x := 20; x < 40; x++ {
			mask.SetGray(x, y, color.Gray{255})
		}
	}
	soft := Feather(mask, 4)
	for x, want := range map[int]uint8{0: 0, 19: 0, 20: 51, 21: 102, 22: 153, 23: 204, 24: 255, 39: 255} {
		require.Equal(t, want, soft.GrayAt(x, 1).Y, "%d", x)
	}
	require.Equal(t, mask.Pix, Feather(mask, 0).Pix)

	// A thin mask is still painted, with a narrower edge.
	thin := image.NewGray(image.Rect(0, 0, 9, 9))
	for y := range 9 {
		for x := 3; x < 6; x++ {
			thin.SetGray(x, y, color.Gray{255})
		}
	}
	require.Equal(t, []uint8{0, 0, 0, 128, 255, 128, 0, 0, 0}, Feather(thin, 100).Pix[36:45])
	one := image.NewGray(image.Rect(0, 0, 3, 3))
	one.SetGray(1, 1, color.Gray{255})
	require.Equal(t, one.Pix, Feather(one, 8).Pix)

	all := image.NewGray(image.Rect(0, 0, 8, 8))
	for i := range all.Pix {
		all.Pix[i] = 200
	}
	require.Equal(t, all.Pix, Feather(all, 8).Pix)
	require.Equal(t, make([]uint8, 64), Feather(image.NewGray(image.Rect(0, 0, 8, 8)), 8).Pix)
}
