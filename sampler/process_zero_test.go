package sampler

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestZeroTerminalSNROfProcesses(t *testing.T) {
	p := StableDiffusion()
	zero, err := p.ZeroTerminalSNR()
	require.NoError(t, err)
	require.InDelta(t, 4096, zero.SigmaMax(), 1)
	require.Equal(t, p.SigmaMin(), zero.SigmaMin(), "the first timestep stays")
	require.InDelta(t, 14.6146, p.SigmaMax(), 1e-3, "the process itself stays as it was")
	again, err := zero.ZeroTerminalSNR()
	require.NoError(t, err)
	require.Same(t, zero, again)
	_, err = EDM(0.002, 80, 0.5).ZeroTerminalSNR()
	require.ErrorContains(t, err, "needs a model with timesteps, and this is a diffusion of Karras et al. (EDM)")

	// Every schedule of training can be rescaled, and only what was is said to be.
	for _, name := range []string{"linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"} {
		for _, n := range []int{100, 500, 1000} {
			alphas, err := NewAlphasCumprod(name, 0.0001, 0.02, n)
			require.NoError(t, err)
			require.False(t, alphas.IsZeroTerminalSNR(), "%s %d", name, n)
			_, err = NewDiscrete(alphas.ZeroTerminalSNR())
			require.NoError(t, err, "%s %d", name, n)
		}
	}
	require.True(t, AlphasCumprod{0.5, 1.7e-7, 4.8973451890853435e-08}.IsZeroTerminalSNR(), "ComfyUI's end")
	require.False(t, AlphasCumprod{}.IsZeroTerminalSNR())
}

// A beta for each timestep is what a schedule of the same betas is.
func TestAlphasCumprodOfBetas(t *testing.T) {
	betas := linspace32(0.0001, 0.02, 1000)
	got, err := NewAlphasCumprodOf(betas)
	require.NoError(t, err)
	want, err := NewAlphasCumprod("linear", 0.0001, 0.02, 1000)
	require.NoError(t, err)
	require.Equal(t, want, got)
	for _, wrong := range [][]float64{nil, {0.5}, {0.5, 1}, {0.5, -0.1}} {
		_, err := NewAlphasCumprodOf(wrong)
		require.Error(t, err)
	}
}

func TestLeadingZero(t *testing.T) {
	p := StableDiffusion()
	sigmas, err := LeadingZero(p, 5)
	require.NoError(t, err)
	for i, at := range []float64{800, 600, 400, 200, 0} {
		require.InDelta(t, at, p.SigmaToT(sigmas[i]), 1e-6)
	}
}

// What a run begins with whose samples have the variance 1 is the noise itself in the network's scale.
func TestUnitNoise(t *testing.T) {
	p := StableDiffusion()
	for _, step := range []float64{999, 500, 3} {
		sigma := p.TToSigma(step)
		got, want := make([]float32, 64), make([]float32, 64)
		p.UnitNoise(got, sigma, NewTorch(5))
		NewTorch(5).Normal(want)
		for i := range got {
			require.InDelta(t, want[i], float64(got[i])*p.Scale(sigma), 1e-6)
		}
	}
}
