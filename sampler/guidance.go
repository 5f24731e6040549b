package sampler

import (
	"context"
	"math"
)

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

// CFGPP is the guidance of CFG++ (Chung et al. 2024, arXiv:2406.08070): that of
// [CFG], which besides leaves the unguided prediction in uncond, a slice as
// long as x. A sampler made for it ([EulerCFGPP] and others) finds it as its
// Options.Uncond, and takes the noise to be that of the unguided prediction.
// Usual scales are 0.5 to 2.
func CFGPP(pair Pair, scale float64, uncond []float32) Denoiser {
	return func(ctx context.Context, dst, x []float32, sigma float64) error {
		if len(uncond) != len(x) {
			return &LengthError{"uncond", len(uncond), len(x)}
		}
		if err := pair(ctx, dst, uncond, x, sigma); err != nil {
			return err
		}
		sum2(dst, scale, dst, 1-scale, uncond)
		return nil
	}
}

// stepAt returns the step that a noise level belongs to: the last i with
// sigmas[i] ≥ sigma, or 0.
func stepAt(sigmas []float64, sigma float64) int {
	i := 0
	for i+2 < len(sigmas) && sigmas[i+1] >= sigma*(1-1e-9) {
		i++
	}
	return i
}

// Interval uses one denoiser at noise levels in (lo, hi], and another outside:
// guidance in a limited interval (Kynkäänniemi et al. 2024, arXiv:2404.07724)
// with [CFG] inside and the conditional model alone outside.
func Interval(lo, hi float64, inside, outside Denoiser) Denoiser {
	return func(ctx context.Context, dst, x []float32, sigma float64) error {
		if lo < sigma && sigma <= hi {
			return inside(ctx, dst, x, sigma)
		}
		return outside(ctx, dst, x, sigma)
	}
}

// Steps uses another denoiser in each step, counted from 0: prompt schedules,
// with [PromptSwitch] and [PromptTurn]. sigmas are the sampler's. A step's
// evaluations at lower noise levels than its end's belong to it.
func Steps(sigmas []float64, at func(step int) Denoiser) Denoiser {
	return func(ctx context.Context, dst, x []float32, sigma float64) error {
		return at(stepAt(sigmas, sigma))(ctx, dst, x, sigma)
	}
}

// PromptSwitch tells whether [a:b:when] stands for b in a step, counted from 0:
// when below 1 is a fraction of the steps, else a number of steps, after
// AUTOMATIC1111's grammar.
func PromptSwitch(when float64, step, steps int) bool {
	if when < 1 {
		when *= float64(steps)
	}
	return float64(step) >= math.Floor(min(when, float64(steps)))
}

// PromptTurn tells which of n alternatives [a|b|…] stands for in a step,
// counted from 0: they take turns.
func PromptTurn(n, step int) int {
	if n < 1 {
		return 0
	}
	return step % n
}

// A Many writes the clean samples that the model expects behind x with several
// conditions, one to each slice of dst.
type Many func(ctx context.Context, dst [][]float32, x []float32, sigma float64) error

// Composable guides with several prompts at once (Liu et al. 2022,
// "Compositional Visual Generation with Composable Diffusion Models",
// arXiv:2206.01714; AUTOMATIC1111's AND):
//
//	D = uncond + scale·Σ weight_i·(cond_i - uncond)
//
// The model's first answer is uncond and the others follow the weights, which
// may be negative.
func Composable(many Many, weights []float64, scale float64) Denoiser {
	coefficients := make([]float64, len(weights)+1)
	coefficients[0] = 1
	for i, w := range weights {
		coefficients[i+1] = w * scale
		coefficients[0] -= w * scale
	}
	return weighted(many, coefficients)
}

// Perturbed adds to classifier-free guidance the contrast to a worse version
// of the model itself: with perturbed attention (Ahn et al. 2024,
// arXiv:2403.17377), with layers skipped, or a smaller model (autoguidance,
// Karras et al. 2024, arXiv:2406.02507).
//
//	D = uncond + scale·(cond - uncond) + contrast·(cond - worse)
//
// The model's answers are uncond, cond and worse.
func Perturbed(many Many, scale, contrast float64) Denoiser {
	return weighted(many, []float64{1 - scale, scale + contrast, -contrast})
}

// weighted sums a model's answers with coefficients.
func weighted(many Many, coefficients []float64) Denoiser {
	answers := make([][]float32, len(coefficients))
	return func(ctx context.Context, dst, x []float32, sigma float64) error {
		for i := range answers {
			answers[i] = grow(answers[i], len(x))
		}
		if err := many(ctx, answers, x, sigma); err != nil {
			return err
		}
		clear(dst)
		for i, k := range coefficients {
			add(dst, k, answers[i])
		}
		return nil
	}
}
