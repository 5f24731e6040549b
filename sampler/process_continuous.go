package sampler

import "math"

// newContinuous makes a process in continuous time, with 1000 levels at even
// times from first to last.
func newContinuous(kind ProcessKind, first, last float64, tToSigma, sigmaToT func(float64) float64) *Process {
	const count = 1000
	p := &Process{kind: kind, levels: make([]float64, count), sigmaData: 1, sigmaToT: sigmaToT, tToSigma: tToSigma}
	for i := range p.levels {
		p.levels[i] = tToSigma(first + (last-first)*float64(i)/(count-1))
	}
	return p
}

// EDM is the process of Karras et al. 2022 between two noise levels (usually
// 0.002 and 80), for data of standard deviation sigmaData (usually 0.5). The
// net's timestep is log(sigma)/4.
func EDM(sigmaMin, sigmaMax, sigmaData float64) *Process {
	at := func(sigma float64) float64 { return math.Log(sigma) / 4 }
	p := newContinuous(KindEDM, at(sigmaMin), at(sigmaMax), func(t float64) float64 { return math.Exp(4 * t) }, at)
	p.sigmaData = sigmaData
	return p
}

// VESDE is the variance-exploding SDE of Song et al. 2021 ("Score-Based
// Generative Modeling through Stochastic Differential Equations",
// arXiv:2011.13456): sigma rises geometrically with t from 0 to 1.
func VESDE(sigmaMin, sigmaMax float64) *Process {
	ratio := math.Log(sigmaMax / sigmaMin)
	return newContinuous(KindVE, 0, 1,
		func(t float64) float64 { return sigmaMin * math.Exp(ratio*t) },
		func(sigma float64) float64 { return math.Log(sigma/sigmaMin) / ratio })
}

// The variance-preserving SDE's usual constants (Song et al. 2021, appendix C).
const (
	vpBetaMin, vpBetaD = 0.1, 19.9
	vpEnd              = 1e-3
)

// VPSDE is the variance-preserving SDE of Song et al. 2021, the limit of DDPM
// with linear betas: t from 0.001 to 1.
func VPSDE() *Process {
	return newContinuous(KindVP, vpEnd, 1,
		func(t float64) float64 { return math.Sqrt(math.Expm1(t * (vpBetaMin + vpBetaD*t/2))) },
		func(sigma float64) float64 { return vpTime(math.Log1p(sigma * sigma)) })
}

// SubVPSDE is the sub-variance-preserving SDE of Song et al. 2021 (section 3.4): the
// clean sample's factor m is that of [VPSDE] and the noise's 1-m², so that
// sigma = (1-m²)/m; t from 0.001 to 1.
func SubVPSDE() *Process {
	return newContinuous(KindSubVP, vpEnd, 1,
		func(t float64) float64 { return 2 * math.Sinh(t*(vpBetaMin+vpBetaD*t/2)/2) },
		func(sigma float64) float64 { return vpTime(2 * math.Asinh(sigma/2)) })
}

// vpTime is the time at which the integral of beta has a value.
func vpTime(integral float64) float64 {
	return (math.Sqrt(vpBetaMin*vpBetaMin+2*vpBetaD*integral) - vpBetaMin) / vpBetaD
}

// Flow is the process of rectified flow (Liu et al. 2022, arXiv:2209.03003;
// Lipman et al. 2022, arXiv:2210.02747),
//
//	x = (1 - sigma)·x0 + sigma·eps,   sigma from 0 to 1,
//
// with timesteps 1000·sigma for the net. shift > 1 moves the schedules'
// steps to higher noise, for larger pictures (Esser et al. 2024,
// arXiv:2403.03206): 1 for none, 3 for Stable Diffusion 3; see [DynamicShift].
//
// [Sampler.Sample] runs every sampler on a flow, if its Options.Process says
// that it is one. A [Func] that is called directly must be deterministic there.
func Flow(shift float64) *Process {
	return newContinuous(KindFlow, 1, 1000,
		func(t float64) float64 { return shiftSigma(t/1000, shift) },
		func(sigma float64) float64 { return 1000 * sigma })
}

// shiftSigma moves a flow's sigma towards 1.
func shiftSigma(sigma, shift float64) float64 { return shift * sigma / (1 + (shift-1)*sigma) }

// DynamicShift is the shift for a picture of so many tokens (a sixteenth of a
// latent's pixels in FLUX.1): exp of a line through base at 256 and top at
// 4096 tokens, 0.5 and 1.15 in FLUX.1.
func DynamicShift(tokens int, base, top float64) float64 {
	return math.Exp(base + (top-base)*(float64(tokens)-256)/(4096-256))
}
