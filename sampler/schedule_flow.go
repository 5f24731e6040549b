package sampler

import "math"

// The schedules of flow-matching models shift even times towards high noise
// themselves, in place of the shift that a process of [Flow] has. Their levels are
// fractions of the last timestep. tokens is the number of tokens of the picture:
// in FLUX.1 one for 16x16 pixels, 4096 for 1024x1024.

// Flux is the schedule of FLUX.1, shifted by [DynamicShift].
func Flux(tokens int) ScheduleFunc {
	return shifted(func(int) float64 { return DynamicShift(tokens, 0.5, 1.15) })
}

// Flux2 is that of FLUX.2. The logarithm of its shift is linear in the tokens,
// with one line for 10 steps and one for 200, and linear in the steps between
// them; beyond 4300 tokens it is that of 200 steps.
func Flux2(tokens int) ScheduleFunc {
	return shifted(func(n int) float64 { return Flux2Shift(tokens, n) })
}

// Flux2Shift is FLUX.2's shift for a picture of so many tokens in n steps.
func Flux2Shift(tokens, n int) float64 {
	at10, at200 := 8.73809524e-05*float64(tokens)+1.89833333, 0.00016927*float64(tokens)+0.45666666
	if tokens > 4300 {
		return math.Exp(at200)
	}
	return math.Exp(at200 + (at200-at10)/190*(float64(n)-200))
}

// shifted makes a schedule of even times from 1 down to 0, which is left out.
func shifted(shift func(n int) float64) ScheduleFunc {
	return func(p *Process, n int) (Sigmas, error) {
		k := shift(n)
		return fractions(p, n, func(i int) float64 { return shiftSigma(1-float64(i)/float64(n), k) })
	}
}

// QwenImage is the schedule of Qwen-Image. The logarithm of its shift is linear
// in the tokens, 0.5 at 256 and 0.9 at 8192, and the times are stretched so that
// the last one before 0 is 0.02.
func QwenImage(tokens int) ScheduleFunc {
	shift := math.Exp(0.5 + (0.9-0.5)*(float64(tokens)-256)/(8192-256))
	return func(p *Process, n int) (Sigmas, error) {
		if p.Kind() != KindFlow {
			return Linear(p, n)
		}
		return Linear(Flow(shift).WithTerminal(0.02), n)
	}
}

// shiftedBy is a schedule of flows that have a shift of their own, in place of the
// process's: ComfyUI and stable-diffusion.cpp give Qwen-Image one that does not
// depend on the picture's size.
func shiftedBy(shift float64, schedule ScheduleFunc) ScheduleFunc {
	return func(p *Process, n int) (Sigmas, error) {
		if p.Kind() != KindFlow {
			return schedule(p, n)
		}
		return schedule(Flow(shift), n)
	}
}

// flowDiscrete is stable-diffusion.cpp's schedule "discrete" of flows: even numbers of
// timesteps, of which there are 1000, from the last to the first.
func flowDiscrete(p *Process, n int) (Sigmas, error) {
	if p.Kind() != KindFlow {
		return Normal(p, n)
	}
	return build(n, func(i int) float64 { return p.TToSigma(1 + 999*(1-fraction(i, n))) })
}

// LTX2 is the schedule of LTX-2. The logarithm of its shift is linear in the
// tokens (here of a video), 0.95 at 1024 and 2.05 at 4096, and the times are
// stretched so that the last one before 0 is 0.1.
func LTX2(tokens int) ScheduleFunc {
	const terminal = 0.1
	shift := math.Exp(0.95 + (2.05-0.95)*(float64(tokens)-1024)/(4096-1024))
	return func(p *Process, n int) (Sigmas, error) {
		stretch := 1.0
		if n > 1 {
			stretch = (1 - terminal) / (1 - shiftSigma(1/float64(n), shift))
		}
		return fractions(p, n, func(i int) float64 {
			return 1 - stretch*(1-shiftSigma(1-float64(i)/float64(n), shift))
		})
	}
}

// LogitNormal is the schedule of Ideogram 4: quantiles of a distribution whose
// logit is normal, with a standard deviation of 1.75 and a mean that rises with
// the logarithm of the picture's side, from 0 at 512x512. It stays between
// signal-to-noise ratios of e^-15 and e^18.
func LogitNormal(tokens int) ScheduleFunc {
	const deviation, top, bottom = 1.75, 18.0 / 2, -15.0 / 2
	mean := math.Log(float64(max(tokens, 1))/1024) / 2
	return func(p *Process, n int) (Sigmas, error) {
		return fractions(p, n, func(i int) float64 {
			z := math.Sqrt2 * math.Erfinv(1-2*float64(i)/float64(n))
			return 1 / (1 + math.Exp(-min(max(mean+deviation*z, bottom), top)))
		})
	}
}

// LLaDAImage is the schedule of LLaDA-Image: even times along a curve that is
// steeper at both ends.
func LLaDAImage(p *Process, n int) (Sigmas, error) {
	return fractions(p, n, func(i int) float64 {
		s := 0.001 + 0.999*float64(i)/float64(n)
		return 1 - math.Pow(1-math.Pow(1-math.Pow(s, 1.17), 0.8), 1.1)
	})
}

// fractions makes a schedule of fractions of the last timestep. A flow's own shift is left out, since
// the schedule has one.
func fractions(p *Process, n int, at func(i int) float64) (Sigmas, error) {
	if p.Kind() == KindFlow {
		p = Flow(1)
	}
	_, last := tRange(p)
	return fromTimesteps(p, n, func(i int) float64 { return last * at(i) })
}
