package sampler

import (
	"context"
	"math"
)

// DDPM is ancestral sampling as the model was trained (Ho et al. 2020,
// arXiv:2006.11239): with the variance that the model predicts, where
// Options.Variance has one (learned range, see [DDPMLearned]), else [DDPMSmall].
func DDPM(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	if o.Variance == nil {
		return DDPMSmall(ctx, denoise, x, sigmas, noise, o)
	}
	return ddpm(ctx, denoise, o.Variance, x, sigmas, noise, o)
}

// DDPMSmall is ancestral sampling with the posterior's variance ("fixed small",
// Ho et al. 2020, section 3.2): [EulerAncestral] with an eta of 1, whatever
// Options.Eta is. What a model says of the variance is not used.
func DDPMSmall(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	o.Eta = 1
	return EulerAncestral(ctx, denoise, x, sigmas, noise, o)
}

// DDPMLarge is ancestral sampling with the variance of the forward process
// ("fixed large"): more noise than [DDPMSmall], exact for data that is normal
// noise. What a model says of the variance is not used.
func DDPMLarge(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	v := make([]float32, len(x))
	for i := range v {
		v[i] = 1
	}
	return ddpm(ctx, denoise, v, x, sigmas, noise, o)
}

// A VarianceDenoiser also predicts the variance of a step: for each element it
// writes to v where it lies between the log variance of the posterior (-1) and
// that of the forward process (1). This is "learned range" of Nichol and
// Dhariwal 2021, arXiv:2102.09672, section 3.1. Both variances are those of the
// run's own, longer, steps: guided-diffusion's respaced betas.
type VarianceDenoiser func(ctx context.Context, dst, v, x []float32, sigma float64) error

// DDPMLearned is ancestral sampling with a model that predicts the variance, as
// many models for pixels do. The denoiser that the Func receives is not used and
// may be nil. [DDPM] with Options.Variance is the same.
func DDPMLearned(model VarianceDenoiser) Func {
	return func(ctx context.Context, _ Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
		v := make([]float32, len(x))
		denoise := func(ctx context.Context, dst, x []float32, sigma float64) error {
			return model(ctx, dst, v, x, sigma)
		}
		return ddpm(ctx, denoise, v, x, sigmas, noise, o)
	}
}

// ddpm steps with the variances of v, which denoise may write.
func ddpm(ctx context.Context, denoise Denoiser, v, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	l, err := begin(ctx, denoise, x, sigmas, noise, o, len(sigmas) > 2)
	if err != nil {
		return err
	}
	denoised := l.slice()
	for i := range l.n {
		sigma, sigmaNext := sigmas[i], sigmas[i+1]
		if err := l.denoise(i, denoised, x, sigma); err != nil {
			return err
		}
		r := sigmaNext / sigma
		sum2(x, r*r, x, 1-r*r, denoised) // the posterior's mean
		if sigmaNext > 0 {
			if k := nonFinite(v); k >= 0 {
				return &NonFiniteError{Step: i + 1, Of: l.n, Sigma: sigma, Index: k, Value: v[k]}
			}
			small := sigmaNext * math.Sqrt(1-r*r)
			// beta of the step, in a process that keeps the variance at 1,
			// divided by its alpha.
			large := math.Sqrt((1 + sigmaNext*sigmaNext) * (sigma*sigma - sigmaNext*sigmaNext) / (1 + sigma*sigma))
			v := v[:len(x)]
			eps := l.normal(sigma, sigmaNext)[:len(x)]
			for k, z := range eps {
				w := (float64(v[k]) + 1) / 2
				x[k] += float32(o.SNoise * math.Pow(small, 1-w) * math.Pow(large, w) * float64(z))
			}
		}
		if err := l.done(i, denoised); err != nil {
			return err
		}
	}
	return nil
}
