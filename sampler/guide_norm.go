package sampler

import "math"

// newCFGNorm is classifier-free guidance whose prediction has, in each token of a
// transformer, the length of the conditional one: Qwen-Image's (true_cfg_scale of
// the diffusers library's pipelines). A token is a square of a sample's pixels with
// all channels; where squares do not fit, those at the right and at the bottom are
// smaller. It measures what the net predicts, each picture on its own.
func newCFGNorm(g Guidance, m GuidedModel) Denoiser {
	patch := int(g.Parameters["patch"])
	return m.combine(g, g.Needs(m.Uncond != nil), func(dst, x []float32, sigma float64, answers [][]float32) {
		cond, uncond := answers[0], answers[1]
		skip, gain, _ := m.Preconditioning.Scalings(sigma)
		sum2(cond, 1/gain, cond, -skip/gain, x)
		sum2(uncond, 1/gain, uncond, -skip/gain, x)
		sum2(dst, g.Scale, cond, 1-g.Scale, uncond)
		for i := range m.Images {
			m.keepLengths(part(dst, i, m.Images), part(cond, i, m.Images), patch)
		}
		sum2(dst, gain, dst, skip, x)
	})
}

// keepLengths gives each token of a picture's prediction the length of another's.
func (m GuidedModel) keepLengths(dst, like []float32, patch int) {
	if len(dst) == 0 {
		return
	}
	channels := m.Channels
	if len(dst)%channels != 0 {
		channels = 1
	}
	pixels, width := len(dst)/channels, m.Width
	if width < 1 || pixels%width != 0 {
		width = pixels // one row
	}
	height := pixels / width
	for top := 0; top < height; top += patch {
		for left := 0; left < width; left += patch {
			token := func(of func(at int)) {
				for c := range channels {
					for y := top; y < min(top+patch, height); y++ {
						for x := left; x < min(left+patch, width); x++ {
							of(c*pixels + y*width + x)
						}
					}
				}
			}
			var own, other float64
			token(func(at int) {
				own, other = own+float64(dst[at])*float64(dst[at]), other+float64(like[at])*float64(like[at])
			})
			if own > 0 {
				k := math.Sqrt(other / own)
				token(func(at int) { dst[at] = float32(float64(dst[at]) * k) })
			}
		}
	}
}
