package sampler

import (
	"context"
	"math"
	"slices"
)

// The guidance of this file measures pictures one by one, and so is told how
// many the slices hold.

// CFGRescale gives guided predictions the standard deviation of the
// conditional ones, by the fraction phi (Lin et al. 2024, section 3.4,
// arXiv:2305.08891), against over-exposure; 0.7 is usual. It measures what the
// net predicts, as the diffusers library's guidance_rescale does.
func CFGRescale(pair Pair, p Prediction, scale, phi float64, images int) Denoiser {
	var uncond, cond []float32
	return func(ctx context.Context, dst, x []float32, sigma float64) error {
		uncond, cond = grow(uncond, len(x)), grow(cond, len(x))
		if err := pair(ctx, cond, uncond, x, sigma); err != nil {
			return err
		}
		skip, gain, _ := p.Scalings(sigma, 1)
		sum2(cond, 1/gain, cond, -skip/gain, x)
		sum2(uncond, 1/gain, uncond, -skip/gain, x)
		sum2(dst, scale, cond, 1-scale, uncond)
		for i := range images {
			d := part(dst, i, images)
			if s := deviation(d); s > 0 {
				multiply(d, phi*deviation(part(cond, i, images))/s+1-phi)
			}
		}
		sum2(dst, gain, dst, skip, x)
		return nil
	}
}

// CFGZeroStar is CFG-Zero* for flow matching (Fan et al. 2025,
// arXiv:2503.18886): the unconditional prediction is scaled to be as near to
// the conditional one as it can, and at noise levels above zeroAbove the
// velocity is 0. It measures what the net predicts.
func CFGZeroStar(pair Pair, p Prediction, scale, zeroAbove float64, images int) Denoiser {
	var uncond []float32
	return func(ctx context.Context, dst, x []float32, sigma float64) error {
		skip, gain, _ := p.Scalings(sigma, 1)
		if sigma > zeroAbove {
			sum2(dst, skip, x, 0, x)
			return nil
		}
		uncond = grow(uncond, len(x))
		if err := pair(ctx, dst, uncond, x, sigma); err != nil {
			return err
		}
		sum2(dst, 1/gain, dst, -skip/gain, x)
		sum2(uncond, 1/gain, uncond, -skip/gain, x)
		for i := range images {
			c, u := part(dst, i, images), part(uncond, i, images)
			alpha := dot(c, u) / (dot(u, u) + 1e-8)
			sum2(c, scale, c, (1-scale)*alpha, u)
		}
		sum2(dst, gain, dst, skip, x)
		return nil
	}
}

// APGOptions adjust adaptive projected guidance.
type APGOptions struct {
	Momentum  float64 // of the running difference; usually negative, -0.5
	Threshold float64 // the difference's greatest norm; +Inf for none, 2.5 to 15 are usual
	Parallel  float64 // how much of the part parallel to cond stays; usually 0
}

// APG is adaptive projected guidance (Sadat et al. 2024, "Eliminating
// Oversaturation and Artifacts of High Guidance Scales in Diffusion Models",
// arXiv:2410.02416, algorithm 1): of the difference between cond and uncond,
// kept as a running sum and bounded, the part parallel to cond is left out. It
// remembers the steps, so make one for each run.
func APG(pair Pair, scale float64, o APGOptions, images int) Denoiser {
	var uncond, running, diff []float32
	return func(ctx context.Context, dst, x []float32, sigma float64) error {
		uncond, diff = grow(uncond, len(x)), grow(diff, len(x))
		if len(running) != len(x) {
			running = make([]float32, len(x))
		}
		if err := pair(ctx, dst, uncond, x, sigma); err != nil {
			return err
		}
		sum3(running, o.Momentum, running, 1, dst, -1, uncond)
		copy(diff, running)
		for i := range images {
			c, d := part(dst, i, images), part(diff, i, images)
			if norm := math.Sqrt(dot(d, d)); norm > o.Threshold {
				multiply(d, o.Threshold/norm)
			}
			k := 0.0
			if cc := dot(c, c); cc > 0 {
				k = dot(d, c) / cc
			}
			// c + (scale-1)·(d - (1-Parallel)·k·c)
			sum2(c, 1-(scale-1)*(1-o.Parallel)*k, c, scale-1, d)
		}
		return nil
	}
}

// Clip keeps predictions within ±limit: pixels, whose range is known.
func Clip(denoise Denoiser, limit float64) Denoiser {
	return func(ctx context.Context, dst, x []float32, sigma float64) error {
		if err := denoise(ctx, dst, x, sigma); err != nil {
			return err
		}
		clip(dst, float32(limit))
		return nil
	}
}

// DynamicThreshold clips each picture's prediction at the quantile ratio of
// its absolute values (0.995 is usual) and scales it down by as much, but by
// no more than top; values within ±1 stay (Imagen: Saharia et al. 2022,
// arXiv:2205.11487, section 2.3).
func DynamicThreshold(denoise Denoiser, ratio, top float64, images int) Denoiser {
	var sorted []float32
	return func(ctx context.Context, dst, x []float32, sigma float64) error {
		if err := denoise(ctx, dst, x, sigma); err != nil {
			return err
		}
		for i := range images {
			d := part(dst, i, images)
			sorted = grow(sorted, len(d))
			magnitudes(sorted, d)
			s := min(max(quantile(sorted, ratio), 1), top)
			clip(d, float32(s))
			multiply(d, 1/s)
		}
		return nil
	}
}

// quantile sorts x and interpolates, as torch.quantile does. q outside of 0 to
// 1 gives the nearer end, and an empty x 0.
func quantile(x []float32, q float64) float64 {
	if len(x) == 0 {
		return 0
	}
	if !(q > 0) {
		q = 0
	}
	q = min(q, 1)
	slices.Sort(x)
	k, f := math.Modf(q * float64(len(x)-1))
	lo, hi := x[int(k)], x[min(int(k)+1, len(x)-1)]
	return float64(lo) + f*(float64(hi)-float64(lo))
}
