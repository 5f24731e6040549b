package sampler

import "math"

// Normal spaces n timesteps evenly, the last and the first one included:
// k-diffusion's get_sigmas, AUTOMATIC1111's default, ComfyUI's "normal",
// "discrete" in stable-diffusion.cpp.
func Normal(p *Process, n int) (Sigmas, error) {
	first, last := tRange(p)
	return fromTimesteps(p, n, func(i int) float64 { return last + (first-last)*fraction(i, n) })
}

// SGMUniform is [Normal] with one timestep more, of which the last is left
// out: the step to 0 begins at a higher noise level (Stability's
// generative-models).
func SGMUniform(p *Process, n int) (Sigmas, error) {
	first, last := tRange(p)
	return fromTimesteps(p, n, func(i int) float64 { return last + (first-last)*float64(i)/float64(n) })
}

// Linear spaces timesteps evenly from the last one down to 0, which is left
// out: the schedule of flow matching, where the process does the shifting, and
// stretches the noise levels if it has a last one ([Process.WithTerminal]).
func Linear(p *Process, n int) (Sigmas, error) {
	_, last := tRange(p)
	at := func(i int) float64 { return p.TToSigma(last * (1 - float64(i)/float64(n))) }
	if p.terminal == 0 || n < 2 {
		return build(n, at)
	}
	stretch := (1 - p.terminal) / (1 - at(n-1))
	return build(n, func(i int) float64 { return 1 - stretch*(1-at(i)) })
}

// Simple takes every k-th trained noise level from the highest down, with
// k = 1000/n: "simple" in ComfyUI and AUTOMATIC1111.
func Simple(p *Process, n int) (Sigmas, error) {
	last := len(p.Levels()) - 1
	ratio := float64(last+1) / float64(n)
	return fromLevels(p, n, func(i int) float64 { return float64(last) - math.Floor(float64(i)*ratio) }, nil)
}

// Trailing takes the timesteps at the ends of n equal parts: "trailing" spacing
// of the diffusers library (table 2 of Lin et al. 2024, "Common Diffusion Noise
// Schedules and Sample Steps are Flawed", arXiv:2305.08891).
func Trailing(p *Process, n int) (Sigmas, error) {
	count := float64(len(p.Levels()))
	return fromLevels(p, n, func(i int) float64 { return math.RoundToEven(count-float64(i)*count/float64(n)) - 1 }, nil)
}

// DDIMUniform takes the timesteps 1, 1+k, 1+2k, … with k the whole part of
// 1000/n: the schedule of DDIM in the first latent diffusion models, and
// "leading" spacing with an offset of 1 in the diffusers library. It begins a
// little below the highest noise level. Where n does not divide 1000, ComfyUI's
// ddim_uniform has more steps than were asked for; this one has not.
func DDIMUniform(p *Process, n int) (Sigmas, error) { return Leading(p, 1, n) }

// LeadingZero takes the timesteps 0, k, 2k, …: "leading" spacing of the diffusers
// library with its steps_offset of 0.
func LeadingZero(p *Process, n int) (Sigmas, error) { return Leading(p, 0, n) }

// Leading takes the timesteps offset, offset+k, offset+2k, …: "leading" spacing
// of the diffusers library.
func Leading(p *Process, offset, n int) (Sigmas, error) {
	count := len(p.Levels())
	ratio := count / max(n, 1)
	return fromLevels(p, n, func(i int) float64 { return min(float64(count-1), float64((n-1-i)*ratio+offset)) }, nil)
}

// SmoothStep spaces timesteps along 3u²-2u³, more at both ends: "smoothstep" in
// stable-diffusion.cpp.
func SmoothStep(p *Process, n int) (Sigmas, error) {
	last := float64(len(p.Levels()) - 1)
	at := func(i int) float64 {
		u := 1 - float64(i)/float64(n)
		return last * u * u * (3 - 2*u)
	}
	return fromLevels(p, n, func(i int) float64 { return math.Round(at(i)) }, at)
}

// LCMTimesteps takes n of the 50 timesteps that latent consistency models were
// distilled at, evenly spread.
func LCMTimesteps(p *Process, n int) (Sigmas, error) {
	const trained = 50
	k := float64(len(p.Levels())) / trained
	return fromLevels(p, n, func(i int) float64 { return (trained-math.Floor(float64(i)*trained/float64(n)))*k - 1 }, nil)
}

// fromLevels takes trained noise levels by their index. Where there are not n
// different ones, it interpolates at fractional indices: those of exact, or
// evenly spaced ones if exact is nil.
func fromLevels(p *Process, n int, index, exact func(i int) float64) (Sigmas, error) {
	levels := p.Levels()
	last := len(levels) - 1
	before := float64(last) + 1
	distinct := true
	for i := 0; i < n && distinct; i++ {
		k := index(i)
		distinct = k >= 0 && k < before
		before = k
	}
	if distinct {
		return build(n, func(i int) float64 { return levels[int(index(i))] })
	}
	if exact == nil {
		exact = func(i int) float64 { return float64(last) * (1 - float64(i)/float64(n)) }
	}
	return build(n, func(i int) float64 {
		k, f := math.Modf(exact(i))
		lo, hi := levels[int(k)], levels[min(int(k)+1, last)]
		return math.Exp((1-f)*math.Log(lo) + f*math.Log(hi))
	})
}
