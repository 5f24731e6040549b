package sampler

import "context"

// A Pair writes to cond the clean sample that the model expects behind x with
// the prompt, and to uncond the one without it (or with the negative prompt),
// so that a net can evaluate both in one batch. One of them is nil where that
// answer is not wanted. Otherwise as [Denoiser].
type Pair func(ctx context.Context, cond, uncond, x []float32, sigma float64) error

// CFG is classifier-free guidance (Ho and Salimans 2022, arXiv:2207.12598) in
// the form that all Stable Diffusion programs use:
//
//	D = uncond + scale·(cond - uncond)
//
// Scale 1 asks for cond alone, and scale 0 for uncond alone. The denoiser
// reuses a scratch slice: two goroutines need two.
func CFG(pair Pair, scale float64) Denoiser {
	var uncond []float32
	return func(ctx context.Context, dst, x []float32, sigma float64) error {
		switch scale {
		case 1:
			return pair(ctx, dst, nil, x, sigma)
		case 0:
			return pair(ctx, nil, dst, x, sigma)
		}
		uncond = grow(uncond, len(x))
		if err := pair(ctx, dst, uncond, x, sigma); err != nil {
			return err
		}
		sum2(dst, scale, dst, 1-scale, uncond)
		return nil
	}
}
