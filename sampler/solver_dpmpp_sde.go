package sampler

import (
	"context"
	"math"
)

// DPMPP2SAncestral is DPM-Solver++(2S), second order from a midpoint in
// lambda, with ancestral noise, as k-diffusion's sample_dpmpp_2s_ancestral.
// Two evaluations a step.
func DPMPP2SAncestral(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
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
		if down == 0 {
			toward(x, x, denoised, sigma, 0)
		} else {
			sigmaMid := math.Sqrt(sigma * down)
			toward(x2, x, denoised, sigma, sigmaMid)
			if err := l.denoise(i, denoised2, x2, sigmaMid); err != nil {
				return err
			}
			toward(x, x, denoised2, sigma, down)
		}
		l.addNoise(x, up, sigma, sigmaNext)
		if err := l.done(i, denoised); err != nil {
			return err
		}
	}
	return nil
}

// DPMPPSDE is the stochastic DPM-Solver++ of order 2, as k-diffusion's
// sample_dpmpp_sde with r = 1/2: noise goes into the midpoint as well. Two
// evaluations a step.
func DPMPPSDE(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
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
		if sigmaNext == 0 {
			toward(x, x, denoised, sigma, 0)
		} else {
			sigmaMid := math.Sqrt(sigma * sigmaNext)
			down, up := ancestral(sigma, sigmaMid, o.Eta)
			toward(x2, x, denoised, sigma, down)
			l.addNoise(x2, up, sigma, sigmaMid)
			if err := l.denoise(i, denoised2, x2, sigmaMid); err != nil {
				return err
			}
			down, up = ancestral(sigma, sigmaNext, o.Eta)
			toward(x, x, denoised2, sigma, down)
			l.addNoise(x, up, sigma, sigmaNext)
		}
		if err := l.done(i, denoised); err != nil {
			return err
		}
	}
	return nil
}

// DPMPP2MSDE is DPM-Solver++(2M) on the reverse SDE (Lu et al. 2022), with the
// midpoint form of its second-order term, as k-diffusion's sample_dpmpp_2m_sde.
// One evaluation a step.
func DPMPP2MSDE(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	return dpmpp2mSDE(ctx, denoise, x, sigmas, noise, o, func(h float64) float64 {
		return -0.5 * math.Expm1(-h)
	})
}

// DPMPP2MSDEPath is [DPMPP2MSDE] with noise of one path, like that of
// [Brownian], which the first draw of noise determines: more steps refine a
// picture instead of changing it. As stable-diffusion.cpp's dpm++2m_sde_bt.
func DPMPP2MSDEPath(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	if noise != nil && o.Eta > 0 {
		noise = newPath(noise, len(x))
	}
	return DPMPP2MSDE(ctx, denoise, x, sigmas, noise, o)
}

// DPMPP2MSDEHeun is [DPMPP2MSDE] with the exact integral in its second-order
// term: solver_type="heun".
func DPMPP2MSDEHeun(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	return dpmpp2mSDE(ctx, denoise, x, sigmas, noise, o, phi2)
}

// phi2 is 1 - (1 - e^-h)/h, the weight of a linear term over a step of h.
func phi2(h float64) float64 { return math.Expm1(-h)/h + 1 }

func dpmpp2mSDE(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options, second func(h float64) float64) error {
	l, err := begin(ctx, denoise, x, sigmas, noise, o, o.Eta > 0)
	if err != nil {
		return err
	}
	denoised, old := l.slice(), l.slice()
	var hLast float64
	for i := range l.n {
		if err := l.denoise(i, denoised, x, sigmas[i]); err != nil {
			return err
		}
		if sigmas[i+1] == 0 {
			copy(x, denoised)
		} else {
			h := math.Log(sigmas[i] / sigmas[i+1])
			hEta := h * (1 + o.Eta)
			sum2(x, math.Exp(-hEta), x, -math.Expm1(-hEta), denoised)
			if i > 0 {
				k := second(hEta) * h / hLast
				sum3(x, 1, x, k, denoised, -k, old)
			}
			l.addNoise(x, sigmas[i+1]*math.Sqrt(-math.Expm1(-2*o.Eta*h)), sigmas[i], sigmas[i+1])
			hLast = h
		}
		if err := l.done(i, denoised); err != nil {
			return err
		}
		denoised, old = old, denoised
	}
	return nil
}

// DPMPP3MSDE is the multistep DPM-Solver++ with two earlier steps on the
// reverse SDE, as k-diffusion's sample_dpmpp_3m_sde. One evaluation a step. As
// there and in the paper's own code, its second difference has half the weight
// that third order would need: its error is smaller than that of [DPMPP2MSDE],
// but of the same order.
func DPMPP3MSDE(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	l, err := begin(ctx, denoise, x, sigmas, noise, o, o.Eta > 0)
	if err != nil {
		return err
	}
	denoised := l.history(3)
	var h1, h2 float64 // the steps before, 0 at first
	for i := range l.n {
		d := denoised.next()
		if err := l.denoise(i, d, x, sigmas[i]); err != nil {
			return err
		}
		if sigmas[i+1] == 0 {
			copy(x, d)
		} else {
			h := math.Log(sigmas[i] / sigmas[i+1])
			hEta := h * (1 + o.Eta)
			sum2(x, math.Exp(-hEta), x, -math.Expm1(-hEta), d)
			switch phi := phi2(hEta); {
			case h2 > 0:
				// The differences d1_0 = (d - d')/r0 and d1_1 = (d' - d'')/r1
				// give a slope d1 and a curvature d2.
				r0, r1 := h1/h, h2/h
				phi3 := phi/hEta - 0.5
				k0 := (phi + (phi*r0-phi3)/(r0+r1)) / r0
				k1 := (phi3 - phi*r0) / (r0 + r1) / r1
				sum3(x, 1, x, k0, d, k1-k0, denoised.back(1))
				add(x, -k1, denoised.back(2))
			case h1 > 0:
				k := phi * h / h1
				sum3(x, 1, x, k, d, -k, denoised.back(1))
			}
			l.addNoise(x, sigmas[i+1]*math.Sqrt(-math.Expm1(-2*o.Eta*h)), sigmas[i], sigmas[i+1])
			h1, h2 = h, h1
		}
		if err := l.done(i, d); err != nil {
			return err
		}
	}
	return nil
}
