package sampler

import (
	"fmt"
	"math"
)

// A Process relates a model's timesteps to noise levels sigma.
type Process interface {
	// Levels are noise levels the model was trained at, rising. A process in
	// continuous time gives 1000, evenly spaced in its t. Not to be changed.
	Levels() []float64
	// SigmaToT gives the timestep, as the model's net wants it, that belongs
	// to a noise level, clamped to the trained range.
	SigmaToT(sigma float64) float64
	// TToSigma is the noise level at a time t of a schedule. It is the inverse
	// of SigmaToT, except where a flow is shifted ([Flow]).
	TToSigma(t float64) float64
}

// SigmaMin is the lowest noise level that a process was trained at.
func SigmaMin(p Process) float64 { return p.Levels()[0] }

// SigmaMax is the highest noise level that a process was trained at.
func SigmaMax(p Process) float64 { l := p.Levels(); return l[len(l)-1] }

// Discrete is a DDPM's discrete-time process (Ho et al. 2020,
// arXiv:2006.11239), whose model was trained at the integer timesteps 0 to
// len(Levels())-1. Between them log(sigma) is linear in t, as in k-diffusion's
// DiscreteSchedule.
type Discrete struct {
	sigmas, logs []float64
}

// NewDiscrete makes a process of the cumulative products of alpha = 1 - beta,
// which fall within (0, 1].
func NewDiscrete(alphasCumprod []float64) (*Discrete, error) {
	if len(alphasCumprod) < 2 {
		return nil, &LengthError{"alphas_cumprod", len(alphasCumprod), 2}
	}
	d := &Discrete{make([]float64, len(alphasCumprod)), make([]float64, len(alphasCumprod))}
	for i, a := range alphasCumprod {
		if !(a > 0 && a < 1) || i > 0 && !(a < alphasCumprod[i-1]) {
			return nil, fmt.Errorf("alphas_cumprod[%d] is %g, a number between 0 and 1 below the one before wanted", i, a)
		}
		// k-diffusion keeps both tables in float32, and a model's timestep is
		// found from them.
		a32 := float32(a)
		d.sigmas[i] = float64(float32(math.Sqrt(float64((1 - a32) / a32))))
		d.logs[i] = math.Log(d.sigmas[i])
	}
	return d, nil
}

// StableDiffusion is the process of Stable Diffusion 1.x, 2.x and SDXL.
func StableDiffusion() *Discrete {
	d, err := NewDiscrete(AlphasCumprod(ScaledLinearBetas(0.00085, 0.012, 1000)))
	if err != nil {
		panic(err) // constants
	}
	return d
}

// Levels implements [Process].
func (d *Discrete) Levels() []float64 { return d.sigmas }

// SigmaToT implements [Process]: fractional between the trained timesteps.
func (d *Discrete) SigmaToT(sigma float64) float64 {
	return inverse(d.logs, math.Log(sigma))
}

// TToSigma implements [Process].
func (d *Discrete) TToSigma(t float64) float64 { return math.Exp(interpolate(d.logs, t)) }

// interpolate gives the value of a table at a fractional index, clamped.
func interpolate(table []float64, t float64) float64 {
	last := float64(len(table) - 1)
	if !(t > 0) {
		return table[0]
	}
	if t >= last {
		return table[len(table)-1]
	}
	i := int(t)
	w := t - float64(i)
	return (1-w)*table[i] + w*table[i+1]
}

// inverse gives the fractional index at which a rising table has a value,
// clamped.
func inverse(table []float64, v float64) float64 {
	lo, hi := 0, len(table)-1
	if !(v > table[lo]) {
		return 0
	}
	if v >= table[hi] {
		return float64(hi)
	}
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; table[mid] <= v {
			lo = mid
		} else {
			hi = mid
		}
	}
	return float64(lo) + (v-table[lo])/(table[hi]-table[lo])
}
