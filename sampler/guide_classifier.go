package sampler

import (
	"context"
	"math"
)

// StepVariance says which variance the steps of an ancestral sampler have.
type StepVariance string

// The variances. Other samplers have none of them, "".
const (
	VarianceLearned StepVariance = "learned" // what the model predicts, else VarianceSmall
	VarianceSmall   StepVariance = "small"   // the posterior's
	VarianceLarge   StepVariance = "large"   // the forward process's
)

// ClassifierMean is classifier guidance of ancestral sampling (algorithm 1 of Dhariwal and
// Nichol 2021, arXiv:2105.05233): the mean of each step is shifted by its variance times the
// gradient of log p(y | z), where z is the sample of a process that keeps the variance at 1.
// To first order it is [Classifier], which is their algorithm 2. At a step from sigma to
// sigmaNext, whose noise has the variance v in this package's notation,
//
//	D' = D + scale·v/(1 - (sigmaNext/sigma)²)·sqrt((1 + sigma²)/(1 + sigmaNext²))·grad
//
// sigmas are those of the run, which must be that of ddpm, ddpm_small or ddpm_large, as kind
// says; learned is its Options.Variance, nil for none. The last step, which adds no noise,
// has the variance of guided-diffusion's code: none where kind is small, the posterior's of
// the step before where it is large.
func ClassifierMean(denoise Denoiser, grad Gradient, scale float64, sigmas Sigmas, kind StepVariance, learned []float32) Denoiser {
	var g []float32
	return func(ctx context.Context, dst, x []float32, sigma float64) error {
		if err := denoise(ctx, dst, x, sigma); err != nil {
			return err
		}
		g = grow(g, len(x))
		if err := grad(ctx, g, x, dst, sigma); err != nil {
			return err
		}
		next := sigmas.after(sigma)
		r := next / sigma
		small, large := stepVariances(sigmas, sigma, next)
		weight := scale / (1 - r*r) * math.Sqrt((1+sigma*sigma)/(1+next*next))
		switch {
		case kind == VarianceLearned && learned != nil:
			if len(learned) != len(x) {
				return &LengthError{"Options.Variance", len(learned), len(x)}
			}
			for i, v := range learned {
				w := (float64(v) + 1) / 2
				dst[i] += float32(weight * math.Pow(small, 1-w) * math.Pow(large, w) * float64(g[i]))
			}
		case kind != VarianceLarge && next > 0:
			add(dst, weight*small, g)
		case kind == VarianceLarge && next > 0:
			add(dst, weight*large, g)
		case kind == VarianceLarge:
			add(dst, weight*small, g)
		}
		return nil
	}
}

// after is the noise level of a run that follows one: of the step that a sampler is in.
func (s Sigmas) after(sigma float64) float64 {
	for _, next := range s {
		if next < sigma*(1-rounding) {
			return next
		}
	}
	return 0
}

// before is the noise level of a run before one; 0 if it is the first.
func (s Sigmas) before(sigma float64) (before float64) {
	for _, level := range s {
		if level <= sigma*(1+rounding) {
			break
		}
		before = level
	}
	return before
}

// stepVariances are the variances of the posterior and of the forward process of a step, in
// this package's notation. Those of the last one, without noise, are what guided-diffusion
// has in their place: the posterior's of the step before, and beta.
func stepVariances(sigmas Sigmas, sigma, next float64) (small, large float64) {
	s2, n2 := sigma*sigma, next*next
	if next > 0 {
		return n2 * (1 - n2/s2), (1 + n2) * (s2 - n2) / (1 + s2)
	}
	if b := sigmas.before(sigma); b > 0 {
		small = s2 * (1 - s2/(b*b)) / (1 + s2)
	}
	return small, s2 / (1 + s2)
}
