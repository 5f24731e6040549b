package pipeline

import (
	"image"

	"github.com/disintegration/imaging"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/sd/tensor"
)

// Forward is the forward process of a picture, q(x_t | x_0): what becomes of it at some
// noise levels, in the process's own scale, cut to what pictures can show. All have the
// noise of one seed.
func Forward(img *image.NRGBA, p *sampler.Process, sigmas []float64, rng request.RNG, seed int64) []*image.NRGBA {
	clean := tensor.FromImage(opaque(imaging.Clone(img)))
	eps := clean.Like()
	newNoise(rng, seed).Normal(eps.Data)
	out := make([]*image.NRGBA, len(sigmas))
	for i, sigma := range sigmas {
		x := clean.Like()
		alpha, scale := p.Alpha(sigma), p.Scale(sigma)
		for k, v := range clean.Data {
			x.Data[k] = float32(scale * (alpha*float64(v) + sigma*float64(eps.Data[k])))
		}
		out[i] = x.Image()
	}
	return out
}
