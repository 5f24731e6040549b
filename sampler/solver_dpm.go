package sampler

import (
	"context"
	"fmt"
	"math"
)

// dpm takes steps of DPM-Solver (Lu et al. 2022, "DPM-Solver: A Fast ODE Solver
// for Diffusion Probabilistic Model Sampling in Around 10 Steps",
// arXiv:2206.00927). It integrates eps = (x - x0)/sigma over t = -log(sigma).
type dpm struct {
	*loop
	i                  int // the step, for errors
	eps, eps1, eps2, u []float32
	denoised           []float32
}

func newDPM(l *loop) *dpm {
	return &dpm{loop: l, eps: l.slice(), eps1: l.slice(), eps2: l.slice(), u: l.slice(), denoised: l.slice()}
}

// epsilon evaluates the model at noise level e^-t and writes its eps.
func (d *dpm) epsilon(dst, x []float32, t float64) error {
	sigma := math.Exp(-t)
	if err := d.denoise(d.i, dst, x, sigma); err != nil {
		return err
	}
	if &dst[0] == &d.eps[0] {
		copy(d.denoised, dst)
	}
	sum2(dst, 1/sigma, x, -1/sigma, dst)
	return nil
}

// first writes the first-order step to dst.
func (d *dpm) first(dst []float32, t, tNext float64) {
	sum2(dst, 1, d.x, -math.Exp(-tNext)*math.Expm1(tNext-t), d.eps)
}

// probe evaluates eps at the fraction r of a step, after a first-order step to
// there.
func (d *dpm) probe(dst []float32, r, t, tNext float64) error {
	s := t + r*(tNext-t)
	d.first(d.u, t, s)
	return d.epsilon(dst, d.u, s)
}

// second writes the second-order step to dst, from eps and from eps1 at the
// fraction r.
func (d *dpm) second(dst []float32, r, t, tNext float64) {
	k := math.Exp(-tNext) * math.Expm1(tNext-t)
	sum3(dst, 1, d.x, -k+k/(2*r), d.eps, -k/(2*r), d.eps1)
}

// third writes the third-order step to dst, from eps, eps1 at a third, and
// eps2 at two thirds, which it evaluates.
func (d *dpm) third(dst []float32, t, tNext float64) error {
	const r1, r2 = 1.0 / 3, 2.0 / 3
	h := tNext - t
	s2 := t + r2*h
	sigma := math.Exp(-s2)
	k := sigma * (r2 / r1) * (math.Expm1(r2*h)/(r2*h) - 1)
	sum3(d.u, 1, d.x, -sigma*math.Expm1(r2*h)+k, d.eps, -k, d.eps1)
	if err := d.epsilon(d.eps2, d.u, s2); err != nil {
		return err
	}
	sigma = math.Exp(-tNext)
	k = sigma / r2 * (math.Expm1(h)/h - 1)
	sum3(dst, 1, d.x, -sigma*math.Expm1(h)+k, d.eps, -k, d.eps2)
	return nil
}

// target returns the time to which a step to tNext goes before fresh noise of
// standard deviation up is added. It is at most tEnd.
func (d *dpm) target(t, tNext, tEnd float64) (to, up float64) {
	if d.o.Eta == 0 {
		return tNext, 0
	}
	down, _ := ancestral(math.Exp(-t), math.Exp(-tNext), d.o.Eta)
	to = min(tEnd, -math.Log(down))
	return to, math.Sqrt(max(math.Exp(-2*tNext)-math.Exp(-2*to), 0))
}

// span returns the time at the first noise level and at the last above 0, and
// whether they differ, as they do not in a single step to 0.
func span(sigmas []float64) (tStart, tEnd float64, ok bool) {
	last := sigmas[len(sigmas)-1]
	if last == 0 {
		last = sigmas[len(sigmas)-2]
	}
	return -math.Log(sigmas[0]), -math.Log(last), last < sigmas[0]
}

// DPMFast is DPM-Solver-fast, as k-diffusion's sample_dpm_fast: steps of order
// 3, and at the end one of lower order, even in log(sigma), with as many
// evaluations in all as the sigmas have steps. Of the sigmas it uses only the
// first and the last above 0, where it ends, as in k-diffusion. Its usual eta is
// 0.
func DPMFast(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	l, err := begin(ctx, denoise, x, sigmas, noise, o, o.Eta > 0)
	if err != nil {
		return err
	}
	tStart, tEnd, ok := span(sigmas)
	if !ok {
		return Euler(ctx, denoise, x, sigmas, noise, o)
	}
	d := newDPM(l)
	evaluations := l.n
	l.n = evaluations/3 + 1
	for i := range l.n {
		d.i = i
		order := 3
		if rest := evaluations % 3; i == l.n-1 {
			order = max(rest, 1)
		} else if i == l.n-2 && rest == 0 {
			order = 2
		}
		t := tStart + (tEnd-tStart)*float64(i)/float64(l.n)
		tNext := tStart + (tEnd-tStart)*float64(i+1)/float64(l.n)
		to, up := d.target(t, tNext, tEnd)
		if err := d.step(order, t, to); err != nil {
			return err
		}
		d.loop.addNoise(x, up, math.Exp(-t), math.Exp(-tNext))
		if err := d.report(i, l.n, t, tNext); err != nil {
			return err
		}
	}
	return nil
}

