package sampler

import "math"

// Beta takes quantiles of a beta distribution with both parameters 0.6 as
// timesteps, more at both ends (Lee et al. 2024, "Beta Sampling is All You
// Need", arXiv:2407.12173), as ComfyUI does.
func Beta(p *Process, n int) (Sigmas, error) { return BetaWith(p, 0.6, 0.6, n) }

// BetaWith is [Beta] with any positive parameters of the distribution.
func BetaWith(p *Process, a, b float64, n int) (Sigmas, error) {
	if !(a > 0) || !(b > 0) {
		return nil, &OptionError{"Beta", min(a, b), "above 0"}
	}
	last := float64(len(p.Levels()) - 1)
	at := func(i int) float64 { return last * betaQuantile(1-float64(i)/float64(n), a, b) }
	return fromLevels(p, n, func(i int) float64 { return math.RoundToEven(at(i)) }, at)
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
