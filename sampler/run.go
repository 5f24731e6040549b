package sampler

import (
	"context"
	"fmt"
	"math"
)

// loop is what all samplers share: the model with checks of its answers, the
// noise, and the report of each step.
type loop struct {
	ctx    context.Context
	model  Denoiser
	x      []float32
	sigmas []float64
	n      int // steps
	noise  Noise
	path   IntervalNoise // noise, if it is one
	eps    []float32     // the last noise drawn
	o      Options
}

// begin checks a sampler's arguments. Only a stochastic run needs noise.
func begin(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options, stochastic bool) (*loop, error) {
	if err := sigmas.Check(); err != nil {
		return nil, err
	}
	l := &loop{ctx: ctx, model: denoise, x: x, sigmas: sigmas, n: len(sigmas) - 1, noise: noise, o: o}
	return l, l.init(stochastic)
}

func (l *loop) init(stochastic bool) error {
	if len(l.x) == 0 {
		return &LengthError{"x", 0, 1}
	}
	if err := l.o.check(); err != nil {
		return err
	}
	if u := l.o.Uncond; u != nil && len(u) != len(l.x) {
		return &LengthError{"Options.Uncond", len(u), len(l.x)}
	}
	if v := l.o.Variance; v != nil && len(v) != len(l.x) {
		return &LengthError{"Options.Variance", len(v), len(l.x)}
	}
	if !stochastic {
		return nil
	}
	if l.noise == nil {
		return ErrNoNoise
	}
	l.path, _ = l.noise.(IntervalNoise)
	l.eps = l.slice()
	return nil
}

// slice makes scratch memory for one more sample.
func (l *loop) slice() []float32 { return make([]float32, len(l.x)) }

// denoise evaluates the model, in step i, and checks its answer.
func (l *loop) denoise(i int, dst, x []float32, sigma float64) error {
	err := context.Cause(l.ctx)
	if err == nil {
		err = l.model(l.ctx, dst, x, sigma)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", stepName(i+1, l.n), err)
	}
	if k := nonFinite(dst); k >= 0 {
		return &NonFiniteError{Step: i + 1, Of: l.n, Sigma: sigma, Index: k, Value: dst[k]}
	}
	return nil
}

// uncond is the unguided prediction that belongs to a guided one.
func (l *loop) uncond(denoised []float32) []float32 {
	if l.o.Uncond == nil {
		return denoised
	}
	return l.o.Uncond
}

// stepName names a step in an error; of is 0 in adaptive samplers.
func stepName(step, of int) string {
	if of == 0 {
		return fmt.Sprintf("step %d", step)
	}
	return fmt.Sprintf("step %d of %d", step, of)
}

// normal draws noise for the interval between two noise levels into l.eps.
func (l *loop) normal(sigma, sigmaNext float64) []float32 {
	if l.path != nil {
		l.path.Interval(l.eps, sigma, sigmaNext)
	} else {
		l.noise.Normal(l.eps)
	}
	return l.eps
}

// addNoise adds fresh noise of the given standard deviation to x. If that is 0,
// as in a final step to sigma 0, it draws nothing.
func (l *loop) addNoise(x []float32, std, sigma, sigmaNext float64) {
	if std > 0 {
		add(x, std*l.o.SNoise, l.normal(sigma, sigmaNext))
	}
}

// churn raises x from the noise level of step i to a higher one, sigma hat
// (algorithm 2 of Karras et al. 2022).
func (l *loop) churn(i int, x []float32) (sigmaHat float64) {
	sigma := l.sigmas[i]
	if !(l.o.SChurn > 0 && l.o.STMin <= sigma && sigma <= l.o.STMax) {
		return sigma
	}
	gamma := min(l.o.SChurn/float64(l.n), math.Sqrt2-1)
	if l.o.Process != nil && l.o.Process.kind == KindFlow {
		return l.flowChurn(x, sigma, gamma)
	}
	sigmaHat = sigma * (gamma + 1)
	l.addNoise(x, noiseBetween(sigma, sigmaHat), sigma, sigmaHat)
	return sigmaHat
}

// done reports that step i is done.
func (l *loop) done(i int, denoised []float32) error {
	if l.o.OnStep == nil {
		return nil
	}
	return l.o.OnStep(Step{Index: i + 1, Of: l.n, Sigma: l.sigmas[i], SigmaNext: l.sigmas[i+1], X: l.x, Denoised: denoised})
}

// process is the process of the options, or the default.
func (o *Options) process() *Process {
	if o.Process == nil {
		return StableDiffusion()
	}
	return o.Process
}
