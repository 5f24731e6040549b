package sampler

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// every runs a test for each sampler of the registry, with its usual options.
func every(t *testing.T, f func(t *testing.T, s Sampler)) {
	for _, s := range Samplers() {
		t.Run(s.Name, func(t *testing.T) { f(t, s) })
	}
}

func karras(t testing.TB, n int) []float64 {
	sigmas, err := Karras(StableDiffusion(), n)
	require.NoError(t, err)
	return sigmas
}

// begun makes the start of a sample.
func begun(size int, sigma float64, noise Noise) []float32 {
	x := make([]float32, size)
	addNoise(x, sigma, noise)
	return x
}

func TestSamplersTakeAnyNumberOfSteps(t *testing.T) {
	every(t, func(t *testing.T, s Sampler) {
		for _, n := range []int{1, 2, 3, 4, 5, 19, 20, 40, 1000} {
			sigmas := karras(t, n)
			noise := NewTorch(1)
			x := begun(24, sigmas[0], noise)
			require.NoError(t, s.Sample(t.Context(), mixture, x, sigmas, noise, s.Options), "%d steps", n)
			for _, v := range x {
				// The data lies at ±1 with deviation 0.3, which a few steps
				// of a method of higher order overshoot.
				limit := 4.0
				if n < 5 {
					limit = 60
				}
				require.Less(t, math.Abs(float64(v)), limit, "%d steps", n)
			}
		}
	})
}

func TestSamplersStopAboveZero(t *testing.T) {
	every(t, func(t *testing.T, s Sampler) {
		sigmas := karras(t, 12)[:10] // a refiner would continue from here
		noise := NewTorch(1)
		x := begun(4096, sigmas[0], noise)
		require.NoError(t, s.Sample(t.Context(), mixture, x, sigmas, noise, s.Options))
		want := math.Sqrt(1 + 0.09 + sigmas[9]*sigmas[9])
		require.InEpsilon(t, want, deviation(x), 0.25)
	})
}

func TestSamplersTellEachStep(t *testing.T) {
	every(t, func(t *testing.T, s Sampler) {
		sigmas := karras(t, 21)
		noise := NewTorch(1)
		x := begun(24, sigmas[0], noise)
		var last Step
		o := s.Options
		o.OnStep = func(step Step) error {
			require.Equal(t, last.Index+1, step.Index)
			require.Same(t, &x[0], &step.X[0])
			require.Len(t, step.Denoised, len(x))
			require.Negative(t, nonFinite(step.Denoised))
			require.Greater(t, step.Sigma, step.SigmaNext)
			last = Step{Index: step.Index, Of: step.Of}
			return nil
		}
		require.NoError(t, s.Sample(t.Context(), mixture, x, sigmas, noise, o))
		require.NotZero(t, last.Index)
		if last.Of != 0 {
			require.Equal(t, last.Of, last.Index)
		}
	})
}

func TestSamplersRepeat(t *testing.T) {
	every(t, func(t *testing.T, s Sampler) {
		sigmas := karras(t, 20)
		run := func() []float32 {
			noise := NewPhilox(5)
			x := begun(24, sigmas[0], noise)
			require.NoError(t, s.Sample(t.Context(), mixture, x, sigmas, noise, s.Options))
			return x
		}
		require.Equal(t, run(), run())
	})
}

func TestBatchMakesThePicturesOfSingleRuns(t *testing.T) {
	every(t, func(t *testing.T, s Sampler) {
		switch s.Name {
		case "dpm_adaptive", "ode", "pc":
			return // measure the batch as a whole, as they say
		}
		const n, size = 3, 32
		sigmas := karras(t, 20)
		noise := NewBatch(7, n, NewTorch)
		batch := begun(n*size, sigmas[0], noise)
		require.NoError(t, s.Sample(t.Context(), mixture, batch, sigmas, noise, s.Options))
		for i := range n {
			noise := NewTorch(7 + uint64(i))
			x := begun(size, sigmas[0], noise)
			require.NoError(t, s.Sample(t.Context(), mixture, x, sigmas, noise, s.Options))
			require.Equal(t, x, batch[i*size:(i+1)*size], "picture %d", i)
		}
	})
}

