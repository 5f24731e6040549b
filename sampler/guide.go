package sampler

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
)

// An Answer names a condition that guidance asks the model about.
type Answer string

// The answers.
const (
	AnswerCond      Answer = "cond"      // with the prompt
	AnswerUncond    Answer = "uncond"    // with the negative prompt, or without any condition
	AnswerPerturbed Answer = "perturbed" // with the prompt, from a worse version of the net
	AnswerImage     Answer = "image"     // with the negative prompt and the picture to edit
)

// A Guider is a kind of guidance, as the registry has it. Its steps are: With
// checks the numbers, [Guidance.Needs] says which conditions must be prepared,
// and [Guidance.Denoiser] makes the denoiser of one run.
type Guider struct {
	Name        string
	Aliases     []string // what other programs call it
	Description string   // one line
	// Answers is what it asks of the model, in the order of the slices that a
	// [BatchDenoiser] receives. See Repeats.
	Answers []Answer
	// Repeats is whether the last of Answers stands for any number of them,
	// one for each of [Guidance.Weights].
	Repeats bool
	// CFGPP is whether samplers of CFG++ can run with it.
	CFGPP bool
	// Scale is the guidance scale, and Parameters are the further numbers that
	// it takes by name. All take the interval's: start, stop, sigma_min and
	// sigma_max.
	Scale      Parameter
	Parameters []Parameter
	// New makes the denoiser, without the interval, of numbers that are
	// checked. [Guidance.Denoiser] calls it.
	New func(g Guidance, m GuidedModel) Denoiser
	// needs says which of Answers those numbers need; nil: all.
	needs func(g Guidance) []Answer
}

// Guidance is a kind of guidance with its numbers. [Guider.With] makes it.
type Guidance struct {
	Guider     Guider
	Scale      float64
	Parameters map[string]float64 // a value for each of Guider.Parameters
	Weights    []float64          // of the conditions, where Guider.Repeats; see Weighted
}

// GuidedModel is the model in one run, as guidance sees it.
type GuidedModel struct {
	// Denoise gives the model's answers, in the order of [Guider.Answers].
	// Slices of answers that are not needed are nil.
	Denoise BatchDenoiser
	// Preconditioning is that of the model: some guidance works on what the net
	// predicts.
	Preconditioning *Preconditioning
	// Sigmas are the run's noise levels, which start, stop and zero_steps count.
	// They may be nil where these parameters have their defaults.
	Sigmas Sigmas
	// Images is how many pictures a sample holds, and Channels how many
	// channels each of these has; 0 is 1. Some guidance measures pictures, or
	// channels, one by one.
	Images, Channels int
	// Width is the number of pixels in a row of a channel, where guidance measures
	// tokens of several rows; 0 is one row for all of them.
	Width int
	// Uncond, if not nil, receives the unguided prediction of each evaluation,
	// for a sampler of CFG++: it is the run's Options.Uncond, as long as a
	// sample.
	Uncond []float32
	// Caching leaves out evaluations whose answers it can tell from earlier ones; the
	// zero value leaves out none. Its numbers count Sigmas, and each picture of a sample
	// decides for itself. Changed, if not nil, is called before each evaluation, and
	// reports whether the model has come to answer otherwise, to another condition, say:
	// then nothing of what it answered before is used.
	Caching Caching
	Changed func() bool
}

// With returns the guidance of that kind with a scale and with parameters by
// name; those that are not given have their defaults. The error joins a
// [*ParameterError] for each number that is out of range or that the kind does
// not take.
func (g Guider) With(scale float64, parameters map[string]float64) (Guidance, error) {
	all, err := fill(g.Name, g.Parameters, parameters)
	err = errors.Join(g.Scale.check(g.Name, scale), err)
	if err == nil {
		err = errors.Join(ordered(g.Name, all, "start", "stop"), ordered(g.Name, all, "sigma_min", "sigma_max"),
			ordered(g.Name, all, "pag_start", "pag_stop"))
	}
	if err != nil {
		return Guidance{}, err
	}
	return Guidance{Guider: g, Scale: scale, Parameters: all}, nil
}

