package pipeline

import (
	"image"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/tensor"
)

// The numbers of the diffusers library's make_inpaint_condition: -1 where the mask is more
// than half, else the picture's, 0 to 1.
func TestMaskOut(t *testing.T) {
	picture := tensor.New(3, 2, 2)
	for i := range picture.Data {
		picture.Data[i] = float32(i) / 16
	}
	mask := image.NewNRGBA(image.Rect(0, 0, 2, 2))
	for i, v := range []uint8{0, 127, 128, 255} {
		copy(mask.Pix[4*i:], []uint8{v, v, v, 255})
	}
	maskOut(picture, mask)
	require.Equal(t, []float32{0, 1. / 16, -1, -1, 4. / 16, 5. / 16, -1, -1, 8. / 16, 9. / 16, -1, -1}, picture.Data)

	wide := tensor.New(3, 4, 4) // a mask of half the sides
	maskOut(wide, mask)
	require.Equal(t, []float32{0, 0, 0, 0, 0, 0, 0, 0, -1, -1, -1, -1, -1, -1, -1, -1}, wide.Data[:16])
}
