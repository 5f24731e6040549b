package sampler

import (
	"context"
	"math"
)

// DEIS is the diffusion exponential integrator sampler of Zhang and Chen 2023
// ("Fast Sampling of Diffusion Models with Exponential Integrator",
// arXiv:2204.13902): multistep, with eps a polynomial in log(sigma), of order
// up to 3 (usually 2), as the diffusers library's DEISMultistepScheduler. The
// last two steps have lower orders. One evaluation a step.
func DEIS(ctx context.Context, denoise Denoiser, x []float32, sigmas []float64, noise Noise, o Options) error {
	l, err := begin(ctx, denoise, x, sigmas, noise, o, false)
	if err != nil {
		return err
	}
	order, err := l.order(2, 3)
	if err != nil {
		return err
	}
	denoised, eps := l.slice(), l.history(order)
	for i := range l.n {
		if err := l.denoise(i, denoised, x, sigmas[i]); err != nil {
			return err
		}
		slope(eps.next(), x, denoised, sigmas[i])
		now := min(order, i+1, l.n-i)
		if sigmas[i+1] == 0 {
			copy(x, denoised)
		} else {
			for j := range now {
				add(x, logLagrangeIntegral(sigmas, i, j, now), eps.back(j))
			}
		}
		if err := l.done(i, denoised); err != nil {
			return err
		}
	}
	return nil
}

// logLagrangeIntegral integrates over sigma, from sigmas[i] to sigmas[i+1],
// the polynomial in log(sigma) that is 1 at sigmas[i-j] and 0 at the others of
// the last order noise levels. In u = log(sigma) the integrand is the
// polynomial times e^u, for which Gauss's rule of eight points is exact to
// rounding over the steps that occur.
func logLagrangeIntegral(sigmas []float64, i, j, order int) float64 {
	a, b := math.Log(sigmas[i]), math.Log(sigmas[i+1])
	at := math.Log(sigmas[i-j])
	var sum float64
	for k, node := range gauss8.nodes {
		for _, g := range [...]float64{node, -node} {
			u := (a+b)/2 + g*(b-a)/2
			p := 1.0
			for m := range order {
				if m != j {
					v := math.Log(sigmas[i-m])
					p *= (u - v) / (at - v)
				}
			}
			sum += gauss8.weights[k] * p * math.Exp(u)
		}
	}
	return sum * (b - a) / 2
}

// gauss8 is Gauss–Legendre quadrature with eight points, symmetric.
var gauss8 = struct{ nodes, weights [4]float64 }{
	[4]float64{0.1834346424956498, 0.5255324099163290, 0.7966664774136267, 0.9602898564975363},
	[4]float64{0.3626837833783620, 0.3137066458778873, 0.2223810344533745, 0.1012285362903763},
}