func TestSamplersReportBadModels(t *testing.T) {
	every(t, func(t *testing.T, s Sampler) {
		for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
			sigmas := karras(t, 20)
			calls := 0
			model := func(ctx context.Context, dst, x []float32, sigma float64) error {
				if calls++; calls > 5 {
					dst[3] = bad
					return nil
				}
				return mixture(ctx, dst, x, sigma)
			}
			err := s.Sample(t.Context(), model, begun(24, sigmas[0], NewTorch(1)), sigmas, NewTorch(1), s.Options)
			var e *NonFiniteError
			require.ErrorAs(t, err, &e)
			require.Equal(t, 3, e.Index)
			require.Equal(t, math.Float32bits(bad), math.Float32bits(e.Value))
			require.Positive(t, e.Sigma)
			require.LessOrEqual(t, e.Step, 6)
		}
	})
}

func TestSamplersPassOnErrors(t *testing.T) {
	broken := errors.New("no memory")
	every(t, func(t *testing.T, s Sampler) {
		sigmas := karras(t, 20)
		x := begun(24, sigmas[0], NewTorch(1))
		err := s.Sample(t.Context(), func(context.Context, []float32, []float32, float64) error { return broken }, x, sigmas, NewTorch(1), s.Options)
		require.ErrorIs(t, err, broken)
		require.ErrorContains(t, err, "step 1")

		o := s.Options
		o.OnStep = func(Step) error { return broken }
		require.Equal(t, broken, s.Sample(t.Context(), mixture, x, sigmas, NewTorch(1), o))

		ctx, cancel := context.WithCancel(t.Context())
		o.OnStep = func(Step) error { cancel(); return nil }
		require.ErrorIs(t, s.Sample(ctx, mixture, x, sigmas, NewTorch(1), o), context.Canceled)
	})
}

func TestSamplersRefuseBadArguments(t *testing.T) {
	every(t, func(t *testing.T, s Sampler) {
		x := make([]float32, 24)
		run := func(sigmas Sigmas, noise Noise, o Options) error {
			return s.Sample(t.Context(), mixture, x, sigmas, noise, o)
		}
		for _, sigmas := range [][]float64{
			nil, {}, {1}, {1, 1}, {1, 2, 0}, {1, math.NaN(), 0}, {math.NaN(), 0}, {math.Inf(1), 1, 0}, {1, -1}, {1, 0, 0},
		} {
			var e *SigmasError
			require.ErrorAs(t, run(sigmas, NewTorch(1), s.Options), &e, "%v", sigmas)
			require.NotEmpty(t, e.Error())
		}
		for _, set := range []func(o *Options){
			func(o *Options) { o.Eta = math.NaN() },
			func(o *Options) { o.Eta = -1 },
			func(o *Options) { o.SNoise = math.Inf(1) },
			func(o *Options) { o.SChurn = -0.1 },
			func(o *Options) { o.Order = -1 },
			func(o *Options) { o.SNR = math.NaN() },
			func(o *Options) { o.Corrections = -1 },
		} {
			o := s.Options
			set(&o)
			var e *OptionError
			if (s.Name == "ddpm" || s.Name == "ddpm_small") && !(o.Eta >= 0) {
				continue // has its own eta
			}
			require.ErrorAs(t, run(karras(t, 20), NewTorch(1), o), &e)
		}
		if s.Stochastic {
			require.ErrorIs(t, run(karras(t, 20), nil, s.Options), ErrNoNoise)
		} else {
			require.NoError(t, run(karras(t, 20), nil, s.Options))
		}
		var e *LengthError
		require.ErrorAs(t, s.Sample(t.Context(), mixture, nil, karras(t, 20), NewTorch(1), s.Options), &e)
	})
}

func TestStepsAllocateNothing(t *testing.T) {
	every(t, func(t *testing.T, s Sampler) {
		// Samplers that choose their steps take more of them for a lower
		// tolerance.
		allocations := func(n int, tolerance float64) float64 {
			sigmas := karras(t, n)
			x := make([]float32, 64)
			noise, o := NewTorch(1), s.Options
			o.RTol, o.ATol = tolerance, tolerance
			return testing.AllocsPerRun(3, func() {
				addNoise(x, sigmas[0], noise)
				if err := s.Sample(t.Context(), mixture, x, sigmas, noise, o); err != nil {
					t.Error(err)
				}
			})
		}
		few, many := allocations(40, 1e-2), allocations(80, 1e-4)
		if s.Name == "restart" { // its list of steps grows
			many -= 8
		}
		require.LessOrEqual(t, many, few)
	})
}

