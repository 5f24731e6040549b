package sampler

import "math"

// The schedules of flow-matching models move even times towards high noise by
// themselves: their process is [Flow] without a shift. Their levels are
// fractions of the last timestep, so that other processes have them too. tokens
// is the number of tokens of the picture, a sixteenth of a side squared each
// (4096 for 1024x1024).

// Flux is the schedule of FLUX.1, shifted by [DynamicShift].
func Flux(tokens int) func(p *Process, n int) ([]float64, error) {
	return shifted(func(int) float64 { return DynamicShift(tokens, 0.5, 1.15) })
}

// Flux2 is that of FLUX.2: the logarithm of its shift is a line in the tokens
// fitted at 10 and at 200 steps, and on a line between them; beyond 4300
// tokens it is that of 200 steps.
func Flux2(tokens int) func(p *Process, n int) ([]float64, error) {
	return shifted(func(n int) float64 {
		at10, at200 := 8.73809524e-05*float64(tokens)+1.89833333, 0.00016927*float64(tokens)+0.45666666
		if tokens > 4300 {
			return math.Exp(at200)
		}
		return math.Exp(at200 + (at200-at10)/190*(float64(n)-200))
	})
}

// shifted makes a schedule of even times from 1 towards 0, which is left out.
func shifted(shift func(n int) float64) func(p *Process, n int) ([]float64, error) {
	return func(p *Process, n int) ([]float64, error) {
		k := shift(n)
		return fractions(p, n, func(i int) float64 { return Shift(1-float64(i)/float64(n), k) })
	}
}

// LTX2 is the schedule of LTX-2: the logarithm of its shift is a line from 0.95
// at 1024 tokens (here of video) to 2.05 at 4096, and the times are stretched
// so that the last one before 0 is 0.1.
func LTX2(tokens int) func(p *Process, n int) ([]float64, error) {
	const terminal = 0.1
	shift := math.Exp(0.95 + (2.05-0.95)*(float64(tokens)-1024)/(4096-1024))
	return func(p *Process, n int) ([]float64, error) {
		stretch := 1.0
		if n > 1 {
			stretch = (1 - terminal) / (1 - Shift(1/float64(n), shift))
		}
		return fractions(p, n, func(i int) float64 {
			return 1 - stretch*(1-Shift(1-float64(i)/float64(n), shift))
		})
	}
}

// LogitNormal is the schedule of Ideogram 4: quantiles of a distribution whose
// logit is normal with a deviation of 1.75 and a mean that rises with the
// logarithm of the picture's side, from 0 at 512x512; between signal to noise
// ratios of e^-15 and e^18.
func LogitNormal(tokens int) func(p *Process, n int) ([]float64, error) {
	const deviation, top, bottom = 1.75, 18.0 / 2, -15.0 / 2
	mean := math.Log(float64(max(tokens, 1))/1024) / 2
	return func(p *Process, n int) ([]float64, error) {
		return fractions(p, n, func(i int) float64 {
			z := math.Sqrt2 * math.Erfinv(1-2*float64(i)/float64(n))
			return 1 / (1 + math.Exp(-min(max(mean+deviation*z, bottom), top)))
		})
	}
}

// LLaDAImage is the schedule of LLaDA-Image: even times along a curve that is
// steeper at both ends.
func LLaDAImage(p *Process, n int) ([]float64, error) {
	return fractions(p, n, func(i int) float64 {
		s := 0.001 + 0.999*float64(i)/float64(n)
		return 1 - math.Pow(1-math.Pow(1-math.Pow(s, 1.17), 0.8), 1.1)
	})
}

// fractions makes a schedule of fractions of the last timestep.
func fractions(p *Process, n int, at func(i int) float64) ([]float64, error) {
	_, last := tRange(p)
	return fromTimesteps(p, n, func(i int) float64 { return last * at(i) })
}
