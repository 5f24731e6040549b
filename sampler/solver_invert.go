package sampler

import (
	"context"
	"math"
)

// Invert is DDIM inversion (Dhariwal and Nichol 2021, arXiv:2105.05233,
// appendix F; Song et al. 2021, section 4.3): it replaces x, a clean latent or
// one at the last of the sigmas, by the noise at sigmas[0] from which [DDIM]
// with an eta of 0 returns to it, with an error that falls with the number of
// steps. The sigmas are those of the way back: Invert takes them from the last
// to the first, and counts its steps in that order. In each step the model is
// evaluated at the higher noise level with the sample of the lower one, as in
// the diffusers library's DDIMInverseScheduler.
func Invert(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, o Options) error {
	l, err := begin(ctx, denoise, x, sigmas, nil, o, false)
	if err != nil {
		return err
	}
	denoised, scaled := l.slice(), l.slice()
	for i := range l.n {
		sigma, up := sigmas[l.n-i], sigmas[l.n-i-1]
		// Scaled as the model expects a sample of the higher noise level.
		sum2(scaled, math.Sqrt((1+up*up)/(1+sigma*sigma)), x, 0, x)
		if err := l.denoise(i, denoised, scaled, up); err != nil {
			return err
		}
		k := (up - sigma) / up
		sum3(x, 1, x, k, scaled, -k, denoised)
		if o.OnStep == nil {
			continue
		}
		if err := o.OnStep(Step{i + 1, l.n, sigma, up, x, denoised}); err != nil {
			return err
		}
	}
	return nil
}
