package pipeline

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/control"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/sd/tensor"
)

// evaluation is a batch for a denoiser: latents of one shape, one after the other,
// for each a timestep, and conditions of one shape.
type evaluation struct {
	shape []int // of a latent
	x, t  []float32
	c     []Condition
	cache innerCache
	adapt *engine.Adaptation // of the network; nil for none

	controls []*control.ControlNet // that take part
	items    [][]control.Item      // for each latent what each of them needs
	features control.Features      // what T2I-Adapters add, for each latent; nil where none takes part
	adapters int                   // how many of these do
	pictures []control.Picture     // what an IP-Adapter gives, for each latent
	tokens   int                   // of each of them; 0 without one
	deepest  []deepestOf           // what is done to the deepest features, for each latent; nil where nothing is
	merged   int                   // tokens of each latent's image that merge

	output string // of the network
}

// evaluator runs evaluations of denoisers. A batch of pictures has one that makes
// those of several at once.
type evaluator func(ctx context.Context, p *Pipeline, dst []float32, in evaluation) error

// alone makes each evaluation on its own.
func alone(ctx context.Context, p *Pipeline, dst []float32, in evaluation) error {
	return p.evaluate(ctx, dst, in)
}

// evaluate runs the denoiser.
func (p *Pipeline) evaluate(ctx context.Context, dst []float32, in evaluation) (err error) {
	p.passes.Add(1)
	net := p.Denoiser.Network()
	inputs := p.Denoiser.Inputs(in.shape, in.x, in.t, in.c)
	if in.cache != nil {
		return in.cache.run(ctx, p, in, inputs, dst)
	}
	added, release, err := runControls(ctx, p, in, inputs, false)
	if err != nil {
		return err
	}
	defer release()
	inputs = in.withMerged(append(inputs, added...))
	out := []cgo.Output{{Name: outputName(p, in.output), Data: dst}}
	inputs, out, told := in.withDeepest(p, inputs, out)
	defer func() {
		if err == nil {
			told()
		}
	}()
	if net.Device().Kind != cgo.CPU {
		return net.RunFinite(ctx, inputs, out, in.adapt)
	}
	return net.Run(ctx, inputs, out, in.adapt) // the sampler looks at what comes of it
}

// outputName is what the network calls an output.
func outputName(p *Pipeline, name string) string {
	if name == "out" {
		return cmp.Or(p.Sample, name)
	}
	return name
}

// outputSize is the number of elements of the output for one latent of n.
func outputSize(p *Pipeline, n int) int {
	if p.LearnsVariance {
		return 2 * n
	}
	return n
}

// sameShapes reports whether two conditions can be in one batch.
func sameShapes(a, b Condition) bool {
	return slices.EqualFunc(a.Inputs, b.Inputs, func(x, y engine.Named) bool {
		return x.Name == y.Name && slices.Equal(x.Shape, y.Shape)
	})
}

// answer is one answer of the network: to a condition, from one of its outputs.
// guides says that its variance is that of the guided prediction, uncond that it is not
// to the prompt.
type answer struct {
	condition Condition
	output    string
	guides    bool
	uncond    bool
}

// beside is what a run has beside the denoiser's own weights.
type beside struct {
	adapt    *engine.Adaptation // nil for none
	controls *steering          // nil for none
	deepest  *deepest           // nil for nothing
	merged   int                // tokens that merge
}

// model returns the denoiser as samplers see it, for latents of one shape and a
// number of answers: dst has a slice for each, nil where it is not asked for. Conditions
// of the same shapes go through the network as one batch, so that its weights are read
// once.
//
// variance, where it is not nil, receives what the network says of it for the condition
// that is drawn, or for the only one that is asked for.
func (p *Pipeline) model(run evaluator, shape []int, cache innerCache, variance []float32, with beside, answers ...answer) sampler.BatchModel {
	n := tensor.Size(shape)
	each := outputSize(p, n)
	var x, ts, out []float32
	var batch []Condition
	return func(ctx context.Context, dst [][]float32, latent []float32, t float64) error {
		done := make([]bool, len(answers))
		active := with.controls.active()
		for first, a := range answers {
			if done[first] || dst[first] == nil {
				continue
			}
			var members []int
			var steered [][]control.Item
			var added control.Features
			var pictures []control.Picture
			var deep []deepestOf
			x, ts, batch = x[:0], ts[:0], batch[:0]
			for i := first; i < len(answers); i++ {
				if b := answers[i]; dst[i] != nil && !done[i] && b.output == a.output && sameShapes(b.condition, a.condition) {
					x, ts = append(x, latent...), append(ts, float32(t))
					batch, members, done[i] = append(batch, b.condition), append(members, i), true
					steered, added = append(steered, items(active, b.uncond)), append(added, features(active, b.uncond))
					pictures = append(pictures, pictureOf(active, b.uncond))
					if with.deepest != nil {
						deep = append(deep, with.deepest.at(t, b.guides))
					}
				}
			}
			if len(out) < len(answers)*each {
				out = make([]float32, len(answers)*each)
			}
			in := evaluation{shape: shape, x: x, t: ts, c: batch, output: a.output, adapt: with.adapt, controls: controlNets(active), items: steered, deepest: deep, merged: with.merged}
			in.join(active, added, pictures)
			if a.output == "out" {
				in.cache = cache
			}
			if err := run(ctx, p, out[:len(members)*each], in); err != nil {
				return err
			}
			for k, i := range members {
				copy(dst[i], out[k*each:][:n])
				if variance != nil && (answers[i].guides || !isDrawn(answers, dst)) {
					copy(variance, out[k*each+n:][:n])
				}
			}
		}
		return nil
	}
}

