package sd

import (
	"context"
	"image"
	"image/color"
	"testing"

	"github.com/stretchr/testify/require"
)

// ramps is a picture whose pixels all differ, with a white square of a mask.
func ramps(width, height int, square image.Rectangle) (*image.NRGBA, *image.Gray) {
	img, mask := image.NewNRGBA(image.Rect(0, 0, width, height)), image.NewGray(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			img.SetNRGBA(x, y, color.NRGBA{uint8(x), uint8(y), uint8(3*x + 5*y), 255})
			if image.Pt(x, y).In(square) {
				mask.SetGray(x, y, color.Gray{255})
			}
		}
	}
	return img, mask
}

// changedIn counts the pixels of drawn that are not img's, inside and outside
// of a rectangle.
func changedIn(img, drawn *image.NRGBA, inside image.Rectangle) (in, out int) {
	for y := range img.Rect.Dy() {
		for x := range img.Rect.Dx() {
			if img.NRGBAAt(x, y) != drawn.NRGBAAt(x, y) {
				if image.Pt(x, y).In(inside) {
					in++
				} else {
					out++
				}
			}
		}
	}
	return in, out
}

// Only what is masked is painted: the picture keeps its own size, whatever it
// is, and outside the mask every pixel.
func TestOnlyMasked(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{})
	for _, c := range []struct {
		width, height, w, h int
		square              image.Rectangle
	}{
		{203, 157, 0, 0, image.Rect(60, 40, 93, 71)},
		{203, 157, 64, 32, image.Rect(0, 0, 30, 30)},
		{90, 301, 64, 64, image.Rect(50, 280, 90, 301)},
		{33, 21, 64, 64, image.Rect(0, 0, 33, 20)},
		{64, 64, 64, 64, image.Rect(20, 20, 21, 21)}, // one pixel
	} {
		img, mask := ramps(c.width, c.height, c.square)
		padding := 16
		r := Request{Image: img, Mask: mask, OnlyMasked: true, MaskPadding: &padding, Width: c.w, Height: c.h, Steps: 2, Sampler: "euler", Strength: Float(1)}
		result, err := m.Generate(context.Background(), r)
		require.NoError(t, err)
		drawn := result.Images[0]
		require.Equal(t, img.Rect, drawn.Image.Rect)
		in, out := changedIn(img, drawn.Image, c.square)
		require.Zero(t, out, "pixels outside the mask")
		require.Greater(t, in, c.square.Dx()*c.square.Dy()*3/4, "pixels inside it")
		require.Contains(t, text(drawn.Params), "Inpaint area: Only masked, Masked area padding: 16")
	}
}

// The part is painted as it would be alone.
func TestOnlyMaskedPaintsThePart(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{})
	whole, mask := ramps(200, 150, image.Rect(100, 60, 132, 92))
	padding, none := 16, 0
	part := image.Rect(84, 44, 148, 108)
	r := Request{Prompt: "a", Width: 64, Height: 64, Steps: 2, Sampler: "euler", Strength: Float(0.8), MaskFeather: &none}
	r.Image, r.Mask = whole.SubImage(part), mask.SubImage(part)
	alone, err := m.Generate(context.Background(), r)
	require.NoError(t, err)
	r.Image, r.Mask, r.OnlyMasked, r.MaskPadding = whole, mask, true, &padding
	inside, err := m.Generate(context.Background(), r)
	require.NoError(t, err)
	for y := range 64 {
		for x := range 64 {
			require.Equal(t, alone.Images[0].Image.NRGBAAt(x, y), inside.Images[0].Image.NRGBAAt(84+x, 44+y))
		}
	}
}

// Over the pixels inside the mask's edge old and new are mixed; elsewhere the
// edge changes nothing.
func TestFeatherMixes(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{})
	square := image.Rect(16, 16, 48, 48)
	img, mask := ramps(64, 64, square)
	draw := func(feather int) *image.NRGBA {
		result, err := m.Generate(context.Background(), Request{Image: img, Mask: mask, MaskFeather: &feather, Steps: 2, Sampler: "euler", Strength: Float(1)})
		require.NoError(t, err)
		_, out := changedIn(img, result.Images[0].Image, square)
		require.Zero(t, out)
		return result.Images[0].Image
	}
	hard, soft := draw(0), draw(4)
	in, _ := changedIn(hard, soft, square.Inset(4))
	require.Zero(t, in, "far inside")
	for step, y := range []int{16, 17, 18, 19} {
		old, now, mixed := img.NRGBAAt(30, y), hard.NRGBAAt(30, y), soft.NRGBAAt(30, y)
		v := float64(step+1) / 5
		for _, c := range [][3]uint8{{old.R, now.R, mixed.R}, {old.G, now.G, mixed.G}, {old.B, now.B, mixed.B}} {
			require.InDelta(t, float64(c[0])*(1-v)+float64(c[1])*v, float64(c[2]), 1)
		}
	}
}

func TestMasksAreChecked(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{})
	img, mask := ramps(64, 64, image.Rect(8, 8, 32, 32))
	_, black := ramps(64, 64, image.Rectangle{})
	_, dark := ramps(64, 64, image.Rectangle{})
	dark.SetGray(3, 3, color.Gray{127})
	huge, dot := ramps(2000, 2000, image.Rect(1000, 1000, 1002, 1002))
	one, many := 1, 5000
	for want, r := range map[string]Request{
		"Mask: nothing to paint":                                 {Image: img, Mask: black},
		"Mask: nothing to paint: no pixel is ":                   {Image: img, Mask: dark, OnlyMasked: true},
		"Mask: nothing white is left of it at":                   {Image: huge, Mask: dot},
		"OnlyMasked: needs a Mask":                               {Image: img, OnlyMasked: true},
		`MaskPadding: needs the inpaint area "only masked"`:      {Image: img, Mask: mask, MaskPadding: &one},
		"MaskPadding: must be 0 to 4096, got 5000":               {Image: img, Mask: mask, OnlyMasked: true, MaskPadding: &many},
		"MaskFeather: must be 0 to 256, got 5000":                {Image: img, Mask: mask, MaskFeather: &many},
		"MaskFeather: needs a Mask":                              {Image: img, MaskFeather: &one},
		"Width: must be a multiple of 8 from 8 to 8192, got 100": {Image: img, Mask: mask, OnlyMasked: true, Width: 100},
		"Height: must be a multiple of 8 from 8 to 8192, got -8": {Image: img, Mask: mask, OnlyMasked: true, Height: -8},
	} {
		_, err := m.Generate(context.Background(), r)
		var e *RequestError
		require.ErrorAs(t, err, &e, want)
		require.ErrorContains(t, err, want)
		require.Len(t, e.Problems, 1)
	}
	_, err := m.Generate(context.Background(), Request{Image: huge, Mask: dot, OnlyMasked: true, Steps: 1})
	require.NoError(t, err, "closer it is large enough")
}
