package sd

import (
	"fmt"
	"image"
	"math"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/sd/pipeline"
)

// Forward is the forward process of a picture, q(x_t | x_0): what becomes of it at some
// of the process's noise levels, such as [sampler.Process.Times] gives, in the process's
// own scale: sqrt(alphas_cumprod)·x_0 + sqrt(1-alphas_cumprod)·eps in a DDPM. Pixels are
// from -1 to 1, and what is beyond is cut off. All have the noise of one seed, from 0 on;
// an empty rng is TorchRNG.
func Forward(img image.Image, p *sampler.Process, sigmas []float64, rng RNG, seed int64) ([]*image.NRGBA, error) {
	switch {
	case p == nil:
		return nil, fmt.Errorf("the process must not be nil")
	case rng != "" && rng != TorchRNG && rng != PhiloxRNG:
		return nil, fmt.Errorf("rng must be %q or %q, got %q", TorchRNG, PhiloxRNG, rng)
	case seed < 0:
		return nil, fmt.Errorf("seed must be 0 or more, got %d", seed)
	}
	for _, sigma := range sigmas {
		if !(sigma >= 0) || math.IsInf(sigma, 1) {
			return nil, fmt.Errorf("noise levels must be finite and 0 or more, got %g", sigma)
		}
	}
	pixels, err := picture.NRGBA(img)
	if err != nil {
		return nil, err
	}
	return pipeline.Forward(pixels, p, sigmas, rng, seed), nil
}
