package sampler

import (
	"context"
	"math"
)

// ResMultistep is the second-order multistep method of Zhang et al. 2023
// ("Improved Order Analysis and Design of Exponential Integrator for Diffusion
// Models Sampling", arXiv:2308.02157). With Eta > 0 it is ancestral, as
// ComfyUI's res_multistep_ancestral. One evaluation a step.
func ResMultistep(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	l, err := begin(ctx, denoise, x, sigmas, noise, o, o.Eta > 0)
	if err != nil {
		return err
	}
	denoised, old := l.slice(), l.slice()
	var oldDown float64
	for i := range l.n {
		if err := l.denoise(i, denoised, x, sigmas[i]); err != nil {
			return err
		}
		down, up := ancestral(sigmas[i], sigmas[i+1], o.Eta)
		if i == 0 || down == 0 {
			toward(x, x, denoised, sigmas[i], down)
		} else {
			ratio, b1, b2 := resWeights(sigmas[i-1], oldDown, sigmas[i], down)
			sum3(x, ratio, x, b1, denoised, b2, old)
		}
		l.addNoise(x, up, sigmas[i], sigmas[i+1])
		if err := l.done(i, denoised); err != nil {
			return err
		}
		denoised, old = old, denoised
		oldDown = down
	}
	return nil
}

// resWeights returns the weights of x, of the prediction at sigma and of the one
// before, in a step of [ResMultistep] from noise level sigma to down after one
// from last to lastDown.
func resWeights(last, lastDown, sigma, down float64) (ratio, b1, b2 float64) {
	h := math.Log(sigma / down)
	c2 := math.Log(lastDown/last) / h
	b2 = phi2(h) / c2
	return math.Exp(-h), -math.Expm1(-h) - b2, b2
}

// Res2S is the single-step method of the same paper with its midpoint at 1/2,
// as stable-diffusion.cpp's res_2s. With Eta > 0 it is ancestral. Two
// evaluations a step.
func Res2S(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	l, err := begin(ctx, denoise, x, sigmas, noise, o, o.Eta > 0)
	if err != nil {
		return err
	}
	denoised, x2, denoised2 := l.slice(), l.slice(), l.slice()
	for i := range l.n {
		if err := l.denoise(i, denoised, x, sigmas[i]); err != nil {
			return err
		}
		down, up := ancestral(sigmas[i], sigmas[i+1], o.Eta)
		if down == 0 {
			toward(x, x, denoised, sigmas[i], 0)
		} else {
			mid := math.Sqrt(sigmas[i] * down)
			toward(x2, x, denoised, sigmas[i], mid)
			if err := l.denoise(i, denoised2, x2, mid); err != nil {
				return err
			}
			h := math.Log(sigmas[i] / down)
			b2 := 2 * (1 + math.Expm1(-h)/h) // h·phi2/c2 with c2 = 1/2
			b1 := -math.Expm1(-h) - b2
			sum3(x, math.Exp(-h), x, b1, denoised, b2, denoised2)
		}
		l.addNoise(x, up, sigmas[i], sigmas[i+1])
		if err := l.done(i, denoised); err != nil {
			return err
		}
	}
	return nil
}

// GradientEstimation extrapolates the slope from the step before (Permenter
// and Yuan 2024, "Interpreting and Improving Diffusion Models from an
// Optimization Perspective", arXiv:2306.04848) with their gamma = 2. One
// evaluation a step.
func GradientEstimation(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	const gamma = 2
	l, err := begin(ctx, denoise, x, sigmas, noise, o, false)
	if err != nil {
		return err
	}
	denoised, d := l.slice(), l.history(2)
	for i := range l.n {
		if err := l.denoise(i, denoised, x, sigmas[i]); err != nil {
			return err
		}
		slope(d.next(), x, denoised, sigmas[i])
		h := sigmas[i+1] - sigmas[i]
		switch {
		case sigmas[i+1] == 0:
			copy(x, denoised)
		case i == 0:
			add(x, h, d.back(0))
		default:
			sum3(x, 1, x, gamma*h, d.back(0), (1-gamma)*h, d.back(1))
		}
		if err := l.done(i, denoised); err != nil {
			return err
		}
	}
	return nil
}
