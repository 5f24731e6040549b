package sampler

import "math"

// KLOptimal spaces arctan(sigma) evenly (Sabour et al. 2024, "Align Your
// Steps", arXiv:2404.14507, theorem 3.1), as in ComfyUI.
func KLOptimal(p *Process, n int) (Sigmas, error) {
	lo, hi := math.Atan(p.SigmaMin()), math.Atan(p.SigmaMax())
	return build(n, func(i int) float64 { return math.Tan(hi + (lo-hi)*fraction(i, n)) })
}

// VPSchedule has the sigmas of the variance-preserving SDE at even times from
// 1 to 0.001 (k-diffusion's get_sigmas_vp), whatever the process.
func VPSchedule(_ *Process, n int) (Sigmas, error) {
	vp := VPSDE()
	return build(n, func(i int) float64 { return vp.TToSigma(1 + (vpEnd-1)*fraction(i, n)) })
}

// LinearQuadratic falls slowly and evenly for half of the steps, by 2.5 % of
// the highest noise level, then along a parabola: Mochi's schedule, made for flow
// matching.
func LinearQuadratic(p *Process, n int) (Sigmas, error) {
	const threshold = 0.025
	linear := float64(n / 2)
	rest := float64(n) - linear
	slope := threshold / max(linear, 1)
	square := (linear - threshold*float64(n)) / (max(linear, 1) * rest * rest)
	top := p.SigmaMax()
	return build(n, func(i int) float64 {
		k := float64(i)
		if k <= linear || n == 1 {
			return top * (1 - k*slope)
		}
		// The parabola meets the line with its slope, and ends at 1 after n.
		b := slope - 2*square*linear
		return top * (1 - (square*k*k + b*k + square*linear*linear))
	})
}

// BongTangent follows one arctangent down to half of the highest noise level
// and another from there: RES4LYF's bong_tangent, as in stable-diffusion.cpp.
func BongTangent(p *Process, n int) (Sigmas, error) {
	if n == 1 {
		return Sigmas{p.SigmaMax(), 0}, nil
	}
	const pivot, slope = 0.6, 0.2
	lo, hi := p.SigmaMin(), p.SigmaMax()
	steps := n + 2
	mid := int(float64(steps) * pivot)
	k := slope * 40 / float64(steps)
	// arc falls from a to b over count points, along atan with its steepest
	// point at index centre.
	arc := func(i, count, centre int, a, b float64) float64 {
		v := func(i int) float64 { return math.Atan(-k * float64(i-centre)) }
		top, bottom := v(0), v(count-1)
		return b + (a-b)*(v(i)-bottom)/(top-bottom)
	}
	half := lo + (hi-lo)/2
	return build(n, func(i int) float64 {
		if i < mid-1 {
			return arc(i, mid, mid, hi, half)
		}
		return arc(i-(mid-1), steps-mid, 0, half, lo)
	})
}
