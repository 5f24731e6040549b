package sampler

import "context"

// A Gradient writes to dst the gradient of a function of the noisy sample x at
// noise level sigma. denoised is the model's prediction, before guidance.
type Gradient func(ctx context.Context, dst, x, denoised []float32, sigma float64) error

// Classifier is classifier guidance (Dhariwal and Nichol 2021,
// arXiv:2105.05233, section 4.1): grad is the gradient of log p(y | x) of a
// classifier for noisy samples. Since the score of x is (D - x)/sigma²,
//
//	D' = D + scale·sigma²·grad
func Classifier(denoise Denoiser, grad Gradient, scale float64) Denoiser {
	return withGradient(denoise, grad, func(sigma float64) float64 { return scale * sigma * sigma })
}

// Loss guides towards a small loss, such as the distance of the predicted clean
// sample from a measurement (diffusion posterior sampling, Chung et al. 2023,
// arXiv:2209.14687; universal guidance, Bansal et al. 2023, arXiv:2302.07121):
//
//	D' = D - weight(sigma)·grad
func Loss(denoise Denoiser, grad Gradient, weight func(sigma float64) float64) Denoiser {
	return withGradient(denoise, grad, func(sigma float64) float64 { return -weight(sigma) })
}

func withGradient(denoise Denoiser, grad Gradient, weight func(sigma float64) float64) Denoiser {
	var g []float32
	return func(ctx context.Context, dst, x []float32, sigma float64) error {
		if err := denoise(ctx, dst, x, sigma); err != nil {
			return err
		}
		g = grow(g, len(x))
		if err := grad(ctx, g, x, dst, sigma); err != nil {
			return err
		}
		add(dst, weight(sigma), g)
		return nil
	}
}
