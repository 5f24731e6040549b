package pipeline

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"

	"github.com/sdgo/sdgo/internal/guard"
	"github.com/sdgo/sdgo/sd/request"
)

// task is one of the pictures of a job.
type task struct {
	*job
	c guided
	i int // which picture
}

// drawn is what a task gave.
type drawn struct {
	img   request.Image
	spent request.Result // the times
	err   error
}

// waiting is an evaluation that a picture waits for.
type waiting struct {
	ctx context.Context
	k   int // which task
	p   *Pipeline
	dst []float32
	in  evaluation
}

// message is sent by a task to the coordinator: an evaluation to batch, a caller's
// function to run on the caller's goroutine, the news that a task is prepared, or none
// of these: the task has ended.
type message struct {
	evaluation *waiting
	call       func() error
	ready      *task
	reply      chan error
	k          int
}

var errAbandoned = errors.New("a callback panicked")

// together draws several pictures at once. Each is sampled in a goroutine of its
// own, with its own noise, as if it were alone; but when all of them wait for a
// denoiser, their evaluations are made as one batch. So every sampler gives the
// picture that it gives alone, whatever the others do. finished is called as
// each ends; it and what requests want to be told are called here.
func (p *Pipeline) together(tasks []task, finished func(k int, d drawn)) {
	if len(tasks) == 1 {
		t, d := tasks[0], drawn{}
		d.img, d.err = rendering{d: t.d, c: t.c, i: t.i, result: &d.spent}.picture(t.ctx)
		finished(0, d)
		return
	}
	c := coordinator{box: make(chan message), live: len(tasks)}
	all, decoding := make([]drawn, len(tasks)), &shares{}
	for k, t := range tasks {
		go t.draw(p, k, c.ask, decoding, func(d drawn) {
			all[k] = d
			c.box <- message{k: k}
		})
	}
	defer c.abandon() // of a callback that panicked: nobody waits for an answer
	c.run(func(k int) { finished(k, all[k]) })
}

// coordinator collects what tasks wait for.
type coordinator struct {
	box     chan message
	waiting []message
	live    int // tasks
}

// ask is what tasks call.
func (c *coordinator) ask(msg message) error {
	msg.reply = make(chan error, 1)
	c.box <- msg
	return <-msg.reply
}

// run answers until all tasks have ended.
func (c *coordinator) run(ended func(k int)) {
	for c.live > 0 {
		if len(c.waiting) == c.live {
			evaluateAll(c.waiting)
			c.waiting = c.waiting[:0]
		}
		switch msg := <-c.box; {
		case msg.evaluation != nil:
			c.waiting = append(c.waiting, msg)
		case msg.call != nil:
			c.waiting = append(c.waiting, msg)
			err := msg.call()
			c.waiting = c.waiting[:len(c.waiting)-1]
			msg.reply <- err
		default:
			c.live--
			ended(msg.k)
		}
	}
}

// abandon ends the tasks that still wait.
func (c *coordinator) abandon() {
	for _, msg := range c.waiting {
		msg.reply <- errAbandoned
	}
	for c.live > 0 {
		if msg := <-c.box; msg.reply != nil {
			msg.reply <- errAbandoned
		} else {
			c.live--
		}
	}
}

// draw draws a task's picture in a goroutine of its own. What it needs of others
// it asks for.
func (t task) draw(p *Pipeline, k int, ask func(message) error, decoding *shares, ended func(drawn)) {
	d := t.d
	if report := d.OnEvent; report != nil {
		d.OnEvent = func(e request.Event) error {
			return ask(message{call: func() error { return guard.Call("OnEvent", func() error { return report(e) }) }})
		}
	}
	d.run = func(ctx context.Context, p *Pipeline, dst []float32, in evaluation) error {
		return ask(message{evaluation: &waiting{ctx, k, p, dst, in}})
	}
	var out drawn
	out.err = guard.Call("drawing", func() (err error) {
		out.img, err = rendering{d, t.c, t.i, &out.spent, decoding}.picture(t.ctx)
		return err
	})
	ended(out)
}

// evaluateAll makes the evaluations that wait: those of one network and shape as one
// batch.
func evaluateAll(all []message) {
	slices.SortFunc(all, func(a, b message) int { return a.evaluation.k - b.evaluation.k })
	done := make([]bool, len(all))
	for first, msg := range all {
		if done[first] {
			continue
		}
		var batch []message
		for i := first; i < len(all); i++ {
			if other := all[i]; !done[i] && other.evaluation.like(msg.evaluation) {
				done[i] = true
				if err := other.evaluation.ctx.Err(); err != nil {
					other.reply <- context.Cause(other.evaluation.ctx)
					continue
				}
				batch = append(batch, other)
			}
		}
		if len(batch) > 0 {
			evaluateBatch(batch)
		}
	}
}

// like reports whether two evaluations can be one.
func (w *waiting) like(o *waiting) bool {
	a, b := w.in, o.in
	if w != o && (a.cache != nil || b.cache != nil) {
		return false // what is kept is of its own batch
	}
	return w.p == o.p && a.adapt == b.adapt && a.output == b.output && slices.Equal(a.controls, b.controls) && a.adapters > 0 == (b.adapters > 0) && a.tokens == b.tokens && a.merged == b.merged && (a.deepest == nil) == (b.deepest == nil) && slices.Equal(a.shape, b.shape) && sameShapes(a.c[0], b.c[0])
}

// whileAny is a context that ends when those of all evaluations have.
func whileAny(batch []message) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	var left atomic.Int64
	left.Store(int64(len(batch)))
	stops := []func() bool{}
	for _, msg := range batch {
		one := msg.evaluation.ctx
		stops = append(stops, context.AfterFunc(one, func() {
			if left.Add(-1) == 0 {
				cancel(context.Cause(one))
			}
		}))
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel(nil)
	}
}

// evaluateBatch makes several evaluations at once.
func evaluateBatch(batch []message) {
	first := batch[0].evaluation
	if len(batch) == 1 {
		batch[0].reply <- first.p.evaluate(first.ctx, first.dst, first.in)
		return
	}
	in := evaluation{shape: first.in.shape, output: first.in.output, adapt: first.in.adapt, controls: first.in.controls, adapters: first.in.adapters, tokens: first.in.tokens, merged: first.in.merged}
	size := 0
	for _, msg := range batch {
		one := msg.evaluation
		in.x, in.t, in.c = append(in.x, one.in.x...), append(in.t, one.in.t...), append(in.c, one.in.c...)
		in.items, in.features = append(in.items, one.in.items...), append(in.features, one.in.features...)
		in.pictures = append(in.pictures, one.in.pictures...)
		in.deepest = append(in.deepest, one.in.deepest...)
		size += len(one.dst)
	}
	out := make([]float32, size)
	ctx, stop := whileAny(batch)
	defer stop()
	err := first.p.evaluate(ctx, out, in)
	for _, msg := range batch {
		if err == nil {
			out = out[copy(msg.evaluation.dst, out):]
		}
		msg.reply <- err
	}
}
