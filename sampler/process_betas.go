package sampler

import (
	"fmt"
	"math"
)

// AlphasCumprod are the cumulative products of alpha = 1 - beta of a DDPM, one
// for each timestep: what [NewDiscrete] makes a process of.
type AlphasCumprod []float64

// betaSchedules are the noise schedules of training by the diffusers library's
// names for them (beta_schedule).
func betaSchedules() map[string]func(start, end float64, n int) []float64 {
	return map[string]func(start, end float64, n int) []float64{
		"linear":            linspace32,        // DDPM (Ho et al. 2020)
		"scaled_linear":     scaledLinearBetas, // latent diffusion (Rombach et al. 2022)
		"squaredcos_cap_v2": cosineBetas,       // improved DDPM (Nichol and Dhariwal 2021)
		"sigmoid":           sigmoidBetas,      // GeoDiff
	}
}

// NewAlphasCumprod computes alphas_cumprod of n timesteps from a beta schedule,
// by the diffusers library's name for it, with its first and last beta: linear
// (usually 0.0001 to 0.02), scaled_linear (Stable Diffusion: 0.00085 to 0.012),
// sigmoid, or squaredcos_cap_v2, which has no use for start and end. They are
// rounded to float32 as they are in diffusers.
func NewAlphasCumprod(betaSchedule string, start, end float64, n int) (AlphasCumprod, error) {
	betas, ok := betaSchedules()[betaSchedule]
	if !ok {
		return nil, fmt.Errorf("beta schedule must be linear, scaled_linear, squaredcos_cap_v2 or sigmoid, got %q", betaSchedule)
	}
	if n < 2 || n > maxSteps {
		return nil, fmt.Errorf("timesteps must be 2 to %d, got %d", maxSteps, n)
	}
	for _, beta := range []float64{start, end} {
		if !(beta >= 0 && beta < 1) {
			return nil, fmt.Errorf("beta must be at least 0 and less than 1, got %g", beta)
		}
	}
	alphas, product := make(AlphasCumprod, n), 1.0
	for i, beta := range betas(start, end, n) {
		product *= float64(1 - float32(beta))
		alphas[i] = float64(float32(product))
	}
	return alphas, nil
}

// ZeroTerminalSNR shifts and scales the square roots of alphas_cumprod so that
// the last timestep is pure noise (Lin et al. 2024, algorithm 1,
// arXiv:2305.08891). The last one is then not 0 but 2^-24, as in the diffusers
// library, so that its sigma is 4096, or less where the one before is hardly more.
// Such models predict v.
func (alphas AlphasCumprod) ZeroTerminalSNR() AlphasCumprod {
	n := len(alphas)
	if n == 0 {
		return nil
	}
	out := make(AlphasCumprod, n)
	first, last := math.Sqrt(alphas[0]), math.Sqrt(alphas[n-1])
	for i, a := range alphas {
		s := (math.Sqrt(a) - last) * first / (first - last)
		out[i] = s * s
	}
	out[n-1] = 1.0 / (1 << 24)
	if n > 1 {
		out[n-1] = min(out[n-1], out[n-2]/2) // linear betas end near 0 anyway
	}
	return out
}

// scaledLinearBetas have evenly rising square roots.
func scaledLinearBetas(start, end float64, n int) []float64 {
	b := linspace32(math.Sqrt(start), math.Sqrt(end), n)
	for i, v := range b {
		b[i] = float64(float32(v) * float32(v))
	}
	return b
}

// cosineBetas make alphas_cumprod a squared cosine (Nichol and Dhariwal 2021,
// arXiv:2102.09672, equation 17), with betas of at most 0.999.
func cosineBetas(_, _ float64, n int) []float64 {
	bar := func(i int) float64 {
		c := math.Cos((float64(i)/float64(n) + 0.008) / 1.008 * math.Pi / 2)
		return c * c
	}
	b := make([]float64, n)
	for i := range b {
		b[i] = float64(float32(min(1-bar(i+1)/bar(i), 0.999)))
	}
	return b
}

// sigmoidBetas rise from start to end along a sigmoid over [-6, 6].
func sigmoidBetas(start, end float64, n int) []float64 {
	b := linspace32(-6, 6, n)
	for i, v := range b {
		b[i] = float64(float32((end-start)/(1+math.Exp(-v)) + start))
	}
	return b
}

// linspace32 is torch.linspace of n ≥ 2 numbers in float32, which counts from
// both ends.
func linspace32(start, end float64, n int) []float64 {
	out := make([]float64, n)
	a, b := float32(start), float32(end)
	step := (b - a) / float32(n-1)
	for i := range out {
		if i < n/2 {
			out[i] = float64(a + float32(float32(i)*step))
		} else {
			out[i] = float64(b - float32(float32(n-1-i)*step))
		}
	}
	return out
}
