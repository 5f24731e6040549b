package sampler

import (
	"context"
	"math"
)

// The DPM-Solver++ family works in lambda = -log(sigma), in which the linear
// part of the ODE has an exact solution:
//
//	x(lambda+h) = e^-h·x + (1 - e^-h)·D + …
//
// where the model's clean sample D is treated as a polynomial in lambda.

// DPMPP2M is DPM-Solver++(2M) of Lu et al. 2022 ("DPM-Solver++: Fast Solver
// for Guided Sampling of Diffusion Probabilistic Models", arXiv:2211.01095),
// as k-diffusion's sample_dpmpp_2m: second order from one evaluation a step and
// the step before. The first and the last step are of first order.
func DPMPP2M(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	return dpmpp2m(ctx, denoise, x, sigmas, noise, o, func(h, hLast, ratio float64) (b, k float64) {
		return 1 - ratio, h / (2 * hLast)
	})
}

// DPMPP2MV2 is [DPMPP2M] with the changed weights for uneven steps that
// stable-diffusion.cpp calls dpm++2mv2. It is below second order in general.
func DPMPP2MV2(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	return dpmpp2m(ctx, denoise, x, sigmas, noise, o, func(h, hLast, _ float64) (b, k float64) {
		return -math.Expm1(-(h + hLast) / 2), min(h, hLast) / (2 * max(h, hLast))
	})
}

// dpmpp2m takes second-order steps x' = ratio·x + b·(D + k·(D - D_last)), with
// weights of a step of length h after one of hLast; ratio is e^-h.
func dpmpp2m(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options, weights func(h, hLast, ratio float64) (b, k float64)) error {
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
			b, k := weights(math.Log(sigmas[i]/sigmas[i+1]), math.Log(sigmas[i-1]/sigmas[i]), ratio)
			sum3(x, ratio, x, b*(1+k), denoised, -b*k, old)
		}
		if err := l.done(i, denoised); err != nil {
			return err
		}
		denoised, old = old, denoised
	}
	return nil
}
