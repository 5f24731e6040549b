package sampler

import (
	"context"
	"math"
)

// Restart returns from low to high noise with fresh noise, and repeats the steps
// between them, by Heun's method (Xu et al. 2023, "Restart Sampling for Improving
// Generative Processes", arXiv:2306.14878). As in AUTOMATIC1111's web UI, it
// repeats the steps from sigma 2 to 0.1: once with 20 steps, twice with 36 or
// more, and not with fewer than 20; from 20 on the noise levels are those of
// [Karras] between the ends of the sigmas. Two evaluations a step.
func Restart(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	if err := sigmas.Check(); err != nil {
		return err
	}
	from, to, err := restartSteps(sigmas)
	if err != nil {
		return err
	}
	l, err := begin(ctx, denoise, x, sigmas, noise, o, len(from) >= 20)
	if err != nil {
		return err
	}
	l.n = len(from)
	denoised, x2, denoised2 := l.slice(), l.slice(), l.slice()
	last := from[0]
	for i, sigma := range from {
		if sigma > last {
			l.addNoise(x, noiseBetween(last, sigma), last, sigma)
		}
		if err := l.denoise(i, denoised, x, sigma); err != nil {
			return err
		}
		if err := l.heun(i, denoised, x2, denoised2, sigma, to[i]); err != nil {
			return err
		}
		last = to[i]
		if o.OnStep != nil {
			if err := o.OnStep(Step{i + 1, l.n, sigma, to[i], x, denoised}); err != nil {
				return err
			}
		}
	}
	return nil
}

// restartSteps returns the noise levels at the beginning and end of each step.
func restartSteps(sigmas []float64) (from, to []float64, err error) {
	const low, high = 0.1, 2
	n := len(sigmas) - 1
	steps, times := 9, 1
	if n >= 36 {
		steps, times = n/4, 2
	}
	if n < 20 {
		times = 0
	} else if sigmas, err = KarrasRho(sigmas[n-1], sigmas[0], karrasRho, n-steps*times); err != nil {
		return nil, nil, err
	}
	last := len(sigmas) - 1
	bottom, top := closest(sigmas[:last], low), closest(sigmas[:last], high)
	for i := range last {
		from, to = append(from, sigmas[i]), append(to, sigmas[i+1])
		if i+1 != bottom || top >= bottom {
			continue
		}
		again, err := KarrasRho(sigmas[bottom], sigmas[top], karrasRho, steps+1)
		if err != nil {
			return nil, nil, err
		}
		for range times {
			from, to = append(from, again[:steps]...), append(to, again[1:steps+1]...)
		}
	}
	return from, to, nil
}

// closest returns the index of the noise level closest to s.
func closest(sigmas []float64, s float64) int {
	best := 0
	for i, v := range sigmas {
		if math.Abs(v-s) < math.Abs(sigmas[best]-s) {
			best = i
		}
	}
	return best
}
