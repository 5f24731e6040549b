package sampler

import (
	"context"
	"math"
)

// Invert is DDIM inversion (Dhariwal and Nichol 2021, arXiv:2105.05233,
// appendix F; Song et al. 2021, section 4.3): it replaces x, a clean latent or
// one at the last of the sigmas, by the noise at sigmas[0] from which [DDIM]
// with eta 0 comes back to it, but for an error that falls with the steps. It
// walks the sigmas backwards. In each step the model is asked at the upper
// noise level about the lower sample, as the diffusers library's
// DDIMInverseScheduler does. Steps are counted from the low end in OnStep.
func Invert(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, o Options) error {
	l, err := begin(ctx, denoise, x, sigmas, nil, o, false)
	if err != nil {
		return err
	}
	denoised, scaled := l.slice(), l.slice()
	for i := range l.n {
		sigma, up := sigmas[l.n-i], sigmas[l.n-i-1]
		// Denoisers shrink x by what its noise level adds to unit variance.
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
