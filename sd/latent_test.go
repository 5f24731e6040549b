package sd

import (
	"image"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSmoothness(t *testing.T) {
	grey := func(levels ...uint8) (all []*image.NRGBA) {
		for _, v := range levels {
			img := image.NewNRGBA(image.Rect(0, 0, 4, 3))
			for i := range img.Pix {
				img.Pix[i] = v
			}
			all = append(all, img)
		}
		return all
	}
	mean, deviation, err := Smoothness(grey(10, 20, 30, 40))
	require.NoError(t, err)
	require.InDelta(t, 10, mean, 1e-9)
	require.InDelta(t, 0, deviation, 1e-9)
	mean, deviation, err = Smoothness(grey(10, 10, 40))
	require.NoError(t, err)
	require.InDelta(t, 15, mean, 1e-9)
	require.InDelta(t, 15, deviation, 1e-9, "distances of 0 and 30")
	half := grey(0, 0, 0)
	for i := 0; i < 24; i++ {
		half[1].Pix[i] = 100 // half of the pixels
	}
	mean, deviation, err = Smoothness(half)
	require.NoError(t, err)
	require.InDelta(t, 70.71, mean, 0.01)
	require.InDelta(t, 0, deviation, 1e-9)
	_, _, err = Smoothness(grey(1, 2))
	require.ErrorContains(t, err, "at least 3 pictures, got 2")
	other := grey(1, 2, 3)
	other[2] = image.NewNRGBA(image.Rect(0, 0, 1, 1))
	_, _, err = Smoothness(other)
	require.ErrorContains(t, err, "must have one size")
}
