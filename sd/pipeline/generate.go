package pipeline

import (
	"context"
	"slices"
	"time"

	"github.com/sdgo/sdgo/internal/guard"
	"github.com/sdgo/sdgo/sd/request"
)

// GenerateAll makes the pictures of several drawings, as many in one pass of the
// denoiser as [Pipeline.Batch] says, those of different drawings, too. done is told
// of each result, in their order; its error says why the drawing ended early, which
// stops no other. What done returns, if it is not nil, ends everything, and so does a
// panic of it.
func (p *Pipeline) GenerateAll(ctx context.Context, drawings []Drawing, done func(i int, r *request.Result, err error) error) error {
	w := work{p: p, jobs: make([]*job, len(drawings))}
	for i, d := range drawings {
		w.jobs[i] = &job{d: d, result: &request.Result{}, left: d.Count}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for told := 0; told < len(w.jobs); {
		w.draw(ctx)
		if ctx.Err() != nil { // what has begun is told of, with the pictures that were finished
			for _, j := range w.jobs[told:w.next] {
				if !j.ended() {
					j.fail(context.Cause(ctx))
				}
			}
		}
		for ; told < w.next && w.jobs[told].ended(); told++ {
			j := w.jobs[told]
			w.jobs[told] = nil // its pictures are the caller's now
			if err := guard.Call("done", func() error { return done(told, j.result, j.err) }); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// job is a request on its way.
type job struct {
	d      Drawing
	ctx    context.Context
	cancel context.CancelCauseFunc
	result *request.Result
	left   int // pictures
	err    error
}

func (j *job) ended() bool { return j.err != nil || j.left == 0 }

func (j *job) fail(err error) {
	if j.err == nil {
		j.err = err
		j.cancel(err)
	}
}

// work is the jobs of one call, of which those before next have begun. Their
// pictures wait to be drawn.
type work struct {
	p       *Pipeline
	jobs    []*job
	next    int
	waiting []task
}

// draw draws the next pictures, as many at once as it is good for.
func (w *work) draw(ctx context.Context) {
	w.waiting = slices.DeleteFunc(w.waiting, func(t task) bool { return t.ended() })
	if len(w.waiting) == 0 && w.next < len(w.jobs) {
		w.begin(ctx)
	}
	if len(w.waiting) == 0 {
		return
	}
	n, err := w.p.batch(ctx, w.waiting[0])
	if err != nil {
		w.waiting[0].fail(err)
		return
	}
	for w.next < len(w.jobs) && len(w.waiting) < n && w.jobs[w.next].d.like(w.waiting[0].d) {
		w.begin(ctx)
	}
	group := w.waiting[:min(n, len(w.waiting))]
	for i, t := range group {
		if !t.d.like(group[0].d) {
			group = group[:i]
			break
		}
	}
	w.waiting = w.waiting[len(group):]
	finished := make([]*drawn, len(group))
	next := 0
	w.p.together(group, func(k int, d drawn) {
		finished[k] = &d
		for ; next < len(group) && finished[next] != nil; next++ {
			group[next].finish(*finished[next], len(group))
		}
	})
}

// like reports whether two requests' pictures can be drawn at once.
func (d Drawing) like(o Drawing) bool {
	return d.Width == o.Width && d.Height == o.Height && d.extras.Adapters == o.extras.Adapters && slices.Equal(d.controls, o.controls)
}

// begin makes the next job's pictures wait, with all that they have in common.
func (w *work) begin(ctx context.Context) {
	j := w.jobs[w.next]
	w.next++
	j.ctx, j.cancel = context.WithCancelCause(ctx)
	c, err := w.p.prepare(j.ctx, j.d, j.result)
	if err != nil {
		j.fail(err)
		return
	}
	for i := range j.d.Count {
		w.waiting = append(w.waiting, task{j, c, i})
	}
}

// finish takes a picture, drawn with n-1 others.
func (t task) finish(d drawn, n int) {
	t.result.Sample += d.spent.Sample / time.Duration(n)
	t.result.Decode += d.spent.Decode // its own part: see shares
	t.result.Encode += d.spent.Encode / time.Duration(n)
	for i, spent := range d.spent.Stages {
		if i == len(t.result.Stages) {
			t.result.Stages = append(t.result.Stages, 0)
		}
		t.result.Stages[i] += spent / time.Duration(n)
	}
	switch {
	case t.err != nil: // a picture before it has ended the request
		return
	case d.err != nil:
		t.fail(d.err)
		return
	}
	t.result.Images = append(t.result.Images, d.img)
	if err := t.d.event(request.Event{Stage: request.StageImage, Picture: t.i, Index: t.i + 1, Of: t.d.Count, Image: &d.img}); err != nil {
		t.fail(err)
		return
	}
	t.left--
}

// batch is how many pictures like a task's are drawn at once: as many as
// options say, as far as memory goes.
func (p *Pipeline) batch(ctx context.Context, t task) (int, error) {
	for n := max(p.Batch, 1); n > 1; n-- {
		need, err := p.stepMemory(ctx, t, n)
		if err != nil {
			return 0, err
		}
		fits := need <= p.Host.Room(p.Denoiser.Network().Device())
		for _, s := range t.d.stages {
			ok, err := s.fits(ctx, n)
			if err != nil {
				return 0, err
			}
			fits = fits && ok
		}
		if fits {
			return n, nil
		}
	}
	return 1, nil
}