func TestNoNoiseIsDrawnForNothing(t *testing.T) {
	count := func(s Sampler, o Options) int {
		sigmas := karras(t, 5)
		n := &counter{}
		x := make([]float32, 24)
		require.NoError(t, s.Sample(t.Context(), mixture, x, sigmas, n, o))
		return n.calls
	}
	for name, want := range map[string]int{
		"ddpm_small": 4, "consistency": 3, // the fifth noise level is the lowest
		"euler": 0, "heun": 0, "dpm++2m": 0, "ddim": 0, "dpm_fast": 0, "unipc": 0,
		"euler_a": 4, "dpm2_a": 4, "dpm++2s_a": 4, "dpm++2m_sde": 4, "dpm++3m_sde": 4, "lcm": 4, "ddpm": 4, "ddpm_large": 4, "er_sde": 4,
		"tcd":      3, // the last noise level is that of timestep 0
		"dpm++sde": 8, "pc": 9,
	} {
		s, err := Lookup(name)
		require.NoError(t, err)
		require.Equal(t, want, count(s, s.Options), name)
		if o := s.Options; s.Stochastic && name != "lcm" && name != "ddpm" && name != "ddpm_small" && name != "consistency" && name != "ddpm_large" && name != "er_sde" && name != "pc" {
			o.Eta = 0
			require.Zero(t, count(s, o), name)
		}
	}
}

type counter struct{ calls int }

func (c *counter) Normal(dst []float32) { c.calls++; clear(dst) }

func TestZeroEtaAndScaleAreValues(t *testing.T) {
	sigmas := karras(t, 10)
	o := DefaultOptions()
	o.Eta = 0
	x := begun(24, sigmas[0], NewTorch(1))
	y := begun(24, sigmas[0], NewTorch(1))
	require.NoError(t, EulerAncestral(t.Context(), mixture, x, sigmas, nil, o))
	require.NoError(t, Euler(t.Context(), mixture, y, sigmas, nil, o))
	require.Equal(t, y, x)
}

func TestConcurrentRuns(t *testing.T) {
	sigmas := karras(t, 20)
	want := begun(24, sigmas[0], NewTorch(1))
	noise := NewTorch(1)
	require.NoError(t, EulerAncestral(t.Context(), mixture, want, sigmas, noise, DefaultOptions()))
	for i := range 4 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			x, noise := begun(24, sigmas[0], NewTorch(1)), NewTorch(1)
			require.NoError(t, EulerAncestral(t.Context(), mixture, x, sigmas, noise, DefaultOptions()))
			require.Equal(t, want, x)
		})
	}
}

// Noise levels beyond those that a model was trained at are sampled as they
// are; the net is asked at its first and last timestep.
func TestNoiseLevelsBeyondTheTrainedRange(t *testing.T) {
	process := StableDiffusion()
	every(t, func(t *testing.T, s Sampler) {
		lowest, highest := math.Inf(1), math.Inf(-1)
		denoise := func(ctx context.Context, dst, x []float32, sigma float64) error {
			at := process.SigmaToT(sigma)
			lowest, highest = min(lowest, at), max(highest, at)
			return mixture(ctx, dst, x, sigma)
		}
		sigmas, err := KarrasRho(0.001, 100, 7, 40)
		require.NoError(t, err)
		noise := NewTorch(1)
		x := begun(2000, sigmas[0], noise)
		require.NoError(t, s.Sample(t.Context(), denoise, x, sigmas, noise, s.Options))
		require.Equal(t, 0.0, lowest)
		require.Equal(t, 999.0, highest)
		require.InEpsilon(t, math.Sqrt(1+0.09), deviation(x), 0.25)
	})
}

func TestSASolverRefusesBadParameters(t *testing.T) {
	for _, s := range []SASolverOptions{
		{}, {Predictor: 5}, {Predictor: -1}, {Predictor: 2, Corrector: 5}, {Predictor: 2, Corrector: -1},
		{Predictor: 2, Tau: func(_, _ float64) float64 { return math.NaN() }},
		{Predictor: 2, Tau: func(_, _ float64) float64 { return -1 }},
	} {
		var e *OptionError
		x := make([]float32, 24)
		require.ErrorAs(t, SASolverWith(s)(t.Context(), mixture, x, karras(t, 5), NewTorch(1), DefaultOptions()), &e)
	}
}
