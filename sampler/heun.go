package sampler

import (
	"context"
	"math"
)

// Heun is algorithm 2 of Karras et al. 2022: an Euler step, then a second look
// from where it led, and a step with the mean of both slopes. Second order,
// two evaluations a step but the last.
func Heun(ctx context.Context, denoise Denoiser, x []float32, sigmas []float64, noise Noise, o Options) error {
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

// heun takes the step of [Heun] from sigma to sigmaNext, where the model has
// answered already for x.
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
func DPM2(ctx context.Context, denoise Denoiser, x []float32, sigmas []float64, noise Noise, o Options) error {
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
func DPM2Ancestral(ctx context.Context, denoise Denoiser, x []float32, sigmas []float64, noise Noise, o Options) error {
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

// midpoint takes the step of [DPM2] from sigma to sigmaNext, where the model
// has answered already for x.
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
