package testnet

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
)

// random is a tensor of normally distributed numbers.
func random(r *rand.Rand, shape ...int64) Tensor {
	n := int64(1)
	for _, d := range shape {
		n *= d
	}
	t := Tensor{shape, make([]float32, n)}
	for i := range t.Data {
		t.Data[i] = float32(r.NormFloat64())
	}
	return t
}

// requireClose bounds the relative RMS error.
func requireClose(t *testing.T, want []float64, got []float32, bound float64, name string) {
	t.Helper()
	require.Len(t, got, len(want), name)
	difference, size := 0.0, 0.0
	for i, w := range want {
		difference += (float64(got[i]) - w) * (float64(got[i]) - w)
		size += w * w
	}
	require.LessOrEqual(t, math.Sqrt(difference/size), bound, name)
}

// A batch of videos, of five dimensions, goes in and comes out: folded on the way
// into ggml's four, each frame an image.
func TestVideos(t *testing.T) {
	const n, c3, frames, h, w, out = 2, 3, 4, 5, 6, 5
	r := rand.New(rand.NewPCG(1, 2))
	video, steps := random(r, n, c3, frames, h, w), random(r, n)
	kernel, bias := random(r, out, c3, 3, 3), random(r, out)
	at := func(n, c, f, y, x int) float64 {
		if y < 0 || y >= h || x < 0 || x >= w {
			return 0
		}
		return float64(video.Data[(((n*c3+c)*frames+f)*h+y)*w+x])
	}
	var want []float64
	for n := range n {
		for o := range out {
			for f := range frames {
				for y := range h {
					for x := range w {
						sum := float64(bias.Data[o])
						for c := range c3 {
							for k := range 9 {
								sum += float64(kernel.Data[(o*c3+c)*9+k]) * at(n, c, f, y+k/3-1, x+k%3-1)
							}
						}
						want = append(want, sum)
					}
				}
			}
		}
	}
	for _, kernels := range cgo.KernelNames() {
		got, err := Run("video", kernels, map[string]Tensor{"video": video, "t": steps}, kernel, bias)
		require.NoError(t, err)
		require.Equal(t, []int64{n, out, frames, h, w}, got.Shape)
		requireClose(t, want, got.Data, 1e-5, kernels)
	}
	_, err := Run("video", "generic", map[string]Tensor{"video": random(r, 1, 3, 4, 4), "t": steps}, kernel, bias)
	require.ErrorContains(t, err, "video must have 5 dimensions, got [1, 3, 4, 4]")
}
