package sampler

import (
	"fmt"
	"math"
)

// Sigmas are the noise levels of a run: n+1 of them for n steps, strictly
// falling, the last of them normally 0. The functions that return them are the
// schedules; each gives such levels for any number of steps from 1 to
// 1,000,000, and a [*StepsError] for others.
type Sigmas []float64

// A ScheduleFunc chooses n+1 noise levels of a process for n steps.
type ScheduleFunc func(p *Process, n int) (Sigmas, error)

// Check returns a [*SigmasError] unless there are at least two noise levels,
// finite and not negative, that fall strictly.
func (s Sigmas) Check() error {
	if len(s) < 2 {
		return &SigmasError{Index: -1, Sigma: math.NaN(), Reason: fmt.Sprintf("there must be at least 2 noise levels, got %d", len(s))}
	}
	for i, sigma := range s {
		switch {
		case !(sigma >= 0) || math.IsInf(sigma, 1):
			return &SigmasError{i, sigma, "must be finite and 0 or more"}
		case i > 0 && !(sigma < s[i-1]):
			return &SigmasError{i, sigma, fmt.Sprintf("must be less than the one before, %g", s[i-1])}
		}
	}
	return nil
}

// TruncateByStrength leaves out the first noise levels for a run that begins
// with a picture: the last [StepsByStrength] steps remain. No noise levels stay
// none.
func TruncateByStrength(sigmas Sigmas, strength float64) Sigmas {
	if len(sigmas) == 0 {
		return sigmas
	}
	n := len(sigmas) - 1
	return sigmas[n-StepsByStrength(n, strength):]
}

// StepsByStrength is the number of steps that a run of n steps makes when it begins
// with a picture, with the denoising strength of AUTOMATIC1111 and
// stable-diffusion.cpp: the last int(n·strength)+1, at most all. A strength of 1
// begins with nearly pure noise, 0 leaves the last step alone. Strengths outside of
// 0 to 1 are taken for the nearer end, NaN for 0.
func StepsByStrength(n int, strength float64) int {
	if !(strength > 0) {
		strength = 0
	}
	return min(int(float64(n)*min(strength, 1))+1, n)
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
func fromTimesteps(p *Process, n int, t func(i int) float64) (Sigmas, error) {
	return build(n, func(i int) float64 { return p.TToSigma(t(i)) })
}

// maxSteps bounds what a schedule allocates.
const maxSteps = 1_000_000

// build makes a schedule of its first n noise levels.
func build(n int, sigma func(i int) float64) (Sigmas, error) {
	if n < 1 || n > maxSteps {
		return nil, &StepsError{n, maxSteps}
	}
	sigmas := make(Sigmas, n+1)
	for i := range n {
		sigmas[i] = sigma(i)
	}
	return sigmas, sigmas.Check()
}
