package pipeline

import (
	"context"
	"slices"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/tensor"
)

// evaluation is a batch for a denoiser: latents of one shape, one after the other,
// for each a timestep, and conditions of one shape.
type evaluation struct {
	shape []int // of a latent
	x, t  []float32
	c     []Condition
	cache *deepCache
}

// evaluator runs evaluations of denoisers. A batch of pictures has one that makes
// those of several at once.
type evaluator func(ctx context.Context, p *Pipeline, dst []float32, in evaluation) error

// alone makes each evaluation on its own.
func alone(ctx context.Context, p *Pipeline, dst []float32, in evaluation) error {
	return p.evaluate(ctx, dst, in)
}

// evaluate runs the denoiser.
func (p *Pipeline) evaluate(ctx context.Context, dst []float32, in evaluation) error {
	net := p.Denoiser.Network()
	inputs := p.Denoiser.Inputs(in.shape, in.x, in.t, in.c)
	if in.cache != nil {
		return in.cache.run(ctx, net, in, inputs, dst)
	}
	out := []cgo.Output{{Name: "out", Data: dst}}
	if net.Device().Kind != cgo.CPU {
		return net.RunFinite(ctx, inputs, out)
	}
	return net.Run(ctx, inputs, out) // the sampler looks at what comes of it
}

// sameShapes reports whether two conditions can be in one batch.
func sameShapes(a, b Condition) bool {
	return slices.EqualFunc(a.Inputs, b.Inputs, func(x, y engine.Named) bool {
		return x.Name == y.Name && slices.Equal(x.Shape, y.Shape)
	})
}

// model returns the denoiser as samplers see it, for latents of one shape and a
// number of conditions: dst has a slice for each, nil where its answer is not
// wanted. Conditions of the same shapes go through the network as one batch, so that
// its weights are read once.
func (p *Pipeline) model(run evaluator, shape []int, cache *deepCache, conditions ...Condition) sampler.ModelMany {
	n := tensor.Size(shape)
	var x, ts, out []float32
	var batch []Condition
	return func(ctx context.Context, dst [][]float32, latent []float32, t float64) error {
		done := make([]bool, len(conditions))
		for first := range conditions {
			if done[first] || dst[first] == nil {
				continue
			}
			var members []int
			x, ts, batch = x[:0], ts[:0], batch[:0]
			for i := first; i < len(conditions); i++ {
				if dst[i] != nil && !done[i] && sameShapes(conditions[i], conditions[first]) {
					x, ts = append(x, latent...), append(ts, float32(t))
					batch, members, done[i] = append(batch, conditions[i]), append(members, i), true
				}
			}
			if len(out) < len(conditions)*n {
				out = make([]float32, len(conditions)*n)
			}
			if err := run(ctx, p, out[:len(members)*n], evaluation{shape, x, ts, batch, cache}); err != nil {
				return err
			}
			for k, i := range members {
				copy(dst[i], out[k*n:][:n])
			}
		}
		return nil
	}
}

// guide makes the denoiser of one phase: guidance between the network's answers.
// uncond is the sampler's option.
func (p *Pipeline) guide(d Drawing, s *Source, prediction sampler.Prediction, shape []int, c Conditions, uncond []float32) sampler.Denoiser {
	run := d.run
	if run == nil {
		run = alone
	}
	var cache *deepCache
	if d.DeepCache > 1 {
		cache = &deepCache{every: d.DeepCache}
	}
	cond, without := condition(c.Cond, s, true), condition(c.Uncond, s, true)
	if p.EditsImages {
		// Brooks et al. 2023, eq. 3: from neither picture nor text to the picture, and
		// on to the text.
		many := sampler.NewMany(prediction, p.Denoiser.Process(), p.model(run, shape, cache, condition(c.Uncond, s, false), without, cond))
		return sampler.Composable(many, []float64{d.ImageGuidance - d.Guidance, d.Guidance}, 1)
	}
	model := p.model(run, shape, cache, cond, without)
	pair := sampler.NewPair(prediction, p.Denoiser.Process(), func(ctx context.Context, cond, uncond, x []float32, t float64) error {
		return model(ctx, [][]float32{cond, uncond}, x, t)
	})
	return d.Sampler.Guide(pair, d.Guidance, uncond)
}

// condition is a condition with the channels beside the latent, or with zeros in
// their place. nil, which no guidance asks for, is one without inputs.
func condition(c *Condition, s *Source, seen bool) Condition {
	if c == nil {
		return Condition{}
	}
	if s == nil || s.concat.Data == nil {
		return *c
	}
	beside := s.concat
	if !seen {
		beside = beside.Like()
	}
	return Condition{append(slices.Clip(c.Inputs), engine.Named{Name: "concat", Shape: beside.Shape, Data: beside.Data})}
}

// inPhases is the denoiser whose conditions change from phase to phase; uncond is
// the sampler's option and made the number of steps that are done. It holds the
// memory of one phase: none comes back.
func (p *Pipeline) inPhases(d Drawing, s *Source, prediction sampler.Prediction, shape []int, phases []Phase, uncond []float32, made *int) sampler.Denoiser {
	current := 0
	var guided sampler.Denoiser
	return func(ctx context.Context, dst, x []float32, sigma float64) error {
		next := current
		for next+1 < len(phases) && *made >= phases[next].Until {
			next++
		}
		if guided == nil || next != current {
			current, guided = next, p.guide(d, s, prediction, shape, phases[next].Conditions(), uncond)
		}
		return guided(ctx, dst, x, sigma)
	}
}

// stepMemory is what a step of n pictures takes beside the weights, in bytes.
func (p *Pipeline) stepMemory(ctx context.Context, t task, n int) (uint64, error) {
	d := t.d
	answers := 2
	switch {
	case p.EditsImages:
		answers = 3
	case d.Guidance == 0 || d.Guidance == 1:
		answers = 1
	}
	var largest Condition
	for _, phase := range t.c.phases {
		c := phase.Conditions()
		for _, one := range []*Condition{c.Cond, c.Uncond} {
			if one != nil && elements(*one) > elements(largest) {
				largest = *one
			}
		}
	}
	c := slices.Repeat([]Condition{condition(&largest, t.c.source, true)}, n*answers)
	shape := p.Denoiser.Latent(d.Width, d.Height)
	return p.Denoiser.Network().Estimate(ctx, p.Denoiser.Inputs(shape, nil, make([]float32, n*answers), c), []cgo.Output{{Name: "out"}})
}

func elements(c Condition) (n int) {
	for _, in := range c.Inputs {
		n += len(in.Data)
	}
	return n
}
