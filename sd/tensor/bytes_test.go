package tensor

import (
	"fmt"
	"image"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/safetensors"
)

// Pictures that Pillow's Image.resize and torch.nn.functional.interpolate made larger, and smaller along one side, to
// the bit.
func TestResampleBytesAgrees(t *testing.T) {
	data, err := os.ReadFile("../../testdata/transformers/qwenimage-edit-reference.safetensors")
	require.NoError(t, err)
	f, err := safetensors.Parse(data)
	require.NoError(t, err)
	img := image.NewNRGBA(image.Rect(0, 0, 90, 50))
	for y := range 50 {
		for x := range 90 {
			copy(img.Pix[y*img.Stride+4*x:], []byte{byte(x * 5), byte(y * 3), byte(x * y), 255})
		}
	}
	compared := 0
	for _, s := range f.Tensors {
		for name, how := range map[string]struct {
			r Resampling
			b Rounding
		}{"lanczos": {Lanczos, Pillow}, "cubic": {BicubicAntialias, Torch}} {
			for _, size := range []image.Point{{41, 75}, {150, 71}} {
				if s.Name != fmt.Sprintf("%s.%dx%d", name, size.X, size.Y) {
					continue
				}
				got := ResampleBytes(img, how.r, how.b, size.X, size.Y)
				require.Equal(t, size, got.Rect.Size())
				for i := range size.X * size.Y {
					require.Equal(t, append(append([]byte(nil), s.Data[3*i:3*i+3]...), 255), got.Pix[4*i:4*i+4], "%s %v pixel %d", name, size, i)
				}
				compared++
			}
		}
	}
	require.Equal(t, 4, compared)
	require.Equal(t, img.Pix, ResampleBytes(img, Lanczos, Pillow, 90, 50).Pix)
}
