package sampler

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
)

// An Edit is a concept that semantic guidance moves samples towards.
type Edit struct {
	Away      bool    // or away from
	Scale     float64 // how strongly, 0 to 1000; 5 is usual
	Threshold float64 // the share of each channel's elements, those of least magnitude, that stay as they are: 0 to 1; 0.9 is usual
	WarmUp    int     // steps at the beginning in which it does not act yet; 10 is usual
	CoolDown  int     // the step from which on it no longer acts; 0: it acts to the end
	Weight    float64 // its share beside other edits, 0 or more; 1 is usual
}

// SemanticGuidance is SEGA (Brack et al. 2023, arXiv:2301.12247): edits are added to what
// any kind of guidance predicts, without a mask and without training. With u, c and e what
// the net predicts without a condition, with it and with that of an edit,
//
//	gᵢ = ±scale·(eᵢ - u), 0 where |gᵢ| is below the threshold's quantile of its channel
//	Γ  = Σ weightᵢ·gᵢ + Momentum·ν,   then   ν = Beta·ν + (1 - Beta)·Γ
//
// and Γ is added once the warm-ups of all edits are over; ν starts at 0 and builds up
// meanwhile. While only some are over, the weighted mean of these is added, without
// momentum. All that is as the diffusers library's SemanticStableDiffusionPipeline has it.
type SemanticGuidance struct {
	Edits    []Edit
	Momentum float64 // 0 to 1; 0.1 is usual
	Beta     float64 // 0 to 1; 0.4 is usual
}

// MaxEditScale bounds Edit.Scale, and MaxEditWeight Edit.Weight.
const (
	MaxEditScale  = 1000
	MaxEditWeight = 1000
)

// Denoiser makes the denoiser of one run, as [Guidance.Denoiser] does, to which the edits
// are added. m.Denoise's answers are those of the guidance, with one for each of its
// weights, and then one for each edit. The answer without a condition is asked for in every
// evaluation. Warm-ups are counted in m.Sigmas, and the momentum changes with every
// evaluation.
func (s SemanticGuidance) Denoiser(g Guidance, m GuidedModel) (Denoiser, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	if m.Denoise == nil || m.Preconditioning == nil {
		return nil, errors.New("semantic guidance must have a model and its preconditioning")
	}
	if len(m.Sigmas) < 2 {
		return nil, errors.New("semantic guidance must know the noise levels of the run")
	}
	uncond := slices.Index(g.Guider.Answers, AnswerUncond)
	if uncond < 0 {
		return nil, fmt.Errorf("semantic guidance needs the answer %s, which %s does not have", AnswerUncond, g.Guider.Name)
	}
	e := &edits{SemanticGuidance: s, model: m, memory: make([][]float32, len(s.Edits)+1)}
	e.planes = max(m.Images, 1) * max(m.Channels, 1)
	var err error
	if m.Caching.Cache.Name != "" { // below the edits, which act in each evaluation
		if err := g.check(&m); err != nil {
			return nil, err
		}
		if e.model.Denoise, err = m.Caching.denoiser(m); err != nil {
			return nil, err
		}
	}
	own := m
	own.Caching = Caching{}
	own.Denoise = func(ctx context.Context, dst [][]float32, x []float32, sigma float64) error {
		return e.ask(ctx, dst, uncond, x, sigma)
	}
	guided, err := g.Denoiser(own)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, dst, x []float32, sigma float64) error {
		e.acts = false
		if err := guided(ctx, dst, x, sigma); err != nil {
			return err
		}
		if e.acts {
			_, gain, _ := m.Preconditioning.Scalings(sigma)
			add(dst, gain, e.sum)
		}
		return nil
	}, nil
}

func (s SemanticGuidance) check() error {
	within := func(what string, v, most float64) error {
		if v >= 0 && v <= most {
			return nil
		}
		return fmt.Errorf("%s must be 0 to %g, got %g", what, most, v)
	}
	all := []error{within("Momentum", s.Momentum, 1), within("Beta", s.Beta, 1)}
	if len(s.Edits) == 0 {
		all = append(all, errors.New("semantic guidance must have at least one edit, got none"))
	}
	for i, e := range s.Edits {
		of := fmt.Sprintf("Edits[%d].", i)
		all = append(all, within(of+"Scale", e.Scale, MaxEditScale), within(of+"Threshold", e.Threshold, 1), within(of+"Weight", e.Weight, MaxEditWeight),
			within(of+"WarmUp", float64(e.WarmUp), maxSteps), within(of+"CoolDown", float64(e.CoolDown), maxSteps))
	}
	return errors.Join(all...)
}

