package pipeline

import (
	"context"
	"fmt"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/tensor"
)

// backward is the derivative of a run's guided prediction by the noisy sample. A nil one
// takes what it is told and keeps nothing.
type backward struct {
	p          *Pipeline
	model      *sampler.Preconditioning
	guidance   sampler.Guidance
	adapt      *engine.Adaptation
	s          start
	run        run
	conditions Conditions // of the current phase

	plain, limited []float32 // the last prediction, and what Pipeline.Limit left of it
}

// newBackward is nil where a drawing needs no derivative.
func newBackward(d Drawing) *backward {
	if len(d.Guides) == 0 || !d.Losses.Method.Backward {
		return nil
	}
	return &backward{}
}

// of receives what the prediction is made of.
func (b *backward) of(p *Pipeline, model *sampler.Preconditioning, g sampler.Guidance, adapt *engine.Adaptation, s start, r run) {
	if b != nil {
		b.p, b.model, b.guidance, b.adapt, b.s, b.run = p, model, g, adapt, s, r
	}
}

// at receives the conditions of the current phase.
func (b *backward) at(c Conditions) {
	if b != nil {
		b.conditions = c
	}
}

// watch keeps what the denoiser predicts, and what the limit makes of it.
func (b *backward) watch(denoise sampler.Denoiser, limit func(sampler.Denoiser) sampler.Denoiser) sampler.Denoiser {
	if b == nil {
		return limit(denoise)
	}
	limited := limit(func(ctx context.Context, dst, x []float32, sigma float64) error {
		err := denoise(ctx, dst, x, sigma)
		b.plain = append(b.plain[:0], dst...)
		return err
	})
	return func(ctx context.Context, dst, x []float32, sigma float64) error {
		err := limited(ctx, dst, x, sigma)
		b.limited = append(b.limited[:0], dst...)
		return err
	}
}

// pull is a [sampler.Pullback] at the sample of the last prediction. Where that was limited
// it does not depend on the sample.
func (b *backward) pull(ctx context.Context, dst, v, x []float32, sigma float64) error {
	coefficients, err := b.guidance.Coefficients(b.run.sigmas, sigma)
	if err != nil {
		return err
	}
	skip, out, in := b.model.Scalings(sigma)
	seed := make([]float32, outputSize(b.p, len(x)))
	copy(seed, v)
	for i, plain := range b.plain {
		if plain != b.limited[i] {
			seed[i] = 0
		}
	}
	for i := range dst {
		dst[i] = float32(skip) * seed[i]
	}
	gain := b.inputGain()
	one := make([]float32, len(x))
	scaled := make([]float32, len(x))
	for i, v := range x {
		scaled[i] = float32(in * float64(v))
	}
	t := []float32{float32(b.model.Process().NetTime(sigma))}
	for i, a := range ask(b.guidance, b.conditions, b.s) {
		if coefficients[i] == 0 {
			continue
		}
		if err := b.network(ctx, one, seed, scaled, t, a); err != nil {
			return err
		}
		k := float32(coefficients[i] * out * in * gain)
		for j, g := range one {
			dst[j] += k * g
		}
	}
	return nil
}

// network is the product of a seed and the derivative of one answer by the network's x.
func (b *backward) network(ctx context.Context, dst, seed, x, t []float32, a answer) error {
	name := outputName(b.p, a.output)
	inputs := b.p.Denoiser.Inputs(b.run.shape, x, t, []Condition{a.condition})
	shape := tensor.Batch(1, b.run.shape)
	shape[1] *= int64(len(seed) / len(x))
	inputs = append(inputs, cgo.Input{Name: "d_" + name, Shape: shape, F32: seed})
	b.p.passes.Add(1)
	if err := b.p.Denoiser.Network().Run(ctx, inputs, []cgo.Output{{Name: "d:x", Data: dst}}, b.adapt); err != nil {
		return fmt.Errorf("the model's derivative, which guide-method mpgd does without: %w", err)
	}
	return nil
}

// inputGain is what the network's x moves by where the scaled sample moves by 1: 2 of models
// of pixels from 0 to 1 whose network sees them from -1 to 1.
func (b *backward) inputGain() float64 {
	at := func(v float32) float64 {
		x := make([]float32, tensor.Size(b.run.shape))
		for i := range x {
			x[i] = v
		}
		return float64(b.p.Denoiser.Inputs(b.run.shape, x, make([]float32, 1), []Condition{{}})[0].F32[0])
	}
	return at(1) - at(0)
}

// takeBackward asks for the memory of the derivative before any step is made. Each run asks
// again, for what it really takes.
func takeBackward(ctx context.Context, p *Pipeline, d Drawing, begin start, c guided) error {
	if newBackward(d) == nil || len(c.phases) == 0 {
		return nil
	}
	conditions := c.phases[0].Conditions()
	one := conditions.Cond
	if one == nil {
		one = conditions.Uncond
	}
	net, shape := p.Denoiser.Network(), p.Denoiser.Latent(d.Width, d.Height)
	if net.Device().Kind != cgo.CPU {
		return nil // the device says
	}
	inputs := p.Denoiser.Inputs(shape, nil, make([]float32, 1), []Condition{condition(one, begin, true)})
	name := outputName(p, "out")
	seed := tensor.Batch(1, shape)
	seed[1] *= int64(outputSize(p, 1))
	need, err := net.Estimate(ctx, append(inputs, cgo.Input{Name: "d_" + name, Shape: seed}), []cgo.Output{{Name: "d:x"}}, d.denoiserOf(p))
	if err != nil {
		return fmt.Errorf("the model's derivative, which guide-method mpgd does without: %w", err)
	}
	release, err := p.Host.Take("the model's derivative", need)
	if err == nil {
		release()
	}
	return err
}