// join adds what T2I-Adapters and an IP-Adapter give, where some take part.
func (in *evaluation) join(active []steer, added control.Features, pictures []control.Picture) {
	if in.adapters = countAdapters(active); in.adapters > 0 {
		in.features = added
	}
	if len(pictures) > 0 && pictures[0] != nil {
		in.pictures, in.tokens = pictures, pictures[0][0].Shape[0]
	}
}

// countAdapters is the number of T2I-Adapters.
func countAdapters(all []steer) (n int) {
	for _, s := range all {
		if s.features != nil {
			n++
		}
	}
	return n
}

// isDrawn reports whether the condition that is drawn is among the answers that are asked
// for.
func isDrawn(answers []answer, dst [][]float32) bool {
	for i, a := range answers {
		if a.guides && dst[i] != nil {
			return true
		}
	}
	return false
}

// run is what all models that take part in sampling one latent share.
type run struct {
	shape  []int // of the latent
	sigmas sampler.Sigmas
	uncond []float32 // the sampler's option
	spread []float32 // the sampler's option Variance, of the model that has made the noise
	made   *int      // the number of steps that are done
	steer  *steering
	deep   *deepest  // nil for nothing
	back   *backward // receives what the prediction's derivative is made of; nil: none is needed
}

// guide makes the guided denoiser of a run. Its conditions change from phase to phase;
// it holds the memory of one phase: none comes back.
func (p *Pipeline) guide(d Drawing, s start, prediction sampler.Prediction, phases []Phase, r run) (sampler.Denoiser, error) {
	process, err := processFor(p, &d.Resolved)
	if err != nil {
		return nil, err
	}
	model, err := sampler.Precondition(process, prediction)
	if err != nil {
		return nil, err
	}
	guidance, err := p.guidance(d)
	if err != nil {
		return nil, err
	}
	evaluator := d.run
	if evaluator == nil {
		evaluator = alone
	}
	with := beside{adapt: d.denoiserOf(p), merged: merges(p, d, r.shape)}
	if p == d.model {
		with.controls, with.deepest = r.steer, r.deep
	}
	current, answers := -1, sampler.BatchModel(nil)
	phased := func(ctx context.Context, dst [][]float32, x []float32, t float64) error {
		next := phaseAt(phases, current, *r.made)
		if next != current {
			cache := r.innerCache(d)
			spread := r.spread
			if !p.LearnsVariance {
				spread = nil
			}
			conditions := phases[next].Conditions()
			current, answers = next, answersOf(p, evaluator, r.shape, cache, spread, with, guidance, conditions, s)
			r.back.at(conditions)
		}
		return answers(ctx, dst, x, t)
	}
	r.back.of(p, model, guidance, with.adapt, s, r)
	denoise, err := withEdits(d, guidance, sampler.GuidedModel{
		Denoise: model.BatchDenoiser(phased), Preconditioning: model, Sigmas: r.sigmas, Channels: r.shape[0], Width: r.shape[len(r.shape)-1], Uncond: r.uncond,
		Caching: outerCache(d), Changed: r.changes(phases, with),
	})
	var wrong *sampler.ParameterError
	if errors.As(err, &wrong) {
		err = request.Problemf("GuiderOptions", "%v", err)
	}
	return denoise, err
}

