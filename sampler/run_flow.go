package sampler

import (
	"context"
)

// A flow's sample x = (1-s)·x0 + s·eps at level s is the diffusion's sample
// x/(1-s) = x0 + sigma·eps at sigma = s/(1-s). What only follows the ODE has the
// same formulas in both: dx/ds = (x - x0)/s. What adds noise has not, and runs in
// the diffusion's notation.

// onFlow makes a sampler that adds noise into one for flows.
func onFlow(sample Func) Func {
	return func(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
		if err := sigmas.Check(); err != nil {
			return err
		}
		if sigmas[0] > 1 {
			return &SigmasError{0, sigmas[0], "must be at most 1 in a flow"}
		}
		levels := flowLevels(sigmas)
		native := func(sigma float64) (s, scale float64) {
			if sigma >= levels[0]*(1-rounding) && sigmas[0] == 1 {
				return 1, 1 / sigma // all noise
			}
			return sigma / (1 + sigma), 1 / (1 + sigma)
		}
		var scaled, shown []float32
		model := func(ctx context.Context, dst, x []float32, sigma float64) error {
			s, k := native(sigma)
			scaled = scaleInto(scaled, x, k)
			return denoise(ctx, dst, scaled, s)
		}
		now, report := levels[0], o.OnStep
		o.OnStep = func(step Step) error {
			now = step.SigmaNext // dpm_fast ends above the last of the sigmas
			if report == nil {
				return nil
			}
			next, k := native(step.SigmaNext)
			shown = scaleInto(shown, step.X, k)
			step.Sigma, _ = native(step.Sigma)
			step.X, step.SigmaNext = shown, next
			return report(step)
		}
		o.Process = o.Process.asDiffusion()
		_, k := native(now)
		multiply(x, 1/k)
		err := sample(ctx, model, x, levels, noise, o)
		_, k = native(now)
		multiply(x, k)
		return err
	}
}

// flowLevels are a flow's levels in the notation of diffusions. Level 1 would be
// infinite: there a sample is noise alone, and may stand for any level at which
// next to nothing is left of the clean one. It continues the ratio of the steps,
// so that the first one is not out of proportion.
func flowLevels(sigmas Sigmas) Sigmas {
	levels := make(Sigmas, len(sigmas))
	for i, s := range sigmas {
		levels[i] = s / (1 - s)
	}
	if sigmas[0] == 1 {
		levels[0] = 100
		if len(levels) > 2 && levels[2] > 0 {
			levels[0] = max(levels[0], levels[1]*levels[1]/levels[2])
		}
		levels[0] = max(min(levels[0], 1e4), 2*levels[1])
	}
	return levels
}

// asDiffusion is the process of a flow's timesteps in the notation of
// diffusions.
func (p *Process) asDiffusion() *Process {
	at := func(s float64) float64 { s = min(s, 0.9999); return s / (1 - s) }
	levels := make([]float64, len(p.levels))
	for i, s := range p.levels {
		levels[i] = at(s)
	}
	return &Process{
		kind: KindVE, levels: levels, sigmaData: 1,
		sigmaToT: func(sigma float64) float64 { return p.sigmaToT(sigma / (1 + sigma)) },
		tToSigma: func(t float64) float64 { return at(p.tToSigma(t)) },
	}
}

// flowChurn raises a flow's sample x from level s to the one whose noise-to-
// signal ratio is 1+gamma times as high.
func (l *loop) flowChurn(x []float32, s, gamma float64) float64 {
	if s >= 1 {
		return s
	}
	sigma := s / (1 - s)
	hat := sigma * (1 + gamma)
	sHat := hat / (1 + hat)
	multiply(x, (1-sHat)/(1-s))
	l.addNoise(x, noiseBetween(sigma, hat)*(1-sHat), s, sHat)
	return sHat
}
