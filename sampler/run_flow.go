package sampler

import "context"

// A flow's sample x = (1-s)·x0 + s·eps at level s is the diffusion's sample
// x/(1-s) = x0 + sigma·eps at sigma = s/(1-s). What only follows the ODE looks
// the same in both: dx/ds = (x - x0)/s. What adds noise does not, and runs in
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
		levels := make([]float64, len(sigmas))
		for i, s := range sigmas {
			levels[i] = s / (1 - s)
		}
		if top := max(flowTop, (1+sigmas[1])/2); sigmas[0] > top {
			levels[0] = top / (1 - top)
		}
		multiply(x, 1+levels[0])
		o.Process = o.Process.asDiffusion()
		if report := o.OnStep; report != nil {
			native := make([]float32, len(x))
			o.OnStep = func(s Step) error {
				sum2(native, 1/(1+s.SigmaNext), s.X, 0, s.X)
				s.X, s.Sigma, s.SigmaNext = native, s.Sigma/(1+s.Sigma), s.SigmaNext/(1+s.SigmaNext)
				return report(s)
			}
		}
		err := sample(ctx, flowDenoiser(denoise), x, levels, noise, o)
		multiply(x, 1/(1+levels[len(levels)-1]))
		return err
	}
}

// flowTop stands for a flow's level 1, which would be an infinite sigma.
const flowTop = 0.9999

// flowDenoiser turns the denoiser of a flow into one for x0 + sigma·eps.
func flowDenoiser(denoise Denoiser) Denoiser {
	var scaled []float32
	return func(ctx context.Context, dst, x []float32, sigma float64) error {
		scaled = scaleInto(scaled, x, 1/(1+sigma))
		return denoise(ctx, dst, scaled, sigma/(1+sigma))
	}
}

// asDiffusion is the process of a flow's timesteps in the notation x0 +
// sigma·eps.
func (p *Process) asDiffusion() *Process {
	at := func(s float64) float64 { s = min(s, flowTop); return s / (1 - s) }
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
