package sampler

import "math"

// KLOptimal makes arctan(sigma) linear (Sabour et al. 2024, "Align Your
// Steps", arXiv:2404.14507, theorem 3.1), as in ComfyUI.
func KLOptimal(p *Process, n int) ([]float64, error) {
	lo, hi := math.Atan(p.SigmaMin()), math.Atan(p.SigmaMax())
	return build(n, func(i int) float64 { return math.Tan(hi + (lo-hi)*fraction(i, n)) })
}

// VP is the variance-preserving SDE's sigma at times even from 1 to 0.001
// (k-diffusion's get_sigmas_vp), whatever the process.
func VP(_ *Process, n int) ([]float64, error) {
	vp := VPSDE()
	return build(n, func(i int) float64 { return vp.TToSigma(1 + (vpEnd-1)*fraction(i, n)) })
}

// LinearQuadratic first falls slowly and evenly, by 2.5 % of the highest
// noise level, then along a parabola: Mochi's schedule, made for flow matching.
func LinearQuadratic(p *Process, n int) ([]float64, error) {
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

// BongTangent follows two arctangents, down to half of the highest noise level
// and on from there: RES4LYF's bong_tangent, as in stable-diffusion.cpp.
func BongTangent(p *Process, n int) ([]float64, error) {
	if n == 1 {
		return []float64{p.SigmaMax(), 0}, nil
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

// betaQuantile is the inverse of the beta distribution's cumulative function,
// by bisection: u in [0, 1]. It is rounded to twelve digits, so that the median
// of a symmetric one is 1/2.
func betaQuantile(u, a, b float64) float64 {
	lo, hi := 0.0, 1.0
	for range 60 {
		mid := (lo + hi) / 2
		if betaCumulative(mid, a, b) < u {
			lo = mid
		} else {
			hi = mid
		}
	}
	return math.Round((lo+hi)/2*1e12) / 1e12
}

// betaCumulative is the regularized incomplete beta function, by its continued
// fraction (DLMF 8.17.22) with Lentz's method.
func betaCumulative(x, a, b float64) float64 {
	switch {
	case x <= 0:
		return 0
	case x >= 1:
		return 1
	case x > (a+1)/(a+b+2):
		return 1 - betaCumulative(1-x, b, a) // where the fraction converges fast
	}
	lga, _ := math.Lgamma(a)
	lgb, _ := math.Lgamma(b)
	lgab, _ := math.Lgamma(a + b)
	front := math.Exp(a*math.Log(x)+b*math.Log1p(-x)+lgab-lga-lgb) / a
	c, d := 1.0, 1/(1-(a+b)*x/(a+1))
	f := d
	for m := 1.0; m < 500; m++ {
		even := m * (b - m) * x / ((a + 2*m - 1) * (a + 2*m))
		d, c = 1/(1+even*d), 1+even/c
		f *= d * c
		odd := -(a + m) * (a + b + m) * x / ((a + 2*m) * (a + 2*m + 1))
		d, c = 1/(1+odd*d), 1+odd/c
		f *= d * c
		if math.Abs(d*c-1) < 1e-15 {
			break
		}
	}
	return front * f
}