// ordered checks that one parameter is at most another.
func ordered(of string, all map[string]float64, low, high string) error {
	if all[low] <= all[high] {
		return nil
	}
	return &ParameterError{Of: of, Name: low, Value: all[low], Range: fmt.Sprintf("at most %s, %g,", high, all[high])}
}

// Weighted returns the guidance with weights of its conditions, at least one
// finite number, where Guider.Repeats.
func (g Guidance) Weighted(weights ...float64) (Guidance, error) {
	if !g.Guider.Repeats {
		return Guidance{}, fmt.Errorf("%s takes no weights", g.Guider.Name)
	}
	if len(weights) == 0 {
		return Guidance{}, fmt.Errorf("%s must have at least one weight, got none", g.Guider.Name)
	}
	for i, w := range weights {
		if math.IsNaN(w) || math.IsInf(w, 0) {
			return Guidance{}, fmt.Errorf("weight %d of %s must be finite, got %g", i+1, g.Guider.Name, w)
		}
	}
	g.Weights = slices.Clone(weights)
	return g, nil
}

// Needs lists, of [Guider.Answers], what the guidance will ask for: classifier-
// free guidance at scale 1 needs no unconditional answer. cfgpp says that it is
// for a sampler of CFG++.
func (g Guidance) Needs(cfgpp bool) []Answer {
	needs := g.Guider.Answers
	if g.Guider.needs != nil {
		needs = g.Guider.needs(g)
	}
	var out []Answer
	for _, a := range g.Guider.Answers {
		// The interval's outside is the conditional model alone.
		if slices.Contains(needs, a) || a == AnswerUncond && cfgpp || a == AnswerCond && (cfgpp || g.limited()) {
			out = append(out, a)
		}
	}
	return out
}

// Denoiser makes the denoiser of one run. It has memory of its own, and some
// kinds remember earlier steps: make one for each run.
func (g Guidance) Denoiser(m GuidedModel) (Denoiser, error) {
	if err := g.check(&m); err != nil {
		return nil, err
	}
	every := int(g.Parameters["every"])
	if every > 1 {
		m.Denoise = seldom(m.Denoise, every)
	}
	if m.Caching.Cache.Name != "" {
		if every > 1 && m.Images > 1 {
			return nil, fmt.Errorf("every is %d, which goes with a step cache for one picture at a time, got %d", every, m.Images)
		}
		var err error
		if m.Denoise, err = m.Caching.denoiser(m); err != nil {
			return nil, err
		}
	}
	d := g.Guider.New(g, m)
	if g.limited() {
		hi, lo := g.levels(m.Sigmas, "start", "stop")
		d = Interval(max(lo, g.Parameters["sigma_min"]), min(hi, g.Parameters["sigma_max"]), d, g.unguided(m))
	}
	if zero := int(g.Parameters["zero_steps"]); zero > 0 {
		d = m.stillFor(zero, d)
	}
	return d, nil
}

// check checks the numbers again, since a Guidance may be made by hand, and the
// model, in which it fills in defaults.
func (g Guidance) check(m *GuidedModel) error {
	name := g.Guider.Name
	if g.Guider.New == nil {
		return errors.New("guidance must be made by Guider.With")
	}
	if _, err := g.Guider.With(g.Scale, g.Parameters); err != nil {
		return err
	}
	if len(g.Parameters) != len(g.Guider.Parameters) {
		return errors.New("guidance must be made by Guider.With")
	}
	if g.Guider.Repeats && len(g.Weights) == 0 {
		return fmt.Errorf("%s must have at least one weight, got none", name)
	}
	if m.Denoise == nil || m.Preconditioning == nil {
		return fmt.Errorf("guidance %s must have a model and its preconditioning", name)
	}
	if m.Uncond != nil && !g.Guider.CFGPP {
		return fmt.Errorf("guidance %s does not go with samplers of CFG++", name)
	}
	if m.Images, m.Channels = max(m.Images, 1), max(m.Channels, 1); m.Sigmas != nil {
		if err := m.Sigmas.Check(); err != nil {
			return err
		}
	}
	p := g.Parameters
	for _, q := range g.Guider.Parameters {
		if v := p[q.Name]; q.counts && v != q.Default && m.Sigmas == nil {
			return fmt.Errorf("%s is %g, for which guidance must know the noise levels of the run", q.Name, v)
		}
	}
	if zero := int(p["zero_steps"]); zero > 0 && zero > len(m.Sigmas)-2 {
		return &ParameterError{Of: name, Name: "zero_steps", Value: p["zero_steps"], Range: fmt.Sprintf("less than the %d steps", len(m.Sigmas)-1)}
	}
	return nil
}

