package pipeline

import (
	"context"
	"math"
	"time"

	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/request"
)

// prepare encodes what a request's pictures are guided by and begin with.
func (p *Pipeline) prepare(ctx context.Context, d Drawing, result *request.Result) (guided, error) {
	var c guided
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
			networks = append(networks, c.Network())
		}
	}
	start := time.Now()
	return engine.Upload(ctx, networks, func(done, total uint64) error {
		return d.event(request.Event{Stage: request.StageUpload, Index: int(done >> 20), Of: int(total >> 20), Elapsed: time.Since(start)})
	})
}
