package sampler

import "context"

// Inpaint keeps the known part of a sample: the prediction is x0 where mask is 0
// and the model's own where it is 1. In a run that begins with x0 and noise
// ([Process.InitialNoise]) every sampler then keeps that part at x0 plus the
// noise of each level, and ends with x0 itself there (Lugmayr et al. 2022,
// arXiv:2201.09865, without resampling; as ComfyUI and stable-diffusion.cpp).
//
// uncond, if not nil, is Options.Uncond, in which the known part is kept, too.
//
// x0 is as long as the sample; mask has one value, 0 to 1, for each position,
// the same for all channels: len(x0) is a multiple of len(mask).
func Inpaint(denoise Denoiser, x0, mask, uncond []float32) Denoiser {
	return func(ctx context.Context, dst, x []float32, sigma float64) error {
		if len(x0) != len(x) {
			return &LengthError{"x0", len(x0), len(x)}
		}
		if len(mask) == 0 || len(x0)%len(mask) != 0 {
			return &LengthError{"mask", len(mask), len(x0)}
		}
		if uncond != nil && len(uncond) != len(x) {
			return &LengthError{"uncond", len(uncond), len(x)}
		}
		if err := denoise(ctx, dst, x, sigma); err != nil {
			return err
		}
		hold(dst, x0, mask)
		hold(uncond, x0, mask)
		return nil
	}
}

// hold replaces the known part of a prediction.
func hold(x, x0, mask []float32) {
	for at := 0; at < len(x); at += len(mask) {
		known, out := x0[at:][:len(mask)], x[at:][:len(mask)]
		for i, m := range mask {
			out[i] = known[i] + m*(out[i]-known[i])
		}
	}
}
