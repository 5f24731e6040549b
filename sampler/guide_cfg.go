package sampler

import (
	"context"
	"math"
)

// CFG is classifier-free guidance (Ho and Salimans 2022, arXiv:2207.12598) in
// the form that all Stable Diffusion programs use:
//
//	D = uncond + scale·(cond - uncond)
//
// The model's answers are cond and uncond. Scale 1 asks for cond alone, and
// scale 0 for uncond alone. The denoiser reuses scratch slices: two goroutines
// need two. The other kinds of guidance are in the registry ([LookupGuider]).
func CFG(model BatchDenoiser, scale float64) Denoiser {
	g := Guidance{Guider: Guider{Answers: []Answer{AnswerCond, AnswerUncond}, needs: needsOfCFG}, Scale: scale}
	return newCFG(g, GuidedModel{Denoise: model})
}

func newCFG(g Guidance, m GuidedModel) Denoiser {
	guided := int(g.Parameters["channels"])
	return m.combine(g, g.Needs(m.Uncond != nil), func(dst, _ []float32, _ float64, answers [][]float32) {
		sum2(dst, g.Scale, answers[0], 1-g.Scale, answers[1])
		if guided > 0 && guided < m.Channels { // as Peebles and Xie's code has it (arXiv:2212.09748)
			for i := range m.Images {
				d, cond := part(dst, i, m.Images), part(answers[0], i, m.Images)
				from := len(d) / m.Channels * guided
				copy(d[from:], cond[from:])
			}
		}
	})
}

func needsOfCFG(g Guidance) []Answer {
	switch {
	case g.Scale == 0 && g.Parameters["channels"] == 0:
		return []Answer{AnswerUncond}
	case g.Scale == 1:
		return []Answer{AnswerCond}
	}
	return g.Guider.Answers
}

// needsAboveOne is for kinds that scale 1 turns off.
func needsAboveOne(g Guidance) []Answer {
	if g.Scale == 1 {
		return []Answer{AnswerCond}
	}
	return g.Guider.Answers
}

// newCFGRescale gives guided predictions the standard deviation of the
// conditional ones, by the fraction phi (Lin et al. 2024, section 3.4,
// arXiv:2305.08891). It measures what the net predicts, each picture on its
// own, as the diffusers library's guidance_rescale does.
func newCFGRescale(g Guidance, m GuidedModel) Denoiser {
	phi := g.Parameters["phi"]
	return m.combine(g, g.Needs(m.Uncond != nil), func(dst, x []float32, sigma float64, answers [][]float32) {
		cond, uncond := answers[0], answers[1]
		skip, gain, _ := m.Preconditioning.Scalings(sigma)
		sum2(cond, 1/gain, cond, -skip/gain, x)
		sum2(uncond, 1/gain, uncond, -skip/gain, x)
		sum2(dst, g.Scale, cond, 1-g.Scale, uncond)
		for i := range m.Images {
			d := part(dst, i, m.Images)
			if s := deviation(d); s > 0 {
				multiply(d, phi*deviation(part(cond, i, m.Images))/s+1-phi)
			}
		}
		sum2(dst, gain, dst, skip, x)
	})
}

// newCFGZeroStar is CFG-Zero* for flow matching (Fan et al. 2025,
// arXiv:2503.18886), without the still steps of its beginning: the
// unconditional prediction is scaled to be as near to the conditional one as
// it can. It measures what the net predicts, each picture on its own.
func newCFGZeroStar(g Guidance, m GuidedModel) Denoiser {
	return m.combine(g, g.Needs(m.Uncond != nil), func(dst, x []float32, sigma float64, answers [][]float32) {
		cond, uncond := answers[0], answers[1]
		skip, gain, _ := m.Preconditioning.Scalings(sigma)
		sum2(cond, 1/gain, cond, -skip/gain, x)
		sum2(uncond, 1/gain, uncond, -skip/gain, x)
		for i := range m.Images {
			c, u := part(cond, i, m.Images), part(uncond, i, m.Images)
			alpha := dot(c, u) / (dot(u, u) + 1e-8)
			sum2(part(dst, i, m.Images), g.Scale, c, (1-g.Scale)*alpha, u)
		}
		sum2(dst, gain, dst, skip, x)
	})
}

// stillFor replaces what the net predicts by 0 in the first steps of a run.
func (m GuidedModel) stillFor(steps int, then Denoiser) Denoiser {
	still := func(_ context.Context, dst, x []float32, sigma float64) error {
		skip, _, _ := m.Preconditioning.Scalings(sigma)
		sum2(dst, skip, x, 0, x)
		copy(m.Uncond, dst)
		return nil
	}
	return Interval(m.Sigmas[steps]*(1+rounding), math.Inf(1), still, then)
}
