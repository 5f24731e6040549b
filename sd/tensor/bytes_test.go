package tensor

import (
	"fmt"
	"image"
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/safetensors"
)

// Pictures that Pillow's Image.resize and torch.nn.functional.interpolate made larger, and smaller along one side: to the bit, where
// processors do not round the sums of weights in another way.
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
				others := 0
				for i, v := range s.Data {
					other := int(got.Pix[4*(i/3)+i%3])
					require.InDelta(t, v, other, 1, "%s %v pixel %d", name, size, i/3)
					require.EqualValues(t, 255, got.Pix[4*(i/3)+3])
					if other != int(v) {
						others++
					}
				}
				most := 0
				if runtime.GOARCH != "amd64" {
					most = len(s.Data) / 1000
				}
				require.LessOrEqual(t, others, most)
				compared++
			}
		}
	}
	require.Equal(t, 4, compared)
	require.Equal(t, img.Pix, ResampleBytes(img, Lanczos, Pillow, 90, 50).Pix)
}
