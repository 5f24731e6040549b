package sampler

import (
	"context"
	"math"
)

// PredictorCorrector is the predictor-corrector sampler of the variance-
// exploding SDE (Song et al. 2021, algorithms 2 and 4, arXiv:2011.13456): before
// each ancestral step it takes a step of Langevin dynamics at the same noise
// level, whose length follows from a signal-to-noise ratio of 0.16, averaged
// over the pictures (Options.Images). The last step, to 0, adds no noise. Two
// evaluations a step.
func PredictorCorrector(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	return PredictorCorrectorWith(0.16)(ctx, denoise, x, sigmas, noise, o)
}

// PredictorCorrectorWith is [PredictorCorrector] with another signal-to-noise
// ratio.
func PredictorCorrectorWith(snr float64) Func {
	return func(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
		l, err := begin(ctx, denoise, x, sigmas, noise, o, true)
		if err != nil {
			return err
		}
		denoised := l.slice()
		for i := range l.n {
			sigma, sigmaNext := sigmas[i], sigmas[i+1]
			if err := l.denoise(i, denoised, x, sigma); err != nil {
				return err
			}
			l.langevin(x, denoised, sigma, sigmaNext, snr)
			if err := l.denoise(i, denoised, x, sigma); err != nil {
				return err
			}
			// The reverse SDE's mean: x + (sigma² - sigmaNext²)·score.
			r := sigmaNext * sigmaNext / (sigma * sigma)
			sum2(x, r, x, 1-r, denoised)
			if sigmaNext > 0 {
				l.addNoise(x, noiseBetween(sigmaNext, sigma), sigma, sigmaNext)
			}
			if err := l.done(i, denoised); err != nil {
				return err
			}
		}
		return nil
	}
}

// langevin takes the corrector's step.
func (l *loop) langevin(x, denoised []float32, sigma, sigmaNext, snr float64) {
	eps := l.normal(sigma, sigmaNext)
	images := max(l.o.Images, 1)
	var noiseNorm, scoreNorm float64
	for k := range images {
		e := part(eps, k, images)
		noiseNorm += math.Sqrt(dot(e, e))
		scoreNorm += math.Sqrt(apart(part(denoised, k, images), part(x, k, images))) / (sigma * sigma)
	}
	if scoreNorm == 0 {
		return // already at the mode: no direction
	}
	step := 2 * math.Pow(snr*noiseNorm/scoreNorm, 2)
	k := step / (sigma * sigma)
	sum3(x, 1-k, x, k, denoised, math.Sqrt(2*step)*l.o.SNoise, eps)
}
