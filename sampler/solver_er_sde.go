package sampler

import (
	"context"
	"math"
)

// ERSDE is ER-SDE-Solver-3 of Cui et al. 2023 ("Elucidating the Solution Space
// of Extended Reverse-Time SDE for Diffusion Models", arXiv:2309.06169) with
// the noise scale of its code and of ComfyUI. Order up to 3 (usually 3). One
// evaluation a step. The share of noise that it puts back is fixed; SNoise
// multiplies it.
func ERSDE(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	l, err := begin(ctx, denoise, x, sigmas, noise, o, o.SNoise > 0)
	if err != nil {
		return err
	}
	order, err := l.order(3, 3)
	if err != nil {
		return err
	}
	denoised, slopes := l.history(2), l.history(2) // slopes d(denoised)/d(sigma)
	for i := range l.n {
		d := denoised.next()
		if err := l.denoise(i, d, x, sigmas[i]); err != nil {
			return err
		}
		sigma, sigmaNext := sigmas[i], sigmas[i+1]
		if sigmaNext == 0 {
			copy(x, d)
		} else {
			r := erScale(sigmaNext) / erScale(sigma)
			sum2(x, r, x, 1-r, d)
			dt := sigmaNext - sigma
			s, su := erIntegrals(sigma, sigmaNext)
			if stage := min(order, i+1); stage >= 2 {
				k := 1 / (sigma - sigmas[i-1])
				slope := slopes.next()
				sum2(slope, k, d, -k, denoised.back(1))
				add(x, dt+s*erScale(sigmaNext), slope)
				if stage >= 3 {
					k := (dt*dt/2 + su*erScale(sigmaNext)) * 2 / (sigma - sigmas[i-2])
					sum3(x, 1, x, k, slope, -k, slopes.back(1))
				}
			}
			if o.SNoise > 0 {
				l.addNoise(x, math.Sqrt(max(sigmaNext*sigmaNext-sigma*sigma*r*r, 0)), sigma, sigmaNext)
			}
		}
		if err := l.done(i, d); err != nil {
			return err
		}
	}
	return nil
}

// erScale is the noise scale function of the paper's ER-SDE 5.
func erScale(sigma float64) float64 { return sigma * (math.Exp(math.Pow(sigma, 0.3)) + 10) }

// erIntegrals returns the integrals over a step of 1/erScale and of
// (sigma' - sigma)/erScale, as sums of 200 terms as in the paper's code.
func erIntegrals(sigma, sigmaNext float64) (s, su float64) {
	const points = 200
	h := (sigma - sigmaNext) / points
	for i := range points {
		at := sigmaNext + float64(i)*h
		s += h / erScale(at)
		su += h * (at - sigma) / erScale(at)
	}
	return s, su
}
