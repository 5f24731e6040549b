package sampler

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// purify adds noise up to a time of the VP-SDE and takes it away in steps.
func purify(t *testing.T, s Sampler, denoise Denoiser, x []float32, time float64, steps int, seed uint64) {
	t.Helper()
	vp := VPSDE()
	sigmas := make(Sigmas, steps+1)
	for i := range steps {
		sigmas[i] = vp.TToSigma(time + (1e-5-time)*float64(i)/float64(steps))
	}
	noise := NewTorch(seed)
	vp.AddNoise(x, sigmas[0], noise)
	require.NoError(t, s.Func(t.Context(), denoise, x, sigmas, noise, s.Options))
}

func meanOf(x []float32) (mean float64) {
	for _, v := range x {
		mean += float64(v) / float64(len(x))
	}
	return mean
}

// On normal data of the deviation s a change comes back k times as large along the SDE, and
// sqrt(k) times along the ODE; k = ᾱs²/(ᾱs² + 1 - ᾱ).
func TestPurificationShrinksChanges(t *testing.T) {
	const s, time, n = 0.25, 0.1, 6000
	denoise := func(_ context.Context, dst, x []float32, sigma float64) error {
		sum2(dst, s*s/(s*s+sigma*sigma), x, 0, x)
		return nil
	}
	sigma := VPSDE().TToSigma(time)
	require.InDelta(t, 0.340, sigma, 0.001)
	bar := 1 / (1 + sigma*sigma)
	k := bar * s * s / (bar*s*s + 1 - bar)
	require.InDelta(t, 0.3507, k, 0.0005)
	for _, c := range []struct {
		sampler           string
		factor, deviation float64
	}{{"ddpm_small", k, 0.2341}, {"euler", math.Sqrt(k), 0.2014}} {
		factor := func(steps int) (float64, float64) {
			// One picture with a change of either sign, and noise that is the same for both.
			var moved [2]float64
			var x []float32
			for i, change := range []float32{-0.2, 0.2} {
				x = make([]float32, n)
				for k := range x {
					x[k] = change
				}
				purify(t, lookup(t, c.sampler), denoise, x, time, steps, 7)
				moved[i] = meanOf(x)
			}
			return (moved[1] - moved[0]) / 0.4, deviation(x)
		}
		got, spread := factor(1000)
		few, _ := factor(100)
		t.Logf("%s: %.4f (of 100 steps %.4f) ± %.4f, expected %.4f", c.sampler, got, few, spread, c.factor)
		require.InDelta(t, c.factor, got, 0.003, c.sampler)
		require.InDelta(t, c.factor, few, 0.008, c.sampler)
		require.InDelta(t, c.deviation, spread, 0.008, c.sampler)
	}
}

// With two modes little noise keeps the mode that a sample is in, and much forgets it.
func TestPurificationKeepsModes(t *testing.T) {
	const s, n = 0.25, 6000
	denoise := func(_ context.Context, dst, x []float32, sigma float64) error {
		for i, v := range x {
			p := 1 / (1 + math.Exp(-2*float64(v)/(s*s+sigma*sigma)))
			dst[i] = float32((s*s*float64(v) + sigma*sigma*(2*p-1)) / (s*s + sigma*sigma))
		}
		return nil
	}
	for _, c := range []struct{ time, clean, attacked, worse float64 }{
		{0.05, 1, 0.9998, 0.850}, {0.1, 0.9958, 0.9685, 0.703}, {0.15, 0.952, 0.879, 0.631}, {0.25, 0.784, 0.709, 0.563}, {1, 0.5, 0.5, 0.5},
	} {
		for _, at := range []struct{ from, share float64 }{{1, c.clean}, {0.7, c.attacked}, {0.2, c.worse}} {
			x := make([]float32, n)
			for i := range x {
				x[i] = float32(at.from)
			}
			purify(t, lookup(t, "ddpm_small"), denoise, x, c.time, 100, 3)
			share := 0.0
			for _, v := range x {
				if v > 0 {
					share += 1.0 / n
				}
			}
			t.Logf("time %g from %g: %.4f, expected %.4f", c.time, at.from, share, at.share)
			require.InDelta(t, at.share, share, 0.025)
		}
	}
}
