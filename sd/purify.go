package sd

import (
	"errors"
	"fmt"
	"image"
	"math"

	"github.com/sdgo/sdgo/sampler"
)

// Purification removes small changes that were made to a picture to mislead a classifier:
// noise is added to the picture and taken away by a model that was trained on such pictures
// (DiffPure, Nie et al. 2022, arXiv:2205.07460). It promises no security: whoever attacks with
// the purification in view loses much less by it.
type Purification struct {
	// Time is how much noise is added, as the paper has it: the time of a VP-SDE with betas
	// from 0.1 to 20, above 0, at most 1. 0 is 0.1 (the paper's for CIFAR-10 at 8/255), or 0.15
	// (its for ImageNet at 4/255) of models whose pictures are larger than 64 pixels.
	Time float64

	// Noise, in place of Time, is the noise level sigma: 0.34 is a Time of 0.1.
	Noise float64

	// Steps is how many are made; 0 is 1000·Time, as in the paper, at most 1000.
	Steps int

	// ODE follows the probability-flow ODE back, in place of the SDE. The SDE removes more of
	// a change at the same noise: to k of it, where the ODE leaves its square root.
	ODE bool

	// Class, Prompt and Guidance are what the model draws with: normally nothing. Empty is
	// without a class, where the model was trained to, and guidance of 1.
	Class, Prompt string

	Seed  int64
	Count int // of purified pictures, of which a classifier's answers may be averaged
}

// purifyLarge is the side of pictures from which on the time is that for larger ones.
const purifyLarge = 65

// Request is the request that purifies a picture with a model, for [Model.Generate].
func (p Purification) Request(m *Model, img image.Image) (Request, error) {
	r := Request{Image: img, Class: p.Class, Prompt: p.Prompt, Guidance: Float(1), Sampler: "ddpm", Seed: p.Seed, Count: p.Count}
	if m.host() == nil {
		return r, ErrClosed
	}
	if p.ODE {
		r.Sampler = "euler"
	}
	if n, _ := m.Classes(); r.Class == "" && n > 0 {
		r.Class = "none"
	}
	if m.Enlarges() {
		return r, fmt.Errorf("%s enlarges pictures: purifying needs a model that draws them", m.Name())
	}
	sigma, err := p.sigma(m.NativeSize())
	if err != nil {
		return r, err
	}
	process := m.Process()
	if process.Kind() == sampler.KindFlow {
		return r, errors.New("purifying is for diffusions, and the model is a flow")
	}
	if low, high := process.SigmaMin(), process.SigmaMax(); sigma < low || sigma > high {
		return r, fmt.Errorf("a noise level of %.3g must be one of the model's, %.3g to %.3g", sigma, low, high)
	}
	r.Schedule = "discrete"
	schedule, err := sampler.LookupSchedule(r.Schedule)
	if err == nil && schedule.Check(process) != nil {
		r.Schedule = "exponential"
		schedule, err = sampler.LookupSchedule(r.Schedule)
	}
	if err != nil {
		return r, err
	}
	if p.Steps == 0 {
		p.Steps = max(1, int(math.Round(1000*timeOf(sigma))))
	}
	if p.Steps < 1 || p.Steps > MaxSteps {
		return r, fmt.Errorf("the steps must be 1 to %d, got %d", MaxSteps, p.Steps)
	}
	r.Steps, r.Strength, err = purifySteps(process, schedule, sigma, p.Steps)
	return r, err
}

// sigma is the noise level that is added.
func (p Purification) sigma(side int) (float64, error) {
	switch {
	case p.Time != 0 && p.Noise != 0:
		return 0, errors.New("time and noise say the same: give one of them")
	case p.Noise != 0:
		if !(p.Noise > 0) || math.IsInf(p.Noise, 1) {
			return 0, fmt.Errorf("the noise must be above 0, got %g", p.Noise)
		}
		return p.Noise, nil
	case p.Time == 0 && side >= purifyLarge:
		p.Time = 0.15
	case p.Time == 0:
		p.Time = 0.1
	}
	if !(p.Time > 0 && p.Time <= 1) {
		return 0, fmt.Errorf("the time must be above 0, at most 1, got %g", p.Time)
	}
	return sampler.VPSDE().TToSigma(p.Time), nil
}

// timeOf is the time of a noise level.
func timeOf(sigma float64) float64 { return sampler.VPSDE().SigmaToT(sigma) }

// purifySteps are the steps of a whole schedule, and the strength, of which so many are made
// from the noise level nearest to one.
func purifySteps(process *sampler.Process, schedule sampler.Schedule, sigma float64, made int) (steps int, strength *float64, err error) {
	best := math.Inf(1)
	for n := made; n <= MaxSteps; n++ {
		sigmas, err := schedule.Sigmas(process, n)
		if err != nil {
			return 0, nil, err
		}
		if d := math.Abs(math.Log(sigmas[n-made] / sigma)); d < best {
			best, steps = d, n
		}
	}
	if best > 0.1 {
		return 0, nil, fmt.Errorf("a noise level of %.3g in %d steps is nothing that the model's schedule of at most %d steps has; fewer Steps have it", sigma, made, MaxSteps)
	}
	return steps, Float((float64(made) - 0.5) / float64(steps)), nil
}
