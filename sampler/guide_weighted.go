package sampler

import "maps"

// weighted sums a model's answers with coefficients, one for each.
func weighted(g Guidance, m GuidedModel, needs []Answer, coefficients ...float64) Denoiser {
	return m.combine(g, needs, func(dst, _ []float32, _ float64, answers [][]float32) {
		clear(dst)
		for i, k := range coefficients {
			if answers[i] != nil {
				add(dst, k, answers[i])
			}
		}
	})
}

// newComposable guides with several prompts at once (Liu et al. 2022,
// "Compositional Visual Generation with Composable Diffusion Models",
// arXiv:2206.01714; AUTOMATIC1111's AND):
//
//	D = uncond + scale·Σ weight_i·(cond_i - uncond)
//
// Weights may be negative.
func newComposable(g Guidance, m GuidedModel) Denoiser {
	return weighted(g, m, g.Guider.Answers, composed(g.Scale, g.Weights...)...)
}

// composed gives the coefficients of uncond and of each cond.
func composed(scale float64, weights ...float64) []float64 {
	coefficients := make([]float64, len(weights)+1)
	coefficients[0] = 1
	for i, w := range weights {
		coefficients[i+1] = w * scale
		coefficients[0] -= w * scale
	}
	return coefficients
}

// newInstructPix2Pix goes from neither picture nor text to the picture, and on
// to the text (Brooks et al. 2023, arXiv:2211.09800, equation 3):
//
//	D = uncond + image_scale·(image - uncond) + scale·(cond - image)
func newInstructPix2Pix(g Guidance, m GuidedModel) Denoiser {
	return weighted(g, m, g.Guider.Answers, composed(1, g.Parameters["image_scale"]-g.Scale, g.Scale)...)
}

// newPAG adds to classifier-free guidance the contrast to a worse version of
// the net itself: with perturbed attention (Ahn et al. 2024, arXiv:2403.17377),
// with layers skipped, or a smaller net (autoguidance, Karras et al. 2024,
// arXiv:2406.02507).
//
//	D = uncond + scale·(cond - uncond) + pag_scale·(cond - perturbed)
func newPAG(g Guidance, m GuidedModel) Denoiser {
	contrast := g.Parameters["pag_scale"]
	plain := g
	plain.Parameters = maps.Clone(g.Parameters)
	plain.Parameters["pag_scale"] = 0
	without := newCFG(plain, m)
	if contrast == 0 {
		return without
	}
	with := weighted(g, m, g.Needs(m.Uncond != nil), g.Scale+contrast, 1-g.Scale, -contrast)
	hi, lo := g.levels(m.Sigmas, "pag_start", "pag_stop")
	return Interval(lo, hi, with, without)
}

func needsOfPAG(g Guidance) []Answer {
	if g.Parameters["pag_scale"] == 0 {
		return needsOfCFG(Guidance{Scale: g.Scale, Guider: Guider{Answers: []Answer{AnswerCond, AnswerUncond}}})
	}
	if g.Scale == 1 {
		return []Answer{AnswerCond, AnswerPerturbed}
	}
	return g.Guider.Answers
}
