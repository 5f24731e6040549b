package sampler

import (
	"context"
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// A normal distribution N(0, 1) of which y = a·x0 + noise was measured.
const (
	bedGain, bedNoise, bedY = 0.7, 0.3, 1.2
)

// normalBed is the model of N(0, 1), for each element on its own.
func normalBed(sigmas Sigmas) LossModel {
	return LossModel{
		Denoise: func(_ context.Context, dst, x []float32, sigma float64) error {
			sum2(dst, 1/(1+sigma*sigma), x, 0, x)
			return nil
		},
		Pullback: func(_ context.Context, dst, v, _ []float32, sigma float64) error {
			sum2(dst, 1/(1+sigma*sigma), v, 0, v)
			return nil
		},
		Sigmas: sigmas, Noise: NewTorch(11),
	}
}

// measured is what was measured of n elements, each on its own.
func measured(n int) *Measurement {
	m := &Measurement{Y: make([]float32, n), Gain: bedGain * bedGain}
	for i := range m.Y {
		m.Y[i] = bedY
	}
	m.Apply = func(y, x0 []float32) { sum2(y, bedGain, x0, 0, x0) }
	m.Transpose = m.Apply
	return m
}

// asLoss is the measurement's negative log-likelihood as a loss of its own.
func asLoss(m *Measurement) LossFunc {
	return func(_ context.Context, grad, x0 []float32) (float64, error) {
		rest := m.residual(x0)
		m.Transpose(grad, rest)
		multiply(grad, 1/(bedNoise*bedNoise))
		return dot(rest, rest) / (2 * bedNoise * bedNoise), nil
	}
}

func lossGuided(t testing.TB, name string, numbers map[string]float64, m LossModel, guides ...Guide) Denoiser {
	t.Helper()
	method, err := LookupLossMethod(name)
	require.NoError(t, err)
	g, err := method.With(numbers)
	require.NoError(t, err)
	d, err := g.Denoiser(m, guides...)
	require.NoError(t, err)
	return d
}

// posterior draws from N(0, 1) given the measurement with 200 steps of Euler's method, and
// measures mean and spread.
func posterior(t testing.TB, name string, numbers map[string]float64) (mean, spread float64) {
	t.Helper()
	sigmas, err := Karras(VESDE(0.002, 80), 200)
	require.NoError(t, err)
	x := make([]float32, 1000)
	NewTorch(1).Normal(x)
	multiply(x, sigmas[0])
	numbers["noise"], numbers["deviation"] = bedNoise, 1
	if _, takes := map[string]bool{"dps": true}[name]; takes {
		delete(numbers, "deviation")
	}
	d := lossGuided(t, name, numbers, normalBed(sigmas), Guide{Linear: measured(len(x))})
	require.NoError(t, Euler(t.Context(), d, x, sigmas, nil, DefaultOptions()))
	for _, v := range x {
		mean += float64(v) / float64(len(x))
	}
	return mean, deviation(x)
}

// The closed form of the posterior is 1.4483 ± 0.3939 (of 200 steps 1.444 ± 0.389). DPS, which
// leaves out how uncertain the prediction is, draws 2.17 ± 0.06; LGD comes to the posterior
// with more samples.
func TestPosteriorOfNormal(t *testing.T) {
	for _, c := range []struct {
		name         string
		samples      float64
		mean, spread float64
		within       float64
	}{
		{"pigdm", 0, 1.444, 0.389, 0.02},
		{"moments", 0, 1.444, 0.389, 0.02},
		{"mpgd", 0, 1.444, 0.389, 0.02}, // whose derivative is exact here
		{"dps", 0, 2.170, 0.060, 0.01},
		{"lgd", 1, 2.170, 0.114, 0.02},
		{"lgd", 10, 1.648, 0.289, 0.03},
		{"lgd", 100, 1.447, 0.368, 0.03},
	} {
		numbers := map[string]float64{}
		if c.samples > 0 {
			numbers["samples"] = c.samples
		}
		mean, spread := posterior(t, c.name, numbers)
		t.Logf("%s %g: %.3f ± %.3f", c.name, c.samples, mean, spread)
		require.InDelta(t, c.mean, mean, c.within, "%s %g", c.name, c.samples)
		require.InDelta(t, c.spread, spread, c.within, "%s %g", c.name, c.samples)
	}
}

// Pointwise: the exact guided prediction, DPS's, and LGD's of many samples, whose losses are
// weighed one by one or as one element's.
func TestGuidedPredictionOfNormal(t *testing.T) {
	sigmas := Sigmas{80, 2, 0.5, 0}
	for _, c := range []struct{ sigma, exact, dps float64 }{{0.5, 1.0723, 2.24}, {2, 0.2876, 1.54}} {
		x, got := []float32{1.5}, []float32{0}
		ask := func(name string, numbers map[string]float64, g Guide) float64 {
			numbers["noise"] = bedNoise
			require.NoError(t, lossGuided(t, name, numbers, normalBed(sigmas), g)(t.Context(), got, x, c.sigma))
			shift := float64(got[0]) - 1.5/(1+c.sigma*c.sigma)
			return shift
		}
		v := 1 / (1 + c.sigma*c.sigma)
		r2 := c.sigma * c.sigma * v
		exact := c.sigma * c.sigma * bedGain * v * (bedY - bedGain*v*1.5) / (bedNoise*bedNoise + bedGain*bedGain*r2)
		m := measured(1)
		require.InDelta(t, exact, ask("pigdm", map[string]float64{"deviation": 1}, Guide{Linear: m}), 1e-5)
		dps := ask("dps", map[string]float64{}, Guide{Linear: m})
		require.InDelta(t, exact*(bedNoise*bedNoise+bedGain*bedGain*r2)/(bedNoise*bedNoise), dps, 1e-5)
		require.InDelta(t, dps, ask("dps", map[string]float64{}, Guide{Loss: asLoss(m)}), 1e-5)
		require.Greater(t, dps, 1.5*exact)
		for _, g := range []Guide{{Linear: m}, {Loss: asLoss(m)}} {
			for _, diagonal := range []float64{0, 1} {
				lgd := ask("lgd", map[string]float64{"deviation": 1, "samples": 10000, "diagonal": diagonal}, g)
				require.InEpsilon(t, exact, lgd, 0.03)
			}
		}
	}
}

// The published step of DPS: the next sample moves by zeta along the gradient of the
// residual's norm, in the notation of a process that keeps the variance at 1.
func TestPublishedStepOfDPS(t *testing.T) {
	sigmas := Sigmas{2, 0.7, 0}
	for _, sampler := range []string{"ddim", "ddpm_small"} {
		s := lookup(t, sampler)
		m := normalBed(sigmas)
		m.Variance = s.Variance
		const zeta = 0.4
		guided, alone := []float32{1.5, -0.5}, []float32{1.5, -0.5}
		g := measured(2)
		d := lossGuided(t, "dps", map[string]float64{"zeta": zeta, "noise": 0.05}, m, Guide{Linear: g})
		stop := errors.New("one step")
		o := s.Options
		o.OnStep = func(Step) error { return stop }
		require.ErrorIs(t, s.Func(t.Context(), d, guided, sigmas, NewTorch(1), o), stop)
		require.ErrorIs(t, s.Func(t.Context(), m.Denoise, alone, sigmas, NewTorch(1), o), stop)
		// The norm's gradient by z = x/sqrt(1+sigma²), where x̂ = x/(1+sigma²).
		hat := []float32{1.5 / 5, -0.5 / 5}
		rest := g.residual(hat)
		norm := math.Sqrt(dot(rest, rest))
		for i := range guided {
			byZ := bedGain * float64(rest[i]) / norm / 5 * math.Sqrt(5)
			moved := (float64(guided[i]) - float64(alone[i])) / math.Sqrt(1+0.7*0.7)
			require.InDelta(t, -zeta*byZ, moved, 1e-6, sampler)
		}
	}
}

// Inner steps make the residual smaller; with recurrence each step is still told of once.
func TestUniversalGuidance(t *testing.T) {
	sigmas, err := Karras(VESDE(0.01, 20), 12)
	require.NoError(t, err)
	apart := func(numbers map[string]float64) float64 {
		numbers["scale"], numbers["noise"] = 0.01, bedNoise
		method, err := LookupLossMethod("universal")
		require.NoError(t, err)
		g, err := method.With(numbers)
		require.NoError(t, err)
		m := measured(500)
		d, err := g.Denoiser(normalBed(sigmas), Guide{Linear: m})
		require.NoError(t, err)
		x := make([]float32, 500)
		NewTorch(1).Normal(x)
		multiply(x, sigmas[0])
		steps := 0
		o := DefaultOptions()
		o.OnStep = func(s Step) error {
			steps++
			require.Equal(t, steps, s.Index)
			require.Equal(t, 12, s.Of)
			return nil
		}
		require.NoError(t, Recurrence(EulerAncestral, g.Recurrence())(t.Context(), d, x, sigmas, NewTorch(2), o))
		require.Equal(t, 12, steps)
		rest := m.residual(x)
		return math.Sqrt(dot(rest, rest) / 500)
	}
	plain := apart(map[string]float64{"inner": 0, "recurrence": 1})
	repeated := apart(map[string]float64{"inner": 0, "recurrence": 6})
	inner := apart(map[string]float64{"inner": 3, "rate": 0.05, "recurrence": 1})
	t.Logf("residual %.3f; with recurrence %.3f, with inner steps %.3f", plain, repeated, inner)
	require.NotEqual(t, plain, repeated)
	require.Less(t, inner, 0.8*plain)
}

// A recurrence keeps the distribution of an exact model.
func TestRecurrenceKeepsDistribution(t *testing.T) {
	sigmas, err := Karras(VESDE(0.01, 20), 250)
	require.NoError(t, err)
	x := make([]float32, 4000)
	NewTorch(1).Normal(x)
	multiply(x, sigmas[0])
	require.NoError(t, Recurrence(EulerAncestral, 3)(t.Context(), ofUpper, x, sigmas, NewTorch(2), DefaultOptions()))
	require.InDelta(t, modesSpread, deviation(x), 0.03)
	require.ErrorContains(t, Recurrence(Euler, 2)(t.Context(), ofUpper, x, Sigmas{1, 0.5, 0}, NewTorch(2), Options{SNoise: 1, Process: Flow(1)}), "flow")
}

func TestLossGuidanceErrors(t *testing.T) {
	sigmas := Sigmas{2, 1, 0}
	m := normalBed(sigmas)
	method := func(name string) LossGuidance {
		x, err := LookupLossMethod(name)
		require.NoError(t, err)
		g, err := x.With(nil)
		require.NoError(t, err)
		return g
	}
	loss := Guide{Loss: asLoss(measured(1))}
	_, err := method("pigdm").Denoiser(m, loss)
	require.ErrorContains(t, err, "linear measurements; lgd, dps, universal and mpgd take any loss")
	_, err = method("dps").Denoiser(m)
	require.ErrorContains(t, err, "something to guide towards")
	m.Pullback = nil
	_, err = method("dps").Denoiser(m, loss)
	require.ErrorContains(t, err, "mpgd needs none")
	_, err = method("mpgd").Denoiser(m, loss)
	require.NoError(t, err)
	_, err = method("dps").Denoiser(normalBed(sigmas), Guide{})
	require.ErrorContains(t, err, "one of them")
	_, err = LookupLossMethod("nonsense")
	require.ErrorContains(t, err, "pigdm")
	x, err := LookupLossMethod("Loss Guided Diffusion")
	require.NoError(t, err)
	_, err = x.With(map[string]float64{"samples": 0, "start": 0.7, "stop": 0.2, "phi": 1})
	require.ErrorContains(t, err, "samples must be a whole number, 1 to 10000 with lgd, got 0")
	require.ErrorContains(t, err, "takes no phi")

	d := lossGuided(t, "dps", map[string]float64{"start": 0.5}, normalBed(sigmas), loss)
	free, got := []float32{0}, []float32{0}
	require.NoError(t, m.Denoise(t.Context(), free, []float32{1}, 2))
	require.NoError(t, d(t.Context(), got, []float32{1}, 2))
	require.Equal(t, free, got, "not yet")
	require.NoError(t, m.Denoise(t.Context(), free, []float32{1}, 1))
	require.NoError(t, d(t.Context(), got, []float32{1}, 1))
	require.NotEqual(t, free, got)
	bad := Guide{Loss: func(_ context.Context, grad, _ []float32) (float64, error) {
		grad[0] = float32(math.NaN())
		return 0, nil
	}}
	require.ErrorContains(t, lossGuided(t, "dps", nil, normalBed(sigmas), bad)(t.Context(), got, []float32{1}, 1), "must be finite")
}
