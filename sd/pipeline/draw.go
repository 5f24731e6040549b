package pipeline

import (
	"context"
	"math"
	"time"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/sd/tensor"
)

// prepare encodes what a request's pictures are guided by and begin with.
func (p *Pipeline) prepare(ctx context.Context, d Drawing, result *request.Result) (guided, error) {
	c := guided{low: lowOf(p, d)}
	if err := p.upload(ctx, d); err != nil {
		return c, err
	}
	d.memo = Memo{}
	if err := p.condition(ctx, d, result, &c); err != nil {
		return c, err
	}
	for _, h := range d.passes {
		var pass guided
		if h.Strength > 0 {
			h.drawing.memo, h.drawing.OnEvent = d.memo, d.OnEvent
			if err := p.condition(ctx, h.drawing, result, &pass); err != nil {
				return c, err
			}
		}
		c.passes = append(c.passes, pass)
	}
	if d.Image != nil {
		start := time.Now()
		var err error
		c.source, err = p.newSource(ctx, d)
		result.Encode += time.Since(start)
		return c, err
	}
	return c, nil
}

// lowOf draws what a model sees of the picture that a drawing enlarges; nil if it enlarges
// none.
func lowOf(p *Pipeline, d Drawing) Draw {
	if p.Low == nil {
		return nil
	}
	q := d.Resolved
	if q.Low != nil {
		q.Low = picture.OnWhite(q.Low)
	}
	return p.Low(&q)
}

// drawLow draws it, if there is any, before or after the noise of the latent.
func drawLow(low Draw, noise sampler.Noise, first bool, latent func()) (out tensor.Tensor) {
	if low != nil && first {
		out = low(noise)
	}
	latent()
	if low != nil && !first {
		out = low(noise)
	}
	return out
}

// condition makes the conditions of a drawing, without its hires passes.
func (p *Pipeline) condition(ctx context.Context, d Drawing, result *request.Result, c *guided) (err error) {
	start := time.Now()
	c.steers, err = steersOf(ctx, p, d)
	if result.Encode += time.Since(start); err != nil {
		return err
	}
	own := Steps{0, math.MaxInt}
	if d.refiner != nil {
		own.Until = d.RefinerStep()
	}
	if c.phases, err = p.conditions(ctx, d, own, result); err != nil || d.refiner == nil {
		return err
	}
	if err := d.refiner.upload(ctx, d); err != nil {
		return err
	}
	c.refined, err = d.refiner.conditions(ctx, d, Steps{d.RefinerStep(), math.MaxInt}, result)
	return err
}

// conditions are those of one model.
func (p *Pipeline) conditions(ctx context.Context, d Drawing, steps Steps, result *request.Result) ([]Phase, error) {
	start := time.Now()
	defer func() { result.Text += time.Since(start) }()
	phases, err := p.Conditioner.Conditions(ctx, &d.Resolved, d.ExtrasOf(p), steps, p.needs(d), d.memo)
	if err != nil {
		return nil, err
	}
	return phases, d.event(request.Event{Stage: request.StageText, Index: 1, Of: 1, Elapsed: time.Since(start)})
}

// upload brings the weights that are to stay there to their GPUs, and tells of
// it. On the CPU there is nothing to bring.
func (p *Pipeline) upload(ctx context.Context, d Drawing) error {
	var networks []*engine.Network
	for _, n := range p.Host.Networks() {
		if !n.IsLazy() || d.Image != nil { // else it may never be needed
			networks = append(networks, n)
		}
	}
	if p == d.model {
		for _, c := range d.controls {
			if c != nil { // nil of a reference picture
				networks = append(networks, c.Network())
			}
		}
	}
	start := time.Now()
	return engine.Upload(ctx, networks, func(done, total uint64) error {
		return d.event(request.Event{Stage: request.StageUpload, Index: int(done >> 20), Of: int(total >> 20), Elapsed: time.Since(start)})
	})
}
