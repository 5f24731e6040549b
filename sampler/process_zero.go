package sampler

import "fmt"

// Bounds of the last alphas_cumprod of a schedule that was rescaled to zero terminal
// SNR: diffusers ends it at 2^-24, ComfyUI at 4.9e-8. Stable Diffusion's own is
// 0.0047; those of cosine schedules, which were not rescaled, are much less, after a
// leap that the cap of the betas makes.
const (
	zeroSNRLeast, zeroSNRMost = 1e-8, 1e-6
	zeroSNRLeap               = 100
)

// IsZeroTerminalSNR reports whether the numbers are those that
// [AlphasCumprod.ZeroTerminalSNR] makes, here or in another program.
func (alphas AlphasCumprod) IsZeroTerminalSNR() bool {
	n := len(alphas)
	if n < 2 {
		return false
	}
	last := alphas[n-1]
	return last > zeroSNRLeast && last < zeroSNRMost && alphas[n-2] < zeroSNRLeap*last
}

// NewAlphasCumprodOf computes alphas_cumprod from a beta for each timestep
// (trained_betas of the diffusers library), rounded to float32 as there.
func NewAlphasCumprodOf(betas []float64) (AlphasCumprod, error) {
	if len(betas) < 2 || len(betas) > maxSteps {
		return nil, fmt.Errorf("betas must be 2 to %d numbers, got %d", maxSteps, len(betas))
	}
	alphas, product := make(AlphasCumprod, len(betas)), 1.0
	for i, beta := range betas {
		if !(beta >= 0 && beta < 1) {
			return nil, fmt.Errorf("beta %d must be at least 0 and less than 1, got %g", i, beta)
		}
		product *= float64(1 - float32(beta))
		alphas[i] = float64(float32(product))
	}
	return alphas, nil
}

// ZeroTerminalSNR is the process with [AlphasCumprod.ZeroTerminalSNR], itself if
// it was rescaled already. Only discrete processes ([NewDiscrete]) have
// alphas_cumprod; others are an error.
func (p *Process) ZeroTerminalSNR() (*Process, error) {
	if p.alphas == nil {
		return nil, fmt.Errorf("zero terminal SNR needs a model with timesteps, and this is %s", p.kind.describe())
	}
	if p.alphas.IsZeroTerminalSNR() {
		return p, nil
	}
	return NewDiscrete(p.alphas.ZeroTerminalSNR())
}
