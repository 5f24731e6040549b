package sampler

import "fmt"

// zeroTerminal is the last alphas_cumprod below which the last timestep is pure
// noise: Stable Diffusion's own is 0.0047, diffusers ends a rescaled one at 2^-24
// and ComfyUI at 4.9e-8.
const zeroTerminal = 1e-6

// IsZeroTerminalSNR reports whether the last timestep is pure noise, as
// [AlphasCumprod.ZeroTerminalSNR] makes it.
func (alphas AlphasCumprod) IsZeroTerminalSNR() bool {
	return len(alphas) > 0 && alphas[len(alphas)-1] < zeroTerminal
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
// it ends in pure noise already. Only discrete processes ([NewDiscrete]) have
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

// EndsInNoise reports whether the highest noise level hides the sample altogether:
// that of a discrete process with zero terminal SNR.
func (p *Process) EndsInNoise() bool { return p.alphas.IsZeroTerminalSNR() }
