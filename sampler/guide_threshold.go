package sampler

import (
	"context"
	"math"
	"slices"
)

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

func newDynamicThresholding(g Guidance, m GuidedModel) Denoiser {
	return DynamicThreshold(newCFG(g, m), g.Parameters["percentile"], g.Parameters["max_value"], m.Images)
}

// newMimic is what the extension sd-dynamic-thresholding does with its usual
// settings (constant scales, startpoint MEAN, variability AD): the guided
// prediction, around the mean of each channel, is clipped at a quantile of its
// absolute values and shrunk to the largest absolute value that guidance with
// mimic_scale has.
func newMimic(g Guidance, m GuidedModel) Denoiser {
	p := g.Parameters
	planes := 1 // that share a range
	if p["separate_channels"] == 0 {
		planes = m.Channels
	}
	var mimic, guided, sorted []float32
	var means []float64
	return m.combine(g, g.Guider.Answers, func(dst, _ []float32, _ float64, answers [][]float32) {
		cond, uncond := answers[0], answers[1]
		mimic, guided, sorted = grow(mimic, len(dst)), grow(guided, len(dst)), grow(sorted, len(dst))
		means = slices.Grow(means[:0], m.Images*m.Channels)[:m.Images*m.Channels]
		sum2(mimic, p["mimic_scale"], cond, 1-p["mimic_scale"], uncond)
		sum2(dst, g.Scale, cond, 1-g.Scale, uncond)
		copy(guided, dst)
		for i := range means {
			center(part(mimic, i, len(means)))
			means[i] = center(part(guided, i, len(means)))
		}
		groups := len(means) / planes
		for i := range groups {
			a, b, abs := part(mimic, i, groups), part(guided, i, groups), part(sorted, i, groups)
			magnitudes(abs, b)
			reach, bound := largest(a), quantile(abs, p["percentile"])
			if bound = max(bound, reach); bound > 0 {
				clip(b, float32(bound))
				multiply(b, reach/bound)
			}
		}
		phi := p["phi"]
		for i, mean := range means {
			d, b := part(dst, i, len(means)), part(guided, i, len(means))
			for k, v := range d {
				d[k] = float32(phi*(float64(b[k])+mean) + (1-phi)*float64(v))
			}
		}
	})
}

// center takes the mean away from x and returns it.
func center(x []float32) float64 {
	var mean float64
	for _, v := range x {
		mean += float64(v)
	}
	mean /= float64(max(len(x), 1))
	for i, v := range x {
		x[i] = float32(float64(v) - mean)
	}
	return mean
}

// largest is the largest absolute value.
func largest(x []float32) float64 {
	var top float64
	for _, v := range x {
		top = max(top, math.Abs(float64(v)))
	}
	return top
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