// step takes a step of the given order, in place.
func (d *dpm) step(order int, t, tNext float64) error {
	if err := d.epsilon(d.eps, d.x, t); err != nil {
		return err
	}
	switch order {
	case 1:
		d.first(d.x, t, tNext)
		return nil
	case 2:
		if err := d.probe(d.eps1, 1.0/2, t, tNext); err != nil {
			return err
		}
		d.second(d.x, 1.0/2, t, tNext)
		return nil
	}
	if err := d.probe(d.eps1, 1.0/3, t, tNext); err != nil {
		return err
	}
	return d.third(d.x, t, tNext)
}

// report calls OnStep for a step between two times.
func (d *dpm) report(i, of int, t, tNext float64) error {
	if d.o.OnStep == nil {
		return nil
	}
	return d.o.OnStep(Step{Index: i + 1, Of: of, Sigma: math.Exp(-t), SigmaNext: math.Exp(-tNext), X: d.x, Denoised: d.denoised})
}

// maxAdaptive bounds the steps of adaptive samplers.
const maxAdaptive = 10_000

// DPMAdaptive is DPM-Solver-12 or -23 (Order 2 or 3, usually 3) with steps as
// long as the tolerances ATol and RTol allow, as k-diffusion's
// sample_dpm_adaptive. Of the sigmas it uses only the first and the last above
// 0, where it ends. Its usual eta is 0. All pictures of a batch take the same
// steps, so they differ a little from single runs.
func DPMAdaptive(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	l, err := begin(ctx, denoise, x, sigmas, noise, o, o.Eta > 0)
	if err != nil {
		return err
	}
	order, err := l.order(3, 3)
	if err != nil {
		return err
	}
	if order < 2 {
		return &OptionError{"Order", float64(order), "2 or 3"}
	}
	t, tEnd, ok := span(sigmas)
	if !ok {
		return Euler(ctx, denoise, x, sigmas, noise, o)
	}
	d := newDPM(l)
	d.i, l.n = -1, 0 // the number of steps is not known
	low, high, last := l.slice(), l.slice(), l.slice()
	copy(last, x)
	h, exponent := 0.05, 1/float64(order)
	if o.Eta > 0 {
		exponent = 1 / 1.5
	}
	for steps := 0; t < tEnd-1e-5; {
		if d.i++; d.i > maxAdaptive || !(t+h > t) {
			return fmt.Errorf("at sigma %.4g after %d steps: %w", math.Exp(-t), steps, ErrStuck)
		}
		tNext := min(tEnd, t+h)
		to, up := d.target(t, tNext, tEnd)
		if err := d.embedded(order, low, high, t, to); err != nil {
			return err
		}
		inverse := 1 / (o.distance(low, high, last) + 1e-8)
		factor := 1 + math.Atan(math.Pow(inverse, exponent)-1)
		h *= factor
		if !(factor >= 0.81) {
			continue
		}
		copy(last, low)
		copy(x, high)
		l.addNoise(x, up, math.Exp(-t), math.Exp(-tNext))
		if err := d.report(steps, 0, t, tNext); err != nil {
			return err
		}
		t, steps = tNext, steps+1
	}
	return nil
}

// embedded takes a step with two methods that share evaluations.
func (d *dpm) embedded(order int, low, high []float32, t, tNext float64) error {
	if err := d.epsilon(d.eps, d.x, t); err != nil {
		return err
	}
	r := 1 / float64(order)
	if err := d.probe(d.eps1, r, t, tNext); err != nil {
		return err
	}
	if order == 2 {
		d.first(low, t, tNext)
		d.second(high, r, t, tNext)
		return nil
	}
	d.second(low, r, t, tNext)
	return d.third(high, t, tNext)
}

// distance is the root mean square of low - high, in units of the tolerance.
func (o *Options) distance(low, high, last []float32) float64 {
	high, last = high[:len(low)], last[:len(low)]
	var sum float64
	for i, v := range low {
		scale := max(math.Abs(float64(v)), math.Abs(float64(last[i])))
		e := (float64(v) - float64(high[i])) / max(o.ATol, o.RTol*scale)
		sum += e * e
	}
	return math.Sqrt(sum / float64(len(low)))
}
