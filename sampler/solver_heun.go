package sampler

import (
	"context"
	"math"
)

// Heun is algorithm 2 of Karras et al. 2022: an Euler step, an evaluation at its
// end, and the step again with the mean of both slopes. Second order, two
// evaluations a step but the last.
func Heun(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	l, err := begin(ctx, denoise, x, sigmas, noise, o, o.SChurn > 0)
	if err != nil {
		return err
	}
	denoised, x2, denoised2 := l.slice(), l.slice(), l.slice()
	for i := range l.n {
		sigmaHat, sigmaNext := l.churn(i, x), sigmas[i+1]
		if err := l.denoise(i, denoised, x, sigmaHat); err != nil {
			return err
		}
		if err := l.heun(i, denoised, x2, denoised2, sigmaHat, sigmaNext); err != nil {
			return err
		}
		if err := l.done(i, denoised); err != nil {
			return err
		}
	}
	return nil
}

// heun takes the step of [Heun] from sigma to sigmaNext; denoised is the
// model's prediction at its beginning.
func (l *loop) heun(i int, denoised, x2, denoised2 []float32, sigma, sigmaNext float64) error {
	toward(x2, l.x, denoised, sigma, sigmaNext)
	if sigmaNext == 0 {
		copy(l.x, x2)
		return nil
	}
	if err := l.denoise(i, denoised2, x2, sigmaNext); err != nil {
		return err
	}
	// x + h·(d + d2)/2 with d = (x - denoised)/sigma, and so for x2.
	h := (sigmaNext - sigma) / 2
	sum3(l.x, 1+h/sigma, l.x, -h/sigma, denoised, h/sigmaNext, x2)
	add(l.x, -h/sigmaNext, denoised2)
	return nil
}

// DPM2 is the midpoint method in log(sigma), inspired by DPM-Solver-2 (Lu et
// al. 2022, arXiv:2206.00927), as k-diffusion's sample_dpm_2. Second order,
// two evaluations a step but the last.
func DPM2(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	l, err := begin(ctx, denoise, x, sigmas, noise, o, o.SChurn > 0)
	if err != nil {
		return err
	}
	denoised, x2, denoised2 := l.slice(), l.slice(), l.slice()
	for i := range l.n {
		sigmaHat := l.churn(i, x)
		if err := l.denoise(i, denoised, x, sigmaHat); err != nil {
			return err
		}
		if err := l.midpoint(i, denoised, x2, denoised2, sigmaHat, sigmas[i+1]); err != nil {
			return err
		}
		if err := l.done(i, denoised); err != nil {
			return err
		}
	}
	return nil
}

// DPM2Ancestral is [DPM2] with ancestral noise, as k-diffusion's
// sample_dpm_2_ancestral.
func DPM2Ancestral(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	l, err := begin(ctx, denoise, x, sigmas, noise, o, o.Eta > 0)
	if err != nil {
		return err
	}
	denoised, x2, denoised2 := l.slice(), l.slice(), l.slice()
	for i := range l.n {
		sigma, sigmaNext := sigmas[i], sigmas[i+1]
		if err := l.denoise(i, denoised, x, sigma); err != nil {
			return err
		}
		down, up := ancestral(sigma, sigmaNext, o.Eta)
		if err := l.midpoint(i, denoised, x2, denoised2, sigma, down); err != nil {
			return err
		}
		l.addNoise(x, up, sigma, sigmaNext)
		if err := l.done(i, denoised); err != nil {
			return err
		}
	}
	return nil
}

// midpoint takes the step of [DPM2] from sigma to sigmaNext; denoised is the
// model's prediction at its beginning.
func (l *loop) midpoint(i int, denoised, x2, denoised2 []float32, sigma, sigmaNext float64) error {
	if sigmaNext == 0 {
		toward(l.x, l.x, denoised, sigma, 0)
		return nil
	}
	sigmaMid := math.Sqrt(sigma * sigmaNext)
	toward(x2, l.x, denoised, sigma, sigmaMid)
	if err := l.denoise(i, denoised2, x2, sigmaMid); err != nil {
		return err
	}
	h := (sigmaNext - sigma) / sigmaMid
	sum3(l.x, 1, l.x, h, x2, -h, denoised2)
	return nil
}

// HeunPP2 is Heun++ of the web UI's community, as ComfyUI's heunpp2: up to
// three slopes, weighted by their noise levels relative to the highest. A
// heuristic rather than a method with an order. Up to three evaluations a step.
func HeunPP2(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	l, err := begin(ctx, denoise, x, sigmas, noise, o, o.SChurn > 0)
	if err != nil {
		return err
	}
	denoised, x2 := l.slice(), l.slice()
	d1, d2, d3 := l.slice(), l.slice(), l.slice()
	for i := range l.n {
		sigmaHat := l.churn(i, x)
		h := sigmas[i+1] - sigmaHat
		if err := l.denoise(i, denoised, x, sigmaHat); err != nil {
			return err
		}
		slope(d1, x, denoised, sigmaHat)
		left := min(l.n-1-i, 2) // slopes beyond the first
		if left >= 1 {
			sum2(x2, 1, x, h, d1)
			if err := l.slopeAt(i, d2, x2, sigmas[i+1]); err != nil {
				return err
			}
		}
		switch left {
		case 0:
			add(x, h, d1)
		case 1:
			w2 := sigmas[i+1] / (2 * sigmas[0])
			sum3(x, 1, x, h*(1-w2), d1, h*w2, d2)
		case 2:
			add(x2, sigmas[i+2]-sigmas[i+1], d2)
			if err := l.slopeAt(i, d3, x2, sigmas[i+2]); err != nil {
				return err
			}
			w2, w3 := sigmas[i+1]/(3*sigmas[0]), sigmas[i+2]/(3*sigmas[0])
			sum3(x, 1, x, h*(1-w2-w3), d1, h*w2, d2)
			add(x, h*w3, d3)
		}
		if err := l.done(i, denoised); err != nil {
			return err
		}
	}
	return nil
}

// slopeAt evaluates the model and writes the ODE's slope.
func (l *loop) slopeAt(i int, dst, x []float32, sigma float64) error {
	if err := l.denoise(i, dst, x, sigma); err != nil {
		return err
	}
	slope(dst, x, dst, sigma)
	return nil
}
