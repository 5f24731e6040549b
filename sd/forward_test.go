package sd

import (
	"image"
	"image/color"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sampler"
)

// The forward process of a DDPM is sqrt(alphas_cumprod)·x_0 + sqrt(1-alphas_cumprod)·eps,
// that of rectified flow (1-t)·x_0 + t·eps, with the noise of one seed.
func TestForward(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 6, 4))
	for i := range img.Pix {
		img.Pix[i] = uint8(40 + 7*i%180)
	}
	for y := range 4 { // transparency is white
		for x := range 6 {
			img.Pix[img.PixOffset(x, y)+3] = 255
		}
	}
	eps := make([]float32, 3*6*4)
	sampler.NewTorch(5).Normal(eps)
	check := func(p *sampler.Process, sigma, a, b float64) {
		t.Helper()
		all, err := Forward(img, p, []float64{0, sigma}, TorchRNG, 5)
		require.NoError(t, err)
		require.Equal(t, img.Pix, all[0].Pix)
		for i := range 6 * 4 {
			for c := range 3 {
				x0 := float64(img.Pix[4*i+c])/127.5 - 1
				want := min(max(a*x0+b*float64(eps[c*6*4+i]), -1), 1)
				require.InDelta(t, (want+1)*127.5, all[1].Pix[4*i+c], 0.51)
			}
		}
	}
	bars, err := sampler.NewAlphasCumprod("squaredcos_cap_v2", 0, 0, 1000)
	require.NoError(t, err)
	cosine, err := sampler.NewDiscrete(bars)
	require.NoError(t, err)
	for _, step := range []int{0, 300, 999} {
		check(cosine, cosine.Levels()[step], math.Sqrt(bars[step]), math.Sqrt(1-bars[step]))
	}
	check(sampler.Flow(1), 0.25, 0.75, 0.25)
	check(sampler.VESDE(0.01, 50), 0.3, 1, 0.3)

	clear := image.NewNRGBA(image.Rect(0, 0, 2, 2))
	all, err := Forward(clear, cosine, []float64{0}, "", 0)
	require.NoError(t, err)
	require.Equal(t, color.NRGBA{255, 255, 255, 255}, all[0].NRGBAAt(1, 1))

	for _, c := range []struct {
		p      *sampler.Process
		levels []float64
		rng    RNG
		seed   int64
		want   string
	}{
		{nil, nil, "", 0, "the process must not be nil"},
		{cosine, nil, "dice", 0, `rng must be "torch" or "philox", got "dice"`},
		{cosine, nil, "", -1, "seed must be 0 or more, got -1"},
		{cosine, []float64{math.NaN()}, "", 0, "noise levels must be finite and 0 or more, got NaN"},
		{cosine, []float64{-1}, "", 0, "noise levels must be finite and 0 or more, got -1"},
		{cosine, []float64{math.Inf(1)}, "", 0, "noise levels must be finite and 0 or more, got +Inf"},
	} {
		_, err := Forward(img, c.p, c.levels, c.rng, c.seed)
		require.EqualError(t, err, c.want)
	}
	_, err = Forward(nil, cosine, nil, "", 0)
	require.Error(t, err)
}
