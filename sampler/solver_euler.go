package sampler

import (
	"context"
	"math"
)

// Euler follows the probability-flow ODE dx/dsigma = (x - x0)/sigma with
// straight steps: first order, one evaluation a step. With SChurn > 0 it is
// the stochastic sampler of algorithm 2 of Karras et al. 2022 without its
// second-order correction, as k-diffusion's sample_euler.
func Euler(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	l, err := begin(ctx, denoise, x, sigmas, noise, o, o.SChurn > 0)
	if err != nil {
		return err
	}
	denoised := l.slice()
	for i := range l.n {
		sigmaHat := l.churn(i, x)
		if err := l.denoise(i, denoised, x, sigmaHat); err != nil {
			return err
		}
		toward(x, x, denoised, sigmaHat, sigmas[i+1])
		if err := l.done(i, denoised); err != nil {
			return err
		}
	}
	return nil
}

// ancestral splits a step from noise level sigma to sigmaNext: first down to a
// lower level, then up again with fresh noise of standard deviation up. eta 1
// is ancestral sampling of a DDPM (Ho et al. 2020) in this notation, 0 is the
// ODE (k-diffusion's get_ancestral_step).
func ancestral(sigma, sigmaNext, eta float64) (down, up float64) {
	up = min(sigmaNext, eta*math.Sqrt(sigmaNext*sigmaNext*(sigma*sigma-sigmaNext*sigmaNext))/sigma)
	return noiseBetween(up, sigmaNext), up
}

// noiseBetween is the standard deviation of the noise that raises noise level
// low to high. The products are rounded by themselves: where Go fuses one of
// them with the difference, that of two equal levels may be below zero.
func noiseBetween(low, high float64) float64 {
	return math.Sqrt(max(float64(high*high)-float64(low*low), 0))
}

// EulerAncestral steps to a lower noise level than the next one and adds fresh
// noise to return to it, as k-diffusion's sample_euler_ancestral.
func EulerAncestral(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	l, err := begin(ctx, denoise, x, sigmas, noise, o, o.Eta > 0)
	if err != nil {
		return err
	}
	denoised := l.slice()
	for i := range l.n {
		sigma, sigmaNext := sigmas[i], sigmas[i+1]
		if err := l.denoise(i, denoised, x, sigma); err != nil {
			return err
		}
		down, up := ancestral(sigma, sigmaNext, o.Eta)
		toward(x, x, denoised, sigma, down)
		l.addNoise(x, up, sigma, sigmaNext)
		if err := l.done(i, denoised); err != nil {
			return err
		}
	}
	return nil
}

// DDIM is the sampler of Song, Meng and Ermon 2021 ("Denoising Diffusion
// Implicit Models", arXiv:2010.02502) with their eta: 0 is DDIM, 1 is DDPM.
//
// In the notation of this package, where x is not shrunk by sqrt(alpha), the
// paper's equation 12 becomes [EulerAncestral], and at eta 0 [Euler]. DDIM
// differs from them in its usual schedule ([DDIMUniform]) and in its usual eta,
// 0.
func DDIM(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	return EulerAncestral(ctx, denoise, x, sigmas, noise, o)
}
