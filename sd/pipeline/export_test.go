package pipeline

import (
	"context"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/sd/tensor"
)

// What tests outside of the package look at.

// StepMemory is what a step of n pictures of a drawing takes.
func StepMemory(ctx context.Context, p *Pipeline, d Drawing, n int) (uint64, error) {
	t, err := firstTask(ctx, p, d)
	if err != nil {
		return 0, err
	}
	return p.stepMemory(ctx, t, n)
}

// BatchSize is how many pictures of a drawing are drawn at once.
func BatchSize(ctx context.Context, p *Pipeline, d Drawing) (int, error) {
	t, err := firstTask(ctx, p, d)
	if err != nil {
		return 0, err
	}
	return p.batch(ctx, t)
}

func firstTask(ctx context.Context, p *Pipeline, d Drawing) (task, error) {
	c, err := p.prepare(ctx, d, &request.Result{})
	return task{&job{d: d}, c, 0}, err
}

// Derivative is the guided prediction of a drawing's samples, and its pullback.
func Derivative(ctx context.Context, p *Pipeline, d Drawing) (sampler.Denoiser, sampler.Pullback, error) {
	c, err := p.prepare(ctx, d, &request.Result{})
	if err != nil {
		return nil, nil, err
	}
	prediction, err := p.Denoiser.Prediction(ctx)
	if err != nil {
		return nil, nil, err
	}
	made, back := 0, &backward{}
	sigmas := sampler.Sigmas{30, 0}
	r := run{shape: p.Denoiser.Latent(d.Width, d.Height), sigmas: sigmas, made: &made, steer: &steering{c.steers, &made, 1}, back: back}
	if p.LearnsVariance {
		r.spread = make([]float32, tensor.Size(r.shape))
	}
	denoise, err := p.guide(d, start{}, prediction, c.phases, r)
	if err == nil && p.Limit != nil {
		denoise = back.watch(denoise, p.Limit)
	}
	return denoise, back.pull, err
}
