package sampler

import (
	"context"
	"math"
)

// The samplers of CFG++ move towards the guided prediction D, but take the
// noise from the unguided one, U (Options.Uncond, which guidance fills). Without
// it U is D, and each is the sampler after which it is named. As in ComfyUI; with
// guidance scales of 0.5 to 2.

// EulerCFGPP is the step of CFG++ (Chung et al. 2024, arXiv:2406.08070,
// algorithm 2): with Eta 0 DDIM's, as ComfyUI's euler_cfg_pp, and above as
// [EulerAncestral], euler_ancestral_cfg_pp.
func EulerCFGPP(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	l, err := begin(ctx, denoise, x, sigmas, noise, o, o.Eta > 0)
	if err != nil {
		return err
	}
	denoised := l.slice()
	for i := range l.n {
		if err := l.denoise(i, denoised, x, sigmas[i]); err != nil {
			return err
		}
		down, up := ancestral(sigmas[i], sigmas[i+1], o.Eta)
		r := down / sigmas[i]
		sum3(x, r, x, 1, denoised, -r, l.uncond(denoised))
		l.addNoise(x, up, sigmas[i], sigmas[i+1])
		if err := l.done(i, denoised); err != nil {
			return err
		}
	}
	return nil
}

// DPMPP2MCFGPP is [DPMPP2M] with CFG++, as ComfyUI's dpmpp_2m_cfg_pp:
//
//	x' = D + e^-h·(x - U) + (1 - e^-h)·h/(2·h_last)·(D - U_last)
func DPMPP2MCFGPP(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	l, err := begin(ctx, denoise, x, sigmas, noise, o, false)
	if err != nil {
		return err
	}
	denoised, old := l.slice(), l.slice()
	for i := range l.n {
		if err := l.denoise(i, denoised, x, sigmas[i]); err != nil {
			return err
		}
		u, ratio := l.uncond(denoised), sigmas[i+1]/sigmas[i]
		sum3(x, ratio, x, 1, denoised, -ratio, u)
		if i > 0 && sigmas[i+1] > 0 {
			h, hLast := math.Log(sigmas[i]/sigmas[i+1]), math.Log(sigmas[i-1]/sigmas[i])
			k := (1 - ratio) * h / (2 * hLast)
			sum3(x, 1, x, k, denoised, -k, old)
		}
		copy(old, u)
		if err := l.done(i, denoised); err != nil {
			return err
		}
	}
	return nil
}

// DPMPP2SAncestralCFGPP is [DPMPP2SAncestral] with CFG++, as ComfyUI's
// dpmpp_2s_ancestral_cfg_pp: a step with the unguided predictions, then the
// difference D - U from its beginning is added. Two evaluations a step.
func DPMPP2SAncestralCFGPP(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	l, err := begin(ctx, denoise, x, sigmas, noise, o, o.Eta > 0)
	if err != nil {
		return err
	}
	denoised, guidance, x2, denoised2 := l.slice(), l.slice(), l.slice(), l.slice()
	for i := range l.n {
		if err := l.denoise(i, denoised, x, sigmas[i]); err != nil {
			return err
		}
		u := l.uncond(denoised)
		sum2(guidance, 1, denoised, -1, u)
		down, up := ancestral(sigmas[i], sigmas[i+1], o.Eta)
		if down == 0 {
			copy(x, u)
		} else {
			mid := math.Sqrt(sigmas[i] * down)
			toward(x2, x, u, sigmas[i], mid)
			if err := l.denoise(i, denoised2, x2, mid); err != nil {
				return err
			}
			toward(x, x, l.uncond(denoised2), sigmas[i], down)
		}
		l.addNoise(x, up, sigmas[i], sigmas[i+1])
		add(x, 1, guidance)
		if err := l.done(i, denoised); err != nil {
			return err
		}
	}
	return nil
}

// ResMultistepCFGPP is [ResMultistep] with CFG++, as ComfyUI's
// res_multistep_cfg_pp and, with Eta > 0, res_multistep_ancestral_cfg_pp: the
// difference D - U is added at the beginning of the step.
func ResMultistepCFGPP(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
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
		u := l.uncond(denoised)
		down, up := ancestral(sigmas[i], sigmas[i+1], o.Eta)
		if i == 0 || down == 0 {
			r := down / sigmas[i]
			sum3(x, r, x, 1, denoised, -r, u)
		} else {
			ratio, b1, b2 := resWeights(sigmas[i-1], oldDown, sigmas[i], down)
			sum3(x, ratio, x, ratio, denoised, b1-ratio, u)
			add(x, b2, old)
		}
		l.addNoise(x, up, sigmas[i], sigmas[i+1])
		copy(old, u)
		if err := l.done(i, denoised); err != nil {
			return err
		}
		oldDown = down
	}
	return nil
}

// GradientEstimationCFGPP is [GradientEstimation] with CFG++, as ComfyUI's
// gradient_estimation_cfg_pp: the step of [EulerCFGPP] with its unguided slope
// extrapolated from the step before.
func GradientEstimationCFGPP(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
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
		slope(d.next(), x, l.uncond(denoised), sigmas[i])
		sum2(x, 1, denoised, sigmas[i+1], d.back(0))
		if i > 0 && sigmas[i+1] > 0 {
			k := (gamma - 1) * (sigmas[i+1] - sigmas[i])
			sum3(x, 1, x, k, d.back(0), -k, d.back(1))
		}
		if err := l.done(i, denoised); err != nil {
			return err
		}
	}
	return nil
}

// CFGPPUD10AB is ComfyUI's cfgpp_ud10_ab, a heuristic without a paper: the step
// of [EulerCFGPP] with its unguided slope extrapolated by a tenth, mixed with a
// quarter of the Adams–Bashforth step of order 2. The last step, to 0, ends
// where a line through the last two guided predictions meets 0. One evaluation a
// step.
func CFGPPUD10AB(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	const unguidedWeight, historyWeight = 0.1, 0.25
	l, err := begin(ctx, denoise, x, sigmas, noise, o, false)
	if err != nil {
		return err
	}
	denoised, unguided, d := l.history(2), l.history(2), l.history(2)
	for i := range l.n {
		now := denoised.next()
		if err := l.denoise(i, now, x, sigmas[i]); err != nil {
			return err
		}
		slope(unguided.next(), x, l.uncond(now), sigmas[i])
		sigma, h := sigmas[i+1], sigmas[i+1]-sigmas[i]
		// d is the slope of the straight line to D + sigma·(unguided slope).
		sum3(d.next(), -1/h, x, 1/h, now, sigma/h, unguided.back(0))
		if i == 0 {
			add(x, h, d.back(0))
		} else {
			hLast := sigmas[i] - sigmas[i-1]
			k := unguidedWeight * sigma / hLast
			sum3(d.back(0), 1, d.back(0), k, unguided.back(0), -k, unguided.back(1))
			b0, b1 := lagrangeIntegral(sigmas, i, 0, 2), lagrangeIntegral(sigmas, i, 1, 2)
			sum3(x, 1, x, h+historyWeight*(b0-h), d.back(0), historyWeight*b1, d.back(1))
			if sigma == 0 {
				k := sigmas[i] / hLast
				sum2(x, 1-k, now, k, denoised.back(1))
			}
		}
		if err := l.done(i, now); err != nil {
			return err
		}
	}
	return nil
}