// edits are those of one run.
type edits struct {
	SemanticGuidance
	model    GuidedModel
	planes   int         // channels of all pictures of a sample
	memory   [][]float32 // of the answers to edits, and of that without a condition
	sorted   []float32
	gamma    []float64 // Γ
	momentum []float64 // ν
	sum      []float32 // what is added, of what the net predicts
	acts     bool      // whether anything is
}

// step is the step of a noise level, counted from 0.
func (e *edits) step(sigma float64) int {
	step := 0
	for step+1 < len(e.model.Sigmas)-1 && sigma <= e.model.Sigmas[step+1]*(1+rounding) {
		step++
	}
	return step
}

// over reports whether an edit has ended.
func (e Edit) over(step int) bool { return e.CoolDown > 0 && step >= e.CoolDown }

// ask asks the model for the guidance's answers and, in the same batch, those of edits.
func (e *edits) ask(ctx context.Context, dst [][]float32, uncond int, x []float32, sigma float64) error {
	step := e.step(sigma)
	all := make([][]float32, len(dst), len(dst)+len(e.Edits))
	copy(all, dst)
	hold := func(i int) []float32 {
		e.memory[i] = grow(e.memory[i], len(x))
		return e.memory[i]
	}
	needed := false
	for i, edit := range e.Edits {
		var to []float32
		// In a warm-up an edit is only for the momentum.
		if !edit.over(step) && (step >= edit.WarmUp || e.Momentum > 0) {
			to, needed = hold(i), true
		}
		all = append(all, to)
	}
	if needed && all[uncond] == nil {
		all[uncond] = hold(len(e.Edits))
	}
	if err := e.model.Denoise(ctx, all, x, sigma); err != nil {
		return err
	}
	e.update(all[uncond], all[len(dst):], len(x), sigma, step)
	return nil
}

// update computes what is added at a step, n elements, and the momentum.
func (e *edits) update(uncond []float32, answers [][]float32, n int, sigma float64, step int) {
	if len(e.gamma) != n {
		e.gamma, e.momentum, e.sum = make([]float64, n), make([]float64, n), make([]float32, n)
	}
	clear(e.gamma)
	clear(e.sum)
	warm, total := 0, 0.0
	for i, edit := range e.Edits {
		if step < edit.WarmUp {
			continue
		}
		if warm++; answers[i] != nil {
			total += edit.Weight
		}
	}
	_, gain, _ := e.model.Preconditioning.Scalings(sigma)
	for i, edit := range e.Edits {
		g := answers[i]
		if g == nil {
			continue
		}
		k := edit.Scale / gain
		if edit.Away {
			k = -k
		}
		sum2(g, k, g, -k, uncond)
		e.keepLargest(g, edit.Threshold)
		for j, v := range g {
			e.gamma[j] += edit.Weight * float64(v)
		}
		if warm < len(e.Edits) && step >= edit.WarmUp && total > 0 {
			add(e.sum, edit.Weight/total, g)
		}
	}
	e.acts = warm > 0
	for j := range e.gamma {
		e.gamma[j] += e.Momentum * e.momentum[j]
		e.momentum[j] = e.Beta*e.momentum[j] + (1-e.Beta)*e.gamma[j]
		if warm == len(e.Edits) {
			e.sum[j] = float32(e.gamma[j])
		}
	}
}

// keepLargest sets the elements of each channel to 0 that are below a quantile of its
// magnitudes.
func (e *edits) keepLargest(g []float32, threshold float64) {
	e.sorted = grow(e.sorted, len(g))
	magnitudes(e.sorted, g)
	for i := range e.planes {
		bound := quantile(part(e.sorted, i, e.planes), threshold)
		plane := part(g, i, e.planes)
		for j, v := range plane {
			if math.Abs(float64(v)) < bound {
				plane[j] = 0
			}
		}
	}
}
