package autoencoder

import "github.com/sdgo/sdgo/convert"

// scaling brings latents of an autoencoder to the denoiser's scale and back:
// (z - offset)·scale/std and z·std/scale + offset, where offset and std have a number
// for each channel and are nil without one (diffusers: shift_factor, latents_mean,
// latents_std, scaling_factor).
type scaling struct {
	scale       float32
	offset, std []float32
}

func scalingOf(c convert.VAEConfig) scaling {
	s := scaling{scale: c.ScaleFactor}
	if c.Shift == 0 && c.Mean == nil {
		return s
	}
	s.offset, s.std = make([]float32, c.EmbedDim), make([]float32, c.EmbedDim)
	for i := range s.offset {
		s.offset[i], s.std[i] = c.Shift, 1
		if c.Mean != nil {
			s.offset[i], s.std[i] = c.Shift+c.Mean[i], c.Std[i]
		}
	}
	return s
}

// in scales latents for the denoiser, in place.
func (s scaling) in(z []float32) {
	for i, v := range z {
		if s.offset == nil {
			z[i] = v * s.scale
			continue
		}
		c := i / (len(z) / len(s.offset))
		z[i] = (v - s.offset[c]) * s.scale / s.std[c]
	}
}

// out scales latents of the denoiser for the decoder, in place.
func (s scaling) out(z []float32) {
	for i, v := range z {
		if s.offset == nil {
			z[i] = v / s.scale
			continue
		}
		c := i / (len(z) / len(s.offset))
		z[i] = v*s.std[c]/s.scale + s.offset[c]
	}
}
