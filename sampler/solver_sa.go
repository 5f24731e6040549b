package sampler

import (
	"context"
	"math"
)

// SASolverOptions are the parameters of SA-Solver.
type SASolverOptions struct {
	Predictor, Corrector int  // orders, 1 to 4; a corrector of order 0 is none
	PECE                 bool // whether the corrected sample is evaluated, too
	// Simple is whether weights of order 2 are the simpler ones of the paper's
	// appendix D, as in the diffusers library.
	Simple bool
	// Tau is how stochastic a step between two noise levels is: 0 follows the
	// ODE, 1 the SDE. nil stands for Options.Eta where SigmaToT(sigmaNext) is
	// within 20 to 80 % of the timesteps, and 0 elsewhere.
	Tau func(sigma, sigmaNext float64) float64
}

// SASolver is SA-Solver of Xue et al. 2023 ("SA-Solver: Stochastic Adams Solver
// for Fast Sampling of Diffusion Models", arXiv:2309.05019, algorithm 1), with
// a predictor of order 3 and a corrector of order 4, as ComfyUI's sa_solver. Eta
// is its tau in the middle of the timesteps ([SASolverOptions]), for which it
// needs Options.Process. One evaluation a step.
func SASolver(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	return SASolverWith(SASolverOptions{Predictor: 3, Corrector: 4})(ctx, denoise, x, sigmas, noise, o)
}

// SASolverPECE is [SASolver] that predicts, evaluates, corrects and evaluates,
// as ComfyUI's sa_solver_pece. Two evaluations a step.
func SASolverPECE(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	return SASolverWith(SASolverOptions{Predictor: 3, Corrector: 4, PECE: true})(ctx, denoise, x, sigmas, noise, o)
}

// SASolverWith is [SASolver] with other parameters.
func SASolverWith(s SASolverOptions) Func {
	return func(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
		l, err := begin(ctx, denoise, x, sigmas, noise, o, o.Eta > 0 || s.Tau != nil)
		if err != nil {
			return err
		}
		if err := s.check(); err != nil {
			return err
		}
		tau := s.Tau
		if tau == nil {
			tau = tauWithin(o.process(), o.Eta)
		}
		models, last := l.history(max(s.Predictor, s.Corrector)), l.slice()
		// Orders fall towards the end of the steps that take a predictor.
		steps := l.n
		if sigmas[l.n] == 0 {
			steps--
		}
		var step saStep // from last to x
		for i := range l.n {
			m := models.next()
			if err := l.denoise(i, m, x, sigmas[i]); err != nil {
				return err
			}
			order := min(s.Corrector, i+1, steps+1-i)
			if i > 0 && order > 0 && (sigmas[i+1] > 0 || s.PECE) {
				step.take(x, last, sigmas[:i+1], models, order, s.Simple)
				step.addNoise(x, l.eps, o.SNoise) // the predictor's
				if s.PECE {
					if err := l.denoise(i, m, x, sigmas[i]); err != nil {
						return err
					}
				}
			}
			if sigmas[i+1] == 0 {
				copy(x, m)
			} else {
				copy(last, x)
				step = saStep{sigmas[i], sigmas[i+1], tau(sigmas[i], sigmas[i+1])}
				if !(step.tau >= 0) || math.IsInf(step.tau, 1) {
					return &OptionError{"Tau", step.tau, "finite and 0 or more"}
				}
				step.take(x, last, sigmas[:i+1], models, min(s.Predictor, i+1, steps-i), s.Simple)
				if step.deviation() > 0 {
					step.addNoise(x, l.normal(step.sigma, step.next), o.SNoise)
				}
			}
			if err := l.done(i, m); err != nil {
				return err
			}
		}
		return nil
	}
}

// saStep is a step of SA-Solver between two noise levels.
type saStep struct{ sigma, next, tau float64 }

// take takes the step from last to x, but for its noise, with the predictions
// at the last order of the noise levels, the newest of which is that of the
// step's beginning, or for a corrector that of its end:
//
//	x' = next/sigma·e^(-tau²h)·x + Σ b_j·D_j
func (s *saStep) take(x, last []float32, levels []float64, models *history, order int, simple bool) {
	sum2(x, s.next/s.sigma*math.Exp(-s.tau*s.tau*s.h()), last, 0, last)
	for j := range order {
		add(x, s.weight(levels, j, order, simple), models.back(j))
	}
}

func (s *saStep) h() float64 { return math.Log(s.sigma / s.next) }

// weight is b_j of equations 15 and 18: over lambda = -log(sigma), the integral
//
//	∫ k·e^(k·(lambda - lambda'))·L_j(lambda) dlambda,   k = 1 + tau²,
//
// where L_j is 1 at the j-th last noise level and 0 at the others.
func (s *saStep) weight(levels []float64, j, order int, simple bool) float64 {
	k, h := 1+s.tau*s.tau, s.h()
	now := levels[len(levels)-1]
	if simple && order == 2 {
		// A line from the step's beginning, with e^(…) taken for 1 in its
		// second term: the slope between both predictions times k·h²/2.
		slope, level := k*h*h/2/math.Log(levels[len(levels)-2]/now), -math.Expm1(-k*h)
		if now == s.next {
			return [2]float64{slope, level - slope}[j]
		}
		return [2]float64{level + slope, -slope}[j]
	}
	var at [4]float64
	for m := range order {
		at[m] = -math.Log(levels[len(levels)-1-m])
	}
	end := -math.Log(s.next)
	return integrate(-math.Log(s.sigma), end, func(u float64) float64 {
		return k * math.Exp(k*(u-end)) * lagrange(at[:order], j, u)
	})
}

// addNoise adds the step's noise, eps of unit variance, to x.
func (s *saStep) addNoise(x []float32, eps []float32, sNoise float64) {
	if std := s.deviation(); std > 0 {
		add(x, std*sNoise, eps)
	}
}

// deviation is the standard deviation of the step's noise.
func (s *saStep) deviation() float64 {
	return s.next * math.Sqrt(-math.Expm1(-2*s.tau*s.tau*s.h()))
}

func (s *SASolverOptions) check() error {
	if s.Predictor < 1 || s.Predictor > 4 {
		return &OptionError{"Predictor", float64(s.Predictor), "1 to 4"}
	}
	if s.Corrector < 0 || s.Corrector > 4 {
		return &OptionError{"Corrector", float64(s.Corrector), "0 to 4"}
	}
	return nil
}

// tauWithin is eta within 20 to 80 % of the timesteps, and 0 elsewhere.
func tauWithin(p *Process, eta float64) func(sigma, sigmaNext float64) float64 {
	first, last := tRange(p)
	low, high := p.TToSigma(first+0.2*(last-first)), p.TToSigma(first+0.8*(last-first))
	return func(_, sigmaNext float64) float64 {
		if low <= sigmaNext && sigmaNext <= high {
			return eta
		}
		return 0
	}
}
