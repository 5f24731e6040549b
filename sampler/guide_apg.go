package sampler

import "math"

// newAPG is adaptive projected guidance (Sadat et al. 2024, "Eliminating
// Oversaturation and Artifacts of High Guidance Scales in Diffusion Models",
// arXiv:2410.02416, algorithm 1): of the difference between cond and uncond,
// kept as a running sum and bounded, the part parallel to cond is left out. It
// remembers the steps, and measures each picture on its own.
//
//	D = cond + (scale - 1)·(difference - (1 - parallel)·its part along cond)
func newAPG(g Guidance, m GuidedModel) Denoiser {
	p := g.Parameters
	momentum, threshold, parallel, inModel := p["momentum"], p["norm_threshold"], p["parallel"], p["model_space"] == 1
	var running, diff []float32
	return m.combine(g, g.Needs(m.Uncond != nil), func(dst, x []float32, sigma float64, answers [][]float32) {
		cond, uncond := answers[0], answers[1]
		skip, gain, _ := m.Preconditioning.Scalings(sigma)
		if inModel {
			sum2(cond, 1/gain, cond, -skip/gain, x)
			sum2(uncond, 1/gain, uncond, -skip/gain, x)
		}
		diff = grow(diff, len(x))
		if len(running) != len(x) {
			running = make([]float32, len(x))
		}
		sum3(running, momentum, running, 1, cond, -1, uncond)
		copy(diff, running)
		for i := range m.Images {
			c, d := part(cond, i, m.Images), part(diff, i, m.Images)
			if norm := math.Sqrt(dot(d, d)); threshold > 0 && norm > threshold {
				multiply(d, threshold/norm)
			}
			k := 0.0
			if cc := dot(c, c); cc > 0 {
				k = dot(d, c) / cc
			}
			sum2(part(dst, i, m.Images), 1-(g.Scale-1)*(1-parallel)*k, c, g.Scale-1, d)
		}
		if inModel {
			sum2(dst, gain, dst, skip, x)
		}
	})
}
