package sd

import (
	"image"
	"testing"

	"github.com/stretchr/testify/require"
)

// What the masked part begins with changes the picture there, and nowhere else; with all
// of the strength nothing of it is left but what noise leaves.
func TestMaskFill(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{})
	img, mask := image.NewNRGBA(image.Rect(0, 0, 32, 32)), image.NewGray(image.Rect(0, 0, 32, 32))
	for i := range mask.Pix {
		img.Pix[4*i], img.Pix[4*i+1], img.Pix[4*i+2], img.Pix[4*i+3] = byte(8*i), byte(i), 200, 255
		if x, y := i%32, i/32; x >= 8 && x < 24 && y >= 8 && y < 24 {
			mask.Pix[i] = 255
		}
	}
	draw := func(fill MaskFill) *image.NRGBA {
		result, err := m.Generate(t.Context(), Request{Prompt: "a red apple", Image: img, Mask: mask, MaskFill: fill, MaskFeather: Int(0),
			Steps: 4, Sampler: "euler", Strength: Float(0.5), Seed: 3})
		require.NoError(t, err)
		return result.Images[0].Image
	}
	original := draw("")
	require.Equal(t, original.Pix, draw(MaskOriginal).Pix)
	seen := map[string]MaskFill{string(original.Pix): MaskOriginal}
	for _, fill := range []MaskFill{MaskFilled, MaskNoise, MaskNothing} {
		got := draw(fill)
		require.Empty(t, seen[string(got.Pix)], fill)
		seen[string(got.Pix)] = fill
		for i, v := range mask.Pix {
			if v == 0 {
				require.Equal(t, img.Pix[4*i:4*i+4], got.Pix[4*i:4*i+4], fill)
			}
		}
	}
	_, err := m.Generate(t.Context(), Request{Image: img, Mask: mask, MaskFill: "x"})
	require.ErrorContains(t, err, "MaskFill: must be original, fill, noise or nothing")
	_, err = m.Generate(t.Context(), Request{Image: img, MaskFill: MaskNoise})
	require.ErrorContains(t, err, "MaskFill: needs a Mask")
}
