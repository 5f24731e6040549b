package sampler

import "math"

// Every schedule of n steps has n+1 noise levels, strictly falling, the last
// of which is 0, for any n from 1; anything else is a [*StepsError].

// rho of Karras et al. 2022.
const karrasRho = 7

// Normal takes n timesteps evenly from the last to the first, both included:
// k-diffusion's get_sigmas, AUTOMATIC1111's default, ComfyUI's "normal",
// called "discrete" in stable-diffusion.cpp.
func Normal(p *Process, n int) ([]float64, error) {
	first, last := tRange(p)
	return fromTimesteps(p, n, func(i int) float64 { return last + (first-last)*fraction(i, n) })
}

// Karras spaces sigma^(1/7) evenly (equation 5 of Karras et al. 2022).
func Karras(p *Process, n int) ([]float64, error) {
	return KarrasRho(p.SigmaMin(), p.SigmaMax(), karrasRho, n)
}

// KarrasRho is [Karras] with all its parameters.
func KarrasRho(sigmaMin, sigmaMax, rho float64, n int) ([]float64, error) {
	lo, hi := math.Pow(sigmaMin, 1/rho), math.Pow(sigmaMax, 1/rho)
	return build(n, func(i int) float64 { return math.Pow(hi+(lo-hi)*fraction(i, n), rho) })
}

// Exponential spaces log(sigma) evenly.
func Exponential(p *Process, n int) ([]float64, error) { return Polyexponential(p, 1, n) }

// Polyexponential makes log(sigma) a polynomial of degree rho, as
// k-diffusion's get_sigmas_polyexponential; with rho 1 it is [Exponential].
func Polyexponential(p *Process, rho float64, n int) ([]float64, error) {
	lo, hi := math.Log(p.SigmaMin()), math.Log(p.SigmaMax())
	return build(n, func(i int) float64 { return math.Exp(lo + (hi-lo)*math.Pow(1-fraction(i, n), rho)) })
}

// fraction goes from 0 to 1 as i goes from 0 to n-1.
func fraction(i, n int) float64 {
	if i == 0 {
		return 0
	}
	return float64(i) / float64(n-1)
}

// tRange is the range of timesteps that a process was trained at.
func tRange(p *Process) (first, last float64) {
	return p.SigmaToT(p.SigmaMin()), p.SigmaToT(p.SigmaMax())
}

// fromTimesteps makes a schedule of timesteps that fall with i.
func fromTimesteps(p *Process, n int, t func(i int) float64) ([]float64, error) {
	return build(n, func(i int) float64 { return p.TToSigma(t(i)) })
}

// maxSteps bounds what a schedule allocates.
const maxSteps = 1_000_000

// build makes a schedule of the first n noise levels.
func build(n int, sigma func(i int) float64) ([]float64, error) {
	if n < 1 || n > maxSteps {
		return nil, &StepsError{n, maxSteps}
	}
	sigmas := make([]float64, n+1)
	for i := range n {
		sigmas[i] = sigma(i)
	}
	return sigmas, CheckSigmas(sigmas)
}
