package sampler

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// modes are two normal distributions of one spread, around ±mu.
const (
	modesAt, modesSpread = 0.8, 0.4
)

// ofModes is the prediction for a mixture of both modes.
func ofModes(_ context.Context, dst, x []float32, sigma float64) error {
	s2, n2 := modesSpread*modesSpread, sigma*sigma
	for i, v := range x {
		p := 1 / (1 + math.Exp(-2*modesAt*float64(v)/(s2+n2)))
		dst[i] = float32((s2*float64(v) + n2*modesAt*(2*p-1)) / (s2 + n2))
	}
	return nil
}

// ofUpper is the prediction for the upper mode.
func ofUpper(_ context.Context, dst, x []float32, sigma float64) error {
	s2, n2 := modesSpread*modesSpread, sigma*sigma
	for i, v := range x {
		dst[i] = float32((s2*float64(v) + n2*modesAt) / (s2 + n2))
	}
	return nil
}

// isUpper is the gradient of the log-probability of the upper mode.
func isUpper(_ context.Context, dst, x, _ []float32, sigma float64) error {
	v := modesSpread*modesSpread + sigma*sigma
	for i, xi := range x {
		p := 1 / (1 + math.Exp(-2*modesAt*float64(xi)/v))
		dst[i] = float32(2 * modesAt / v * (1 - p))
	}
	return nil
}

// With the exact classifier of a mixture the guided prediction is that of the class.
func TestClassifierOfMixture(t *testing.T) {
	x := make([]float32, 200)
	for i := range x {
		x[i] = float32(i-100) / 25
	}
	got, want := make([]float32, len(x)), make([]float32, len(x))
	for _, sigma := range []float64{0.02, 0.1, 0.5, 1, 3, 10, 80} {
		require.NoError(t, Classifier(ofModes, isUpper, 1)(t.Context(), got, x, sigma))
		require.NoError(t, ofUpper(t.Context(), want, x, sigma))
		for i := range x {
			require.InDelta(t, want[i], got[i], 1e-6*max(1, math.Abs(float64(x[i]))), "sigma %g", sigma)
		}
	}
	sigmas, err := Karras(VESDE(0.002, 80), 40)
	require.NoError(t, err)
	for _, name := range []string{"euler", "ddim", "heun", "dpm++2m"} {
		from := make([]float32, 500)
		NewTorch(1).Normal(from)
		multiply(from, sigmas[0])
		guided, alone := append([]float32(nil), from...), append([]float32(nil), from...)
		s := lookup(t, name)
		require.NoError(t, s.Func(t.Context(), Classifier(ofModes, isUpper, 1), guided, sigmas, nil, s.Options))
		require.NoError(t, s.Func(t.Context(), ofUpper, alone, sigmas, nil, s.Options))
		for i := range alone {
			require.InDelta(t, alone[i], guided[i], 1e-5, name)
		}
	}
}

// condition_mean of guided-diffusion, in the notation of a process that keeps the variance
// at 1, step by step.
func TestClassifierMeanIsGuidedDiffusions(t *testing.T) {
	sigmas := Sigmas{12, 4, 1.5, 0.6, 0.2, 0.05, 0}
	const scale = 1.7
	r := rand.New(rand.NewPCG(1, 2))
	v := make([]float32, 64)
	for i := range v {
		v[i] = float32(2*r.Float64() - 1)
	}
	for _, kind := range []StepVariance{VarianceLearned, VarianceSmall, VarianceLarge} {
		x := make([]float32, len(v))
		NewTorch(3).Normal(x)
		multiply(x, sigmas[0])
		z := make([]float64, len(x))
		for i := range z {
			z[i] = float64(x[i]) / math.Sqrt(1+sigmas[0]*sigmas[0])
		}
		f, learned := Func(DDPMSmall), []float32(nil)
		switch kind {
		case VarianceLearned:
			f, learned = DDPM, v
		case VarianceLarge:
			f = DDPMLarge
		}
		o := DefaultOptions()
		o.Variance = learned
		require.NoError(t, f(t.Context(), ClassifierMean(ofModes, isUpper, scale, sigmas, kind, learned), x, sigmas, NewTorch(7), o))

		noise := NewTorch(7)
		for i := range len(sigmas) - 1 {
			bar, before := 1/(1+sigmas[i]*sigmas[i]), 1/(1+sigmas[i+1]*sigmas[i+1])
			beta := 1 - bar/before
			posterior := beta * (1 - before) / (1 - bar)
			if i == len(sigmas)-2 { // guided-diffusion has that of its step 1 in place of 0
				b, a := 1/(1+sigmas[i-1]*sigmas[i-1]), bar
				posterior = (1 - b/a) * (1 - a) / (1 - b)
			}
			eps := make([]float32, len(z))
			if sigmas[i+1] > 0 {
				noise.Normal(eps)
			}
			in, d, g := make([]float32, len(z)), make([]float32, len(z)), make([]float32, len(z))
			for k := range z {
				in[k] = float32(z[k] * math.Sqrt(1+sigmas[i]*sigmas[i]))
			}
			require.NoError(t, ofModes(t.Context(), d, in, sigmas[i]))
			require.NoError(t, isUpper(t.Context(), g, in, nil, sigmas[i]))
			for k := range z {
				variance := map[StepVariance]float64{VarianceSmall: posterior, VarianceLarge: beta,
					VarianceLearned: math.Pow(posterior, 1-(float64(v[k])+1)/2) * math.Pow(beta, (float64(v[k])+1)/2)}[kind]
				if i == len(sigmas)-2 {
					switch kind {
					case VarianceSmall:
						variance = 0
					case VarianceLarge:
						variance = posterior
					}
				}
				mean := math.Sqrt(before)*beta/(1-bar)*float64(d[k]) + math.Sqrt(1-beta)*(1-before)/(1-bar)*z[k]
				mean += scale * variance * float64(g[k]) * math.Sqrt(1+sigmas[i]*sigmas[i]) // by z
				z[k] = mean + math.Sqrt(variance)*float64(eps[k])
			}
		}
		for k := range z {
			require.InDelta(t, z[k], float64(x[k]), 1e-5, "%s, element %d", kind, k)
		}
	}
}

// Both forms draw the class: its mean and its spread.
func TestClassifierFormsDrawTheClass(t *testing.T) {
	alphas, err := NewAlphasCumprod("linear", 0.0001, 0.02, 1000)
	require.NoError(t, err)
	p, err := NewDiscrete(alphas)
	require.NoError(t, err)
	for _, name := range []string{"ddim", "ddpm_small", "ddpm_large"} {
		s := lookup(t, name)
		schedule, err := LookupSchedule(s.DefaultSchedule())
		require.NoError(t, err)
		sigmas, err := schedule.Sigmas(p, 250)
		require.NoError(t, err)
		d := Classifier(ofModes, isUpper, 1)
		if s.Variance != "" {
			d = ClassifierMean(ofModes, isUpper, 1, sigmas, s.Variance, nil)
		}
		x := make([]float32, 10000)
		p.InitialNoise(x, nil, sigmas[0], NewTorch(5))
		require.NoError(t, s.Func(t.Context(), d, x, sigmas, NewTorch(6), s.Options))
		mean := 0.0
		for _, v := range x {
			mean += float64(v) / float64(len(x))
		}
		t.Logf("%s: %.3f ± %.3f", name, mean, deviation(x))
		require.InDelta(t, modesAt, mean, 0.03, name)
		require.InDelta(t, modesSpread, deviation(x), 0.03, name)
	}
}