// limited reports whether the guidance acts in a part of the run only.
func (g Guidance) limited() bool {
	for _, p := range interval() {
		if v, ok := g.Parameters[p.Name]; ok && v != p.Default {
			return true
		}
	}
	return false
}

// levels turns two fractions of the steps into the noise levels (lo, hi] of
// these steps.
func (g Guidance) levels(sigmas Sigmas, start, stop string) (hi, lo float64) {
	hi, n := math.Inf(1), float64(len(sigmas)-1)
	if from := int(g.Parameters[start] * n); from > 0 {
		hi = sigmas[from] * (1 + rounding)
	}
	if to := int(g.Parameters[stop] * n); to < len(sigmas)-1 {
		lo = sigmas[to] * (1 + rounding)
	}
	return hi, lo
}

// rounding is how far the noise level of an evaluation may be from that of its
// step: some samplers compute it again, from its logarithm.
const rounding = 1e-9

// unguided is the conditional model alone: several conditions are combined
// with scale 1.
func (g Guidance) unguided(m GuidedModel) Denoiser {
	if g.Guider.Repeats {
		g.Scale = 1
		return g.Guider.New(g, m)
	}
	return m.combine(g, []Answer{AnswerCond}, nil)
}

// combine makes a denoiser of the answers that are needed. of receives them in
// the order of Guider.Answers, nil for the others, and may change them. Where
// only one is needed it is the denoiser's own, and of is not called.
func (m GuidedModel) combine(g Guidance, needs []Answer, of func(dst, x []float32, sigma float64, answers [][]float32)) Denoiser {
	answers := slices.Clone(g.Guider.Answers)
	for len(answers) <= len(g.Weights) {
		answers = append(answers, answers[len(answers)-1])
	}
	memory, asked := make([][]float32, len(answers)), make([][]float32, len(answers))
	unguided, only := slices.Index(answers, AnswerUncond), -1
	if len(needs) == 1 && len(g.Weights) < 2 {
		only = slices.Index(answers, needs[0])
		unguided = only
	}
	return func(ctx context.Context, dst, x []float32, sigma float64) error {
		if m.Uncond != nil && len(m.Uncond) != len(x) {
			return &LengthError{"uncond", len(m.Uncond), len(x)}
		}
		for i, a := range answers {
			switch {
			case i == only:
				asked[i] = dst
			case only < 0 && slices.Contains(needs, a):
				memory[i] = grow(memory[i], len(x))
				asked[i] = memory[i]
			}
		}
		if err := m.Denoise(ctx, asked, x, sigma); err != nil {
			return err
		}
		if m.Uncond != nil {
			copy(m.Uncond, asked[unguided])
		}
		if only < 0 {
			of(dst, x, sigma, asked)
		}
		return nil
	}
}

// Interval uses one denoiser at noise levels in (lo, hi] and another elsewhere:
// guidance in a limited interval (Kynkäänniemi et al. 2024, arXiv:2404.07724)
// is [CFG] inside and the conditional model alone outside.
func Interval(lo, hi float64, inside, outside Denoiser) Denoiser {
	return func(ctx context.Context, dst, x []float32, sigma float64) error {
		if lo < sigma && sigma <= hi {
			return inside(ctx, dst, x, sigma)
		}
		return outside(ctx, dst, x, sigma)
	}
}
