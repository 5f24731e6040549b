package pipeline

import (
	"context"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/sd/tensor"
)

// Latent draws the first picture of a drawing up to its latent, before it is decoded:
// with its hires passes. onStep is told of each step of the first pass, with the
// latent so far.
func (p *Pipeline) Latent(ctx context.Context, d Drawing, onStep func(sampler.Step) error) (tensor.Tensor, error) {
	var result request.Result
	c, err := p.prepare(ctx, d, &result)
	if err != nil {
		return tensor.Tensor{}, err
	}
	latent, err := p.sample(ctx, d, c, d.Seed, onStep)
	for n := range d.passes {
		if err != nil {
			break
		}
		latent, err = rendering{d: d, c: c, result: &result}.pass(ctx, n, latent)
	}
	return latent, err
}
