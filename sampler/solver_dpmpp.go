package sampler

import (
	"context"
	"math"
)

// The DPM-Solver++ family works in lambda = -log(sigma), in which the
// linear part of the ODE has an exact solution:
//
//	x(lambda+h) = e^-h·x + (1 - e^-h)·D + …
//
// with the model's clean sample D treated as a polynomial in lambda.

// DPMPP2M is DPM-Solver++(2M) of Lu et al. 2022 ("DPM-Solver++: Fast Solver
// for Guided Sampling of Diffusion Probabilistic Models", arXiv:2211.01095),
// as k-diffusion's sample_dpmpp_2m: second order from one evaluation a step,
// using the step before. First and last step are first order.
func DPMPP2M(ctx context.Context, denoise Denoiser, x []float32, sigmas []float64, noise Noise, o Options) error {
	l, err := begin(ctx, denoise, x, sigmas, noise, o, false)
	if err != nil {
		return err
	}
	denoised, old := l.slice(), l.slice()
	for i := range l.n {
		if err := l.denoise(i, denoised, x, sigmas[i]); err != nil {
			return err
		}
		ratio := sigmas[i+1] / sigmas[i] // e^-h
		if i == 0 || sigmas[i+1] == 0 {
			sum2(x, ratio, x, 1-ratio, denoised)
		} else {
			h := math.Log(sigmas[i] / sigmas[i+1])
			hLast := math.Log(sigmas[i-1] / sigmas[i])
			k := h / (2 * hLast)
			sum3(x, ratio, x, (1-ratio)*(1+k), denoised, -(1-ratio)*k, old)
		}
		if err := l.done(i, denoised); err != nil {
			return err
		}
		denoised, old = old, denoised
	}
	return nil
}

// DPMPP2MV2 is [DPMPP2M] with the changed weights for uneven steps that
// stable-diffusion.cpp calls dpm++2mv2. Below second order in general.
func DPMPP2MV2(ctx context.Context, denoise Denoiser, x []float32, sigmas []float64, noise Noise, o Options) error {
	l, err := begin(ctx, denoise, x, sigmas, noise, o, false)
	if err != nil {
		return err
	}
	denoised, old := l.slice(), l.slice()
	for i := range l.n {
		if err := l.denoise(i, denoised, x, sigmas[i]); err != nil {
			return err
		}
		ratio := sigmas[i+1] / sigmas[i]
		if i == 0 || sigmas[i+1] == 0 {
			sum2(x, ratio, x, 1-ratio, denoised)
		} else {
			h := math.Log(sigmas[i] / sigmas[i+1])
			hLast := math.Log(sigmas[i-1] / sigmas[i])
			k := min(h, hLast) / (2 * max(h, hLast))
			b := -math.Expm1(-(h + hLast) / 2)
			sum3(x, ratio, x, b*(1+k), denoised, -b*k, old)
		}
		if err := l.done(i, denoised); err != nil {
			return err
		}
		denoised, old = old, denoised
	}
	return nil
}
