package sampler

import (
	"context"
	"math"
)

// Seeds2 is SEEDS-2 of Gonzalez et al. 2023 ("SEEDS: Exponential SDE Solvers
// for Fast High-Quality Sampling from Diffusion Models", arXiv:2305.14267), as
// ComfyUI's seeds_2: an exponential midpoint method whose noise of both halves
// is one path. Two evaluations a step.
func Seeds2(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	return seeds2(ctx, denoise, x, sigmas, noise, o, 0.5, func(h float64) (b1, b2 float64) {
		return 0, -math.Expm1(-h)
	})
}

// ExpHeun is the exponential Heun method, as ComfyUI's exp_heun_2_x0: [Seeds2]
// with its second evaluation at the end of the step, and the prediction linear
// between both. With Eta > 0 it is exp_heun_2_x0_sde. Two evaluations a step.
func ExpHeun(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	return seeds2(ctx, denoise, x, sigmas, noise, o, 1, func(h float64) (b1, b2 float64) {
		b2 = phi2(h)
		return -math.Expm1(-h) - b2, b2
	})
}

// seeds2 evaluates at the start and at the fraction r of each step; weights are
// those of the two predictions in a step of length h(1+eta).
func seeds2(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options, r float64, weights func(h float64) (b1, b2 float64)) error {
	l, err := begin(ctx, denoise, x, sigmas, noise, o, o.Eta > 0)
	if err != nil {
		return err
	}
	d1, x2, d2 := l.slice(), l.slice(), l.slice()
	p := l.stepPath()
	for i := range l.n {
		if err := l.denoise(i, d1, x, sigmas[i]); err != nil {
			return err
		}
		if sigmas[i+1] == 0 {
			copy(x, d1)
		} else {
			h := math.Log(sigmas[i] / sigmas[i+1])
			mid := sigmas[i] * math.Exp(-r*h)
			hEta := h * (1 + o.Eta)
			sum2(x2, math.Exp(-r*hEta), x, -math.Expm1(-r*hEta), d1)
			p.restart()
			p.add(x2, r*h*o.Eta, sigmas[i], mid)
			if err := l.denoise(i, d2, x2, mid); err != nil {
				return err
			}
			b1, b2 := weights(hEta)
			sum3(x, math.Exp(-hEta), x, b1, d1, b2, d2)
			p.add(x, (1-r)*h*o.Eta, mid, sigmas[i+1])
		}
		if err := l.done(i, d1); err != nil {
			return err
		}
	}
	return nil
}

// Seeds3 is SEEDS-3, with evaluations at the start and at one and two thirds
// of each step, as ComfyUI's seeds_3.
func Seeds3(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	const r1, r2 = 1.0 / 3, 2.0 / 3
	l, err := begin(ctx, denoise, x, sigmas, noise, o, o.Eta > 0)
	if err != nil {
		return err
	}
	d1, u, d2, d3 := l.slice(), l.slice(), l.slice(), l.slice()
	p := l.stepPath()
	for i := range l.n {
		if err := l.denoise(i, d1, x, sigmas[i]); err != nil {
			return err
		}
		if sigmas[i+1] == 0 {
			copy(x, d1)
		} else {
			h := math.Log(sigmas[i] / sigmas[i+1])
			hEta := h * (1 + o.Eta)
			mid1, mid2 := sigmas[i]*math.Exp(-r1*h), sigmas[i]*math.Exp(-r2*h)
			sum2(u, math.Exp(-r1*hEta), x, -math.Expm1(-r1*hEta), d1)
			p.restart()
			p.add(u, r1*h*o.Eta, sigmas[i], mid1)
			if err := l.denoise(i, d2, u, mid1); err != nil {
				return err
			}
			b := r2 / r1 * phi2(r2*hEta)
			sum3(u, math.Exp(-r2*hEta), x, -math.Expm1(-r2*hEta)-b, d1, b, d2)
			p.add(u, (r2-r1)*h*o.Eta, mid1, mid2)
			if err := l.denoise(i, d3, u, mid2); err != nil {
				return err
			}
			b = phi2(hEta) / r2
			sum3(x, math.Exp(-hEta), x, -math.Expm1(-hEta)-b, d1, b, d3)
			p.add(x, (1-r2)*h*o.Eta, mid2, sigmas[i+1])
		}
		if err := l.done(i, d1); err != nil {
			return err
		}
	}
	return nil
}

// stepPath is the noise of one step over its stages: the noise of a stage is a
// part of that of the stage before, and fresh noise.
type stepPath struct {
	l *loop
	z []float32
}

func (l *loop) stepPath() *stepPath {
	p := &stepPath{l: l}
	if l.eps != nil {
		p.z = l.slice()
	}
	return p
}

func (p *stepPath) restart() { clear(p.z) }

// add continues the path by k = eta·h from one noise level to the next, and adds
// it to x there.
func (p *stepPath) add(x []float32, k, sigma, sigmaNext float64) {
	if p.z == nil {
		return
	}
	if k > 0 {
		sum2(p.z, math.Exp(-k), p.z, math.Sqrt(-math.Expm1(-2*k))*p.l.o.SNoise, p.l.normal(sigma, sigmaNext))
	}
	add(x, sigmaNext, p.z)
}
