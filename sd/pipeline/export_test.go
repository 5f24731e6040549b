package pipeline

import (
	"context"

	"github.com/sdgo/sdgo/sd/request"
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
