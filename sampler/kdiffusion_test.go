package sampler

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// mixture is the exact denoiser of two Gaussians, at ±1 with deviation 0.3,
// for each element on its own: the model of testdata/sampler/kdiffusion.py.
func mixture(_ context.Context, dst, x []float32, sigma float64) error {
	const c2 = 0.3 * 0.3
	s2 := sigma * sigma
	v := c2 + s2
	for i, xi := range x {
		dst[i] = float32((c2*float64(xi) + s2*math.Tanh(float64(xi)/v)) / v)
	}
	return nil
}

type kdiffusionGolden struct {
	Schedules []struct {
		Name   string
		N      int
		Sigmas []float64
	}
	Process struct {
		AlphasCumprod []float64 `json:"alphas_cumprod"`
		Levels, Times []float64
		SigmaToT      []float64 `json:"sigma_to_t"`
		TToSigma      []float64 `json:"t_to_sigma"`
		X, Epsilon, V []float32
		Sigma         float64
	}
	Runs []struct {
		Sampler, Schedule string
		N                 int
		Seed              uint64
		Options           map[string]float64
		Scale             float64 // of CFG++, 0 without guidance
		X                 []float32
	}
}

// requireClose compares with a bound on the largest difference, relative to
// the largest value, or to 1 if all are less.
func requireClose[T float32 | float64](t *testing.T, want, got []T, tolerance float64, what string) {
	t.Helper()
	require.Len(t, got, len(want), what)
	largest, worst := 1.0, 0.0
	for i, w := range want {
		d := math.Abs(float64(got[i]) - float64(w))
		if !(d <= worst) {
			worst = d // NaN stays
		}
		largest = max(largest, math.Abs(float64(w)))
	}
	if !(worst <= tolerance*largest) {
		require.Failf(t, "too far off", "%s: off by %g of %g\nwant %v\ngot  %v", what, worst, largest, want[:min(len(want), 8)], got[:min(len(got), 8)])
	}
}

func TestSchedulesOfKDiffusion(t *testing.T) {
	var g kdiffusionGolden
	golden(t, "kdiffusion.json", &g)
	process := StableDiffusion()
	for _, s := range g.Schedules {
		if s.Name == "vp" {
			continue
		}
		schedule, err := LookupSchedule(s.Name)
		require.NoError(t, err)
		sigmas, err := schedule.Sigmas(process, s.N)
		require.NoError(t, err)
		require.Len(t, sigmas, s.N+1)
		for i, want := range s.Sigmas {
			if !(math.Abs(sigmas[i]-want) <= 3e-6*want) {
				t.Errorf("%s(%d)[%d] = %.9g, want %.9g", s.Name, s.N, i, sigmas[i], want)
			}
		}
	}
}

func TestProcessOfKDiffusion(t *testing.T) {
	var g kdiffusionGolden
	golden(t, "kdiffusion.json", &g)
	alphas, err := NewAlphasCumprod("scaled_linear", 0.00085, 0.012, 1000)
	require.NoError(t, err)
	for i, want := range g.Process.AlphasCumprod {
		require.InEpsilon(t, want, alphas[i*111], 3e-7)
	}
	process := StableDiffusion()
	for i, sigma := range g.Process.Levels {
		require.InDelta(t, g.Process.SigmaToT[i], process.SigmaToT(sigma), 2e-4, "sigma %g", sigma)
	}
	for i, at := range g.Process.Times {
		require.InEpsilon(t, g.Process.TToSigma[i], process.TToSigma(at), 2e-6, "t %g", at)
	}
	net := func(_ context.Context, dst, x []float32, t float64) error {
		for i, v := range x {
			dst[i] = float32(math.Tanh(float64(v)) + t/1000)
		}
		return nil
	}
	dst := make([]float32, len(g.Process.X))
	require.NoError(t, denoiser(t, process, PredictEpsilon, net)(t.Context(), dst, g.Process.X, g.Process.Sigma))
	requireClose(t, g.Process.Epsilon, dst, 1e-6, "epsilon")
	require.NoError(t, denoiser(t, process, PredictV, net)(t.Context(), dst, g.Process.X, g.Process.Sigma))
	requireClose(t, g.Process.V, dst, 1e-6, "v")
}

// kdiffusion.json and options.json: k-diffusion's samplers and the diffusers
// library's DDIM, whose numbers are given by name.
func TestSamplersOfKDiffusion(t *testing.T) {
	process := StableDiffusion()
	for _, file := range []string{"kdiffusion.json", "options.json"} {
		var g kdiffusionGolden
		golden(t, file, &g)
		require.NotEmpty(t, g.Runs)
		for _, r := range g.Runs {
			what := fmt.Sprintf("%s, %d steps of %s, %v", r.Sampler, r.N, r.Schedule, r.Options)
			s, err := lookup(t, r.Sampler).With(r.Options)
			require.NoError(t, err)
			schedule, err := LookupSchedule(r.Schedule)
			require.NoError(t, err)
			sigmas, err := schedule.Sigmas(process, r.N)
			require.NoError(t, err)
			noise := NewTorch(r.Seed)
			x := make([]float32, len(r.X))
			addNoise(x, sigmas[0], noise)
			require.NoError(t, s.Sample(t.Context(), mixture, x, sigmas, noise, s.Options), what)
			requireClose(t, r.X, x, 1e-4, what)
		}
	}
}

// testdata/sampler/others.py and comfyui.py are second implementations of what
// no package carries; those of CFG++ are guided from the mixture to one Gaussian.
func TestOtherSamplers(t *testing.T) {
	both := func(ctx context.Context, dst [][]float32, x []float32, sigma float64) error {
		const c2 = 0.3 * 0.3
		s2 := sigma * sigma
		for i, xi := range x {
			dst[0][i] = float32((c2*float64(xi) + s2/2) / (c2 + s2))
		}
		return mixture(ctx, dst[1], x, sigma)
	}
	for _, file := range []string{"others.json", "comfyui.json"} {
		var g kdiffusionGolden
		golden(t, file, &g)
		require.NotEmpty(t, g.Runs)
		for _, r := range g.Runs {
			s, err := Lookup(r.Sampler)
			require.NoError(t, err)
			sigmas := karras(t, r.N)
			noise := NewTorch(r.Seed)
			x := make([]float32, len(r.X))
			initialNoise(x, nil, sigmas[0], noise)
			denoise, o := Denoiser(mixture), s.Options
			require.Equal(t, r.Scale != 0, s.CFGPP, r.Sampler)
			if r.Scale != 0 {
				o.Uncond = make([]float32, len(x))
				denoise = guided(t, "cfg", r.Scale, nil, GuidedModel{Denoise: both, Uncond: o.Uncond})
			}
			require.NoError(t, s.Sample(t.Context(), denoise, x, sigmas, noise, o))
			tolerance := 2e-4
			if r.Sampler == "lcm" {
				tolerance = 2e-3 // each step amplifies the rounding of the ones before
			}
			requireClose(t, r.X, x, tolerance, fmt.Sprintf("%s, %d steps", r.Sampler, r.N))
		}
	}
}
