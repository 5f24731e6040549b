package sampler

import (
	"context"
	"math"
)

// LCM is the sampler of latent consistency models (Luo et al. 2023,
// arXiv:2310.04378; Song et al. 2023, algorithm 1, arXiv:2303.01469): each step
// takes the model's clean sample and adds fresh noise of the next noise level.
// One evaluation a step.
func LCM(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	l, err := begin(ctx, denoise, x, sigmas, noise, o, len(sigmas) > 2)
	if err != nil {
		return err
	}
	denoised := l.slice()
	for i := range l.n {
		if err := l.denoise(i, denoised, x, sigmas[i]); err != nil {
			return err
		}
		copy(x, denoised)
		l.addNoise(x, sigmas[i+1], sigmas[i], sigmas[i+1])
		if err := l.done(i, denoised); err != nil {
			return err
		}
	}
	return nil
}

// ConsistencySampler is multistep sampling of consistency models (Song et al. 2023,
// algorithm 1, arXiv:2303.01469): each step takes the model's clean sample, which
// is one at the process's lowest noise level, and adds noise up to the next one.
// The model must be one that [PredictConsistency] makes a denoiser of, or the like.
// One evaluation a step.
func ConsistencySampler(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	l, err := begin(ctx, denoise, x, sigmas, noise, o, len(sigmas) > 2)
	if err != nil {
		return err
	}
	lowest := o.process().SigmaMin()
	denoised := l.slice()
	for i := range l.n {
		if err := l.denoise(i, denoised, x, sigmas[i]); err != nil {
			return err
		}
		copy(x, denoised)
		if next := sigmas[i+1]; next > lowest {
			l.addNoise(x, noiseBetween(lowest, next), sigmas[i], next)
		}
		if err := l.done(i, denoised); err != nil {
			return err
		}
	}
	return nil
}

// Consistency turns a denoiser into the consistency function of LCM, which is
// the identity at noise level 0: cSkip·x + cOut·D with coefficients that depend
// on the timestep, as the diffusers library's LCMScheduler has them with its
// sigma_data 0.5 and timestep_scaling 10. It differs at the lowest timesteps
// only.
func Consistency(denoise Denoiser, process *Process) Denoiser {
	const sigmaData, scaling = 0.5, 10
	return func(ctx context.Context, dst, x []float32, sigma float64) error {
		if err := denoise(ctx, dst, x, sigma); err != nil {
			return err
		}
		t := process.SigmaToT(sigma) * scaling
		v := t*t + sigmaData*sigmaData
		// The paper's x is sqrt(alpha) times ours.
		cSkip := sigmaData * sigmaData / v / math.Sqrt(1+sigma*sigma)
		sum2(dst, t/math.Sqrt(v), dst, cSkip, x)
		return nil
	}
}

// TCD is trajectory consistency distillation's sampler (Zheng et al. 2024,
// arXiv:2402.19159, algorithm 4), as the diffusers library's TCDScheduler: Eta
// is its gamma, from 0, without noise, to 1; usually 0.3. It needs
// Options.Process for the timesteps. One evaluation a step.
func TCD(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	l, err := begin(ctx, denoise, x, sigmas, noise, o, o.Eta > 0)
	if err != nil {
		return err
	}
	if o.Eta > 1 {
		return &OptionError{"Eta", o.Eta, "0 to 1"}
	}
	process := o.process()
	denoised := l.slice()
	for i := range l.n {
		sigma, sigmaNext := sigmas[i], sigmas[i+1]
		if err := l.denoise(i, denoised, x, sigma); err != nil {
			return err
		}
		down := sigmaNext
		if sigmaNext > 0 && o.Eta > 0 {
			t := math.Floor((1 - o.Eta) * math.Round(process.SigmaToT(sigmaNext)))
			down = min(process.TToSigma(t), sigmaNext)
		}
		toward(x, x, denoised, sigma, down)
		if o.Eta > 0 {
			l.addNoise(x, noiseBetween(down, sigmaNext), sigma, sigmaNext)
		}
		if err := l.done(i, denoised); err != nil {
			return err
		}
	}
	return nil
}
