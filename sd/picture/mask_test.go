package picture

import (
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMask(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 4, 1))
	copy(img.Pix, []uint8{255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 255, 255, 0, 0, 255})
	mask, err := Mask(img)
	require.NoError(t, err)
	require.Equal(t, []uint8{255, 0, 0, 76}, mask.Pix)
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

// Wide windows and strong blurs agree with their definitions.
func TestGrowAndBlurWide(t *testing.T) {
	mask := image.NewGray(image.Rect(0, 0, 61, 43))
	r := rand.New(rand.NewPCG(1, 2))
	for i := range mask.Pix {
		mask.Pix[i] = uint8(r.IntN(256))
	}
	for _, pixels := range []int{1, 3, 20, 60, -1, -7, -43} {
		grown := Grow(mask, pixels)
		for y := range 43 {
			for x := range 61 {
				n := max(pixels, -pixels)
				want := mask.GrayAt(x, y).Y
				for v := max(y-n, 0); v < min(y+n+1, 43); v++ {
					for u := max(x-n, 0); u < min(x+n+1, 61); u++ {
						if other := mask.GrayAt(u, v).Y; pixels > 0 {
							want = max(want, other)
						} else {
							want = min(want, other)
						}
					}
				}
				require.Equal(t, want, grown.GrayAt(x, y).Y, "%d at %d,%d", pixels, x, y)
			}
		}
	}

	edge := image.NewGray(image.Rect(0, 0, 300, 2))
	for i := range edge.Pix {
		if i%300 >= 150 {
			edge.Pix[i] = 255
		}
	}
	for _, sigma := range []float64{10, 20, 33.3} {
		soft := Blur(edge, sigma)
		for x := range 300 { // a Gaussian's integral
			if x >= 100 && x < 200 {
				want := 255 * (0.5 + 0.5*math.Erf((float64(x)+0.5-150)/sigma/math.Sqrt2))
				require.InDelta(t, want, soft.GrayAt(x, 1).Y, 255*0.02, "%g at %d", sigma, x)
			}
		}
	}
}

func BenchmarkGrowAndBlur(b *testing.B) {
	mask := image.NewGray(image.Rect(0, 0, 1024, 1024))
	for b.Loop() {
		Blur(Grow(mask, 512), 256)
	}
}

func TestCanvas(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 2, 2))
	copy(img.Pix, []uint8{1, 0, 0, 255, 2, 0, 0, 255, 3, 0, 0, 255, 4, 0, 0, 255})
	out, mask, err := Canvas(img, 6, 4)
	require.NoError(t, err)
	want := []uint8{1, 1, 1, 2, 2, 2, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 3, 3, 3, 4, 4, 4}
	for i, v := range want {
		require.Equal(t, v, out.Pix[4*i], "pixel %d", i)
		inside := i == 8 || i == 9 || i == 14 || i == 15
		require.Equal(t, !inside, mask.Pix[i] == 255, "pixel %d", i)
	}
}
