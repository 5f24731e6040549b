package sampler

import "math"

// rho of Karras et al. 2022.
const karrasRho = 7

// Karras spaces sigma^(1/7) evenly (Karras et al. 2022, equation 5): more steps
// at low noise.
func Karras(p *Process, n int) (Sigmas, error) {
	return KarrasRho(p.SigmaMin(), p.SigmaMax(), karrasRho, n)
}

// KarrasRho is [Karras] between any noise levels, with any exponent rho.
func KarrasRho(sigmaMin, sigmaMax, rho float64, n int) (Sigmas, error) {
	lo, hi := math.Pow(sigmaMin, 1/rho), math.Pow(sigmaMax, 1/rho)
	return build(n, func(i int) float64 { return math.Pow(hi+(lo-hi)*fraction(i, n), rho) })
}

// ConsistencyPoints are [Karras]'s n+1 noise levels without the lowest: one step of
// a consistency model begins at the highest, two at that and at one half-way.
func ConsistencyPoints(p *Process, n int) (Sigmas, error) {
	lo, hi := math.Pow(p.SigmaMin(), 1.0/karrasRho), math.Pow(p.SigmaMax(), 1.0/karrasRho)
	return build(n, func(i int) float64 { return math.Pow(hi+(lo-hi)*float64(i)/float64(n), karrasRho) })
}

// Exponential spaces log(sigma) evenly.
func Exponential(p *Process, n int) (Sigmas, error) { return Polyexponential(p, 1, n) }

// Polyexponential makes log(sigma) a polynomial of degree rho, as
// k-diffusion's get_sigmas_polyexponential; with rho 1 it is [Exponential].
func Polyexponential(p *Process, rho float64, n int) (Sigmas, error) {
	lo, hi := math.Log(p.SigmaMin()), math.Log(p.SigmaMax())
	return build(n, func(i int) float64 { return math.Exp(lo + (hi-lo)*math.Pow(1-fraction(i, n), rho)) })
}
