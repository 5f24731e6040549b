package sampler

import (
	"context"
	"math"
)

// PredictorCorrector is the predictor-corrector sampler of score-based models
// (Song et al. 2021, algorithms 2 to 5, arXiv:2011.13456): before each ancestral
// step of the reverse diffusion it takes Options.Corrections steps of Langevin
// dynamics at the same noise level, whose length follows from the
// signal-to-noise ratio Options.SNR, averaged over the pictures (Options.Images).
// The last step, to 0, adds no noise. One evaluation more a step than there are
// corrections.
//
// The reverse diffusion is that of this package's notation, x = x0 + sigma·eps,
// in which the VE, the VP and the sub-VP SDE differ by their sigma(t) alone. For
// VE it is score_sde's to the number; of VP's it leaves out what score_sde's own
// discretization has in beta². Langevin's step is multiplied by 1-beta of the
// step with processes that keep the variance, as in score_sde.
func PredictorCorrector(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	l, err := begin(ctx, denoise, x, sigmas, noise, o, o.Corrections > 0 || len(sigmas) > 2)
	if err != nil {
		return err
	}
	denoised := l.slice()
	for i := range l.n {
		sigma, sigmaNext := sigmas[i], sigmas[i+1]
		for range o.Corrections {
			if err := l.denoise(i, denoised, x, sigma); err != nil {
				return err
			}
			l.langevin(x, denoised, sigma, sigmaNext)
		}
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

// PredictorCorrectorWith is [PredictorCorrector] with a signal-to-noise ratio and
// one correction a step.
func PredictorCorrectorWith(snr float64) Func {
	return func(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
		o.SNR, o.Corrections = snr, 1
		return PredictorCorrector(ctx, denoise, x, sigmas, noise, o)
	}
}

// langevin takes the corrector's step.
func (l *loop) langevin(x, denoised []float32, sigma, sigmaNext float64) {
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
	step := 2 * math.Pow(l.o.SNR*noiseNorm/scoreNorm, 2)
	if p := l.o.Process; p != nil {
		// alpha of the step, 1 for VE. (The step in the scale of the net's
		// samples is this one times Scale², and so are both of its terms.)
		s := p.Scale(sigma) / p.Scale(sigmaNext)
		step *= s * s
	}
	k := step / (sigma * sigma)
	sum3(x, 1-k, x, k, denoised, math.Sqrt(2*step)*l.o.SNoise, eps)
}
