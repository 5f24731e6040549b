package sd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/internal/guard"
)

// MaxBatch bounds [Options.Batch].
const MaxBatch = 64

// GenerateAll makes the pictures of several requests, each just as
// [Model.Generate] makes it, but several in one pass of the UNet
// ([Options.Batch]), those of different requests, too. All requests are checked
// first. done is told of each request's result, in their order, while
// GenerateAll waits; its error says why the request ended early, which stops no
// other. What done returns, if it is not nil, ends everything, and so does a
// panic of it.
func (m *Model) GenerateAll(ctx context.Context, requests []Request, done func(i int, r *Result, err error) error) error {
	models := []*Model{m}
	for _, r := range requests {
		models = append(models, r.models()...)
	}
	end, err := use(models...)
	if err != nil {
		return err
	}
	defer end()
	if ctx == nil {
		return errNilContext
	}
	w := work{m: m, jobs: make([]*job, len(requests))}
	for i, r := range requests {
		q, err := m.resolve(r)
		if err != nil {
			if len(requests) > 1 {
				err = fmt.Errorf("request %d: %w", i+1, err)
			}
			return err
		}
		w.jobs[i] = &job{q: q, result: &Result{}, left: q.Count}
	}
	if done == nil && len(requests) > 0 {
		return errors.New("done must not be nil: it is told of the results")
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

// Check tells what is wrong with a request, as Generate would before it begins.
func (m *Model) Check(r Request) error {
	end, err := use(append(r.models(), m)...)
	if err != nil {
		return err
	}
	defer end()
	_, err = m.resolve(r)
	return err
}

// resolve fills in a request's defaults and checks it with the model.
func (m *Model) resolve(r Request) (resolved, error) {
	if best := m.weights.Guidance; r.Guidance == nil && best > 0 {
		r.Guidance = Scale(best)
	}
	var all RequestError
	q, err := r.resolve(m.NativeSize())
	all.join(err)
	all.join(q.suit(m.weights))
	all.join(q.suitTAESD(m))
	for _, t := range m.texts {
		_, err := layers(t.config, q.ClipSkip)
		all.join(err)
	}
	m.checkPrompts(q, &all)
	if len(all.Problems) > 0 {
		return q, &all
	}
	q.refineLast()
	if q.encodes() && m.encoder == nil && (q.TAESD == nil || q.TAESD.encoder == nil || m.weights.Variant == "edit") {
		return q, ErrNoEncoder
	}
	if q.Seed == RandomSeed {
		q.Seed = int64(rand.Uint32())
	}
	return q, nil
}

// job is a request on its way.
type job struct {
	q      resolved
	ctx    context.Context
	cancel context.CancelCauseFunc
	result *Result
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
	m       *Model
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
	n, err := w.m.batch(ctx, w.waiting[0])
	if err != nil {
		w.waiting[0].fail(err)
		return
	}
	for w.next < len(w.jobs) && len(w.waiting) < n && w.jobs[w.next].q.like(w.waiting[0].q) {
		w.begin(ctx)
	}
	group := w.waiting[:min(n, len(w.waiting))]
	for i, t := range group {
		if !t.q.like(group[0].q) {
			group = group[:i]
			break
		}
	}
	w.waiting = w.waiting[len(group):]
	finished := make([]*drawn, len(group))
	next := 0
	w.m.together(ctx, group, func(k int, d drawn) {
		finished[k] = &d
		for ; next < len(group) && finished[next] != nil; next++ {
			group[next].finish(*finished[next], len(group))
		}
	})
}

// like reports whether two requests' pictures can be drawn at once.
func (q resolved) like(o resolved) bool { return q.Width == o.Width && q.Height == o.Height }

// begin makes the next job's pictures wait, with all that they have in common.
func (w *work) begin(ctx context.Context) {
	j := w.jobs[w.next]
	w.next++
	j.ctx, j.cancel = context.WithCancelCause(ctx)
	c, err := w.m.prepare(j.ctx, j.q, j.result)
	if err != nil {
		j.fail(err)
		return
	}
	for i := range j.q.Count {
		w.waiting = append(w.waiting, task{j, c, i})
	}
}

// prepare encodes what a request's pictures are guided by and begin with.
func (m *Model) prepare(ctx context.Context, q resolved, result *Result) (conditioning, error) {
	if err := m.upload(ctx, q); err != nil {
		return conditioning{}, err
	}
	q.encoded = map[encodedText]embedding{}
	for i := range q.stages {
		q.stages[i].q.encoded = q.encoded
	}
	c, err := m.conditioning(ctx, q, result)
	if err != nil {
		return c, err
	}
	if q.Refiner != nil {
		if err := q.Refiner.upload(ctx, q); err != nil {
			return c, err
		}
		refined, err := q.Refiner.conditioning(ctx, q, result)
		if err != nil {
			return c, err
		}
		c.refined = refined.phases
	}
	if c.stages, err = m.prepareStages(ctx, q, result); err != nil {
		return c, err
	}
	if q.Image != nil {
		start := time.Now()
		c.source, err = m.newSource(ctx, q)
		result.Encode += time.Since(start)
	}
	return c, err
}

// finish takes a picture, drawn with n-1 others.
func (t task) finish(d drawn, n int) {
	t.result.Sample += d.spent.Sample / time.Duration(n)
	t.result.Decode += d.spent.Decode / time.Duration(n)
	t.result.Encode += d.spent.Encode / time.Duration(n)
	switch {
	case t.err != nil: // a picture before it has ended the request
		return
	case d.err != nil:
		t.fail(d.err)
		return
	}
	t.result.Images = append(t.result.Images, d.img)
	if err := t.q.event(Event{Stage: StageImage, Picture: t.i, Index: t.i + 1, Of: t.q.Count, Image: &d.img}); err != nil {
		t.fail(err)
		return
	}
	t.left--
}

// batch is how many pictures like a task's are drawn at once: as many as
// options say, as far as memory goes.
func (m *Model) batch(ctx context.Context, t task) (int, error) {
	for n := max(m.options.Batch, 1); n > 1; n-- {
		need, err := m.stepMemory(ctx, t, n)
		if err != nil {
			return 0, err
		}
		if need <= m.roomOn(m.unet.device) {
			return n, nil
		}
	}
	return 1, nil
}

// stepMemory is what a step of n pictures takes beside the weights, bytes.
func (m *Model) stepMemory(ctx context.Context, t task, n int) (uint64, error) {
	net, err := m.unet.get(ctx)
	if err != nil {
		return 0, err
	}
	views, length := 2, 0
	switch {
	case m.weights.Variant == "edit":
		views = 3
	case t.q.guidance == 0 || t.q.guidance == 1:
		views = 1
	}
	for _, p := range t.c.phases {
		length = max(length, p.length())
	}
	shape := plane{nil, m.weights.UNet.OutChannels, t.q.Height / m.factor(), t.q.Width / m.factor()}
	in := m.unetInputs(unetInput{ts: make([]float32, n*views), shape: shape, length: length})
	return net.Estimate(ctx, in, []cgo.Output{{Name: "out"}})
}
