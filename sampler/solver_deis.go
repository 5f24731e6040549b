package sampler

import (
	"context"
	"math"
)

// DEIS is the diffusion exponential integrator sampler of Zhang and Chen 2023
// ("Fast Sampling of Diffusion Models with Exponential Integrator",
// arXiv:2204.13902) in its variant tAB-DEIS: a multistep method for which eps is
// a polynomial in the time of the variance-preserving SDE. Order up to 3 (usually
// 3), as ComfyUI's deis. One evaluation a step.
func DEIS(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	l, err := begin(ctx, denoise, x, sigmas, noise, o, false)
	if err != nil {
		return err
	}
	order, err := l.order(3, 3)
	if err != nil {
		return err
	}
	denoised, eps := l.slice(), l.history(order)
	for i := range l.n {
		if err := l.denoise(i, denoised, x, sigmas[i]); err != nil {
			return err
		}
		slope(eps.next(), x, denoised, sigmas[i])
		now := min(order, i+1)
		if sigmas[i+1] == 0 {
			copy(x, denoised)
		} else {
			for j := range now {
				add(x, timeWeight(sigmas, i, j, now), eps.back(j))
			}
		}
		if err := l.done(i, denoised); err != nil {
			return err
		}
	}
	return nil
}

// DEISLog is [DEIS] with a polynomial in log(sigma), as the diffusers library's
// DEISMultistepScheduler. Order up to 3 (usually 2), lower in the last two
// steps.
func DEISLog(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
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
				add(x, logWeight(sigmas, i, j, now), eps.back(j))
			}
		}
		if err := l.done(i, denoised); err != nil {
			return err
		}
	}
	return nil
}

// timeWeight integrates over sigma, from sigmas[i] to sigmas[i+1], the
// polynomial in the time t of the variance-preserving SDE that is 1 at
// sigmas[i-j] and 0 at the others of the last order noise levels.
func timeWeight(sigmas []float64, i, j, order int) float64 {
	var at [3]float64
	for m := range order {
		at[m] = deisTime(sigmas[i-m])
	}
	return integrate(at[0], deisTime(sigmas[i+1]), func(t float64) float64 {
		s2 := math.Expm1(t * (deisBetaMin + deisBetaD*t/2)) // sigma²
		return lagrange(at[:order], j, t) * (deisBetaMin + deisBetaD*t) * (1 + s2) / (2 * math.Sqrt(s2))
	})
}

// The SDE's constants, from its noise levels 0.002 at t = 0.001 and 80 at 1
// (Karras et al. 2022, table 1), as in ComfyUI.
const (
	deisBetaD   = 17.537956987271453
	deisBetaMin = -0.004768986493722593
)

// deisTime is the time at which the SDE has a noise level.
func deisTime(sigma float64) float64 {
	return (math.Sqrt(deisBetaMin*deisBetaMin+2*deisBetaD*math.Log1p(sigma*sigma)) - deisBetaMin) / deisBetaD
}

// logWeight is [timeWeight] for a polynomial in log(sigma).
func logWeight(sigmas []float64, i, j, order int) float64 {
	var at [3]float64
	for m := range order {
		at[m] = math.Log(sigmas[i-m])
	}
	return integrate(at[0], math.Log(sigmas[i+1]), func(u float64) float64 {
		return lagrange(at[:order], j, u) * math.Exp(u)
	})
}

// lagrange is the polynomial that is 1 at nodes[j] and 0 at the others.
func lagrange(nodes []float64, j int, at float64) float64 {
	p := 1.0
	for k, node := range nodes {
		if k != j {
			p *= (at - node) / (nodes[j] - node)
		}
	}
	return p
}

// integrate is the Gauss–Legendre rule of eight points, which is exact to
// rounding for what is integrated here: exponential functions times polynomials
// over short steps.
func integrate(a, b float64, f func(float64) float64) float64 {
	mid, half := (a+b)/2, (b-a)/2
	var sum float64
	for k, node := range gauss8.nodes {
		sum += gauss8.weights[k] * (f(mid+node*half) + f(mid-node*half))
	}
	return sum * half
}

// gauss8 has the positive nodes of the rule; the others are their opposites.
var gauss8 = struct{ nodes, weights [4]float64 }{
	[4]float64{0.1834346424956498, 0.5255324099163290, 0.7966664774136267, 0.9602898564975363},
	[4]float64{0.3626837833783620, 0.3137066458778873, 0.2223810344533745, 0.1012285362903763},
}