// ask is what guidance asks of the network in one phase, in its order.
func ask(g sampler.Guidance, c Conditions, s start) []answer {
	all := make([]answer, len(g.Guider.Answers))
	for i, a := range g.Guider.Answers {
		switch a {
		case sampler.AnswerCond:
			all[i] = answer{condition: condition(c.Cond, s, true), output: "out", guides: true}
		case sampler.AnswerPerturbed:
			all[i] = answer{condition: condition(c.Cond, s, true), output: "perturbed"}
		case sampler.AnswerImage:
			all[i] = answer{condition: condition(c.Uncond, s, true), output: "out", uncond: true}
		case sampler.AnswerUncond: // without the picture, where that has a guidance of its own
			all[i] = answer{condition: condition(c.Uncond, s, !slices.Contains(g.Guider.Answers, sampler.AnswerImage)), output: "out", uncond: true}
		}
	}
	return all
}

// guidance is the drawing's, or that between three answers of models that edit
// pictures, or none where it is an input.
func (p *Pipeline) guidance(d Drawing) (sampler.Guidance, error) {
	if p.EmbedsGuidance {
		return d.Guide.Guider.With(1, nil)
	}
	if !p.EditsImages {
		return d.Guide, nil
	}
	guider, err := sampler.LookupGuider(editing)
	if err != nil {
		return sampler.Guidance{}, err
	}
	options := map[string]float64{"image_scale": d.ImageGuidance}
	for name, v := range d.GuiderOptions {
		options[name] = v
	}
	return guider.With(d.Guidance, options)
}

// editing is the guidance of models that edit pictures (Brooks et al. 2023).
const editing = "instruct_pix2pix"

// needs says which conditions a drawing's guidance asks about.
func (p *Pipeline) needs(d Drawing) (n Needs) {
	g, err := p.guidance(d)
	if err != nil {
		return Needs{true, true}
	}
	for _, a := range g.Needs(d.Sampler.CFGPP) {
		n.Cond = n.Cond || a == sampler.AnswerCond || a == sampler.AnswerPerturbed
		n.Uncond = n.Uncond || a == sampler.AnswerUncond || a == sampler.AnswerImage
	}
	n.Uncond = n.Uncond || len(d.Edits) > 0
	return n
}

// condition is a condition with the channels beside the latent, or with zeros in
// their place. nil, which no guidance asks for, is one without inputs.
func condition(c *Condition, s start, seen bool) Condition {
	if c == nil {
		return Condition{}
	}
	out := *c
	if s.low.Data != nil {
		out.Inputs = append(slices.Clip(out.Inputs), engine.Named{Name: "low", Shape: s.low.Shape, Data: s.low.Data})
	}
	if s.concat.Data == nil {
		return out
	}
	beside := s.concat
	if !seen {
		beside = beside.Like()
	}
	return Condition{append(slices.Clip(out.Inputs), engine.Named{Name: "concat", Shape: beside.Shape, Data: beside.Data})}
}

// stepMemory is what a step of n pictures takes beside the weights, in bytes.
func (p *Pipeline) stepMemory(ctx context.Context, t task, n int) (uint64, error) {
	d := t.d
	var needs []sampler.Answer
	if g, err := p.guidance(d); err == nil {
		needs = g.Needs(d.Sampler.CFGPP)
	}
	if len(d.Edits) > 0 && !slices.Contains(needs, sampler.AnswerUncond) {
		needs = append(needs, sampler.AnswerUncond)
	}
	answers := max(1, len(needs))
	var largest Condition
	for _, phase := range t.c.phases {
		c := phase.Conditions()
		answers = max(answers, composedAnswers(needs, c.And))
		for _, one := range append(slices.Clone(c.Edits), c.Cond, c.Uncond) {
			if one != nil && elements(*one) > elements(largest) {
				largest = *one
			}
		}
	}
	answers += len(d.Edits)
	begin := t.c.source.start(d.RNG, d.Seed)
	if t.c.low != nil {
		begin.low = t.c.low(newNoise(d.RNG, d.Seed))
	}
	c := slices.Repeat([]Condition{condition(&largest, begin, true)}, n*answers)
	shape := p.Denoiser.Latent(d.Width, d.Height)
	controls, err := controlMemory(ctx, p, d, n*answers, largest)
	if err != nil {
		return 0, err
	}
	own, err := p.Denoiser.Network().Estimate(ctx, p.Denoiser.Inputs(shape, nil, make([]float32, n*answers), c), []cgo.Output{{Name: outputName(p, "out")}}, d.denoiserOf(p))
	return own + controls, err
}

func elements(c Condition) (n int) {
	for _, in := range c.Inputs {
		n += len(in.Data)
	}
	return n
}
