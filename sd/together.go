package sd

import (
	"context"
	"errors"
	"slices"

	"github.com/sdgo/sdgo/internal/guard"
)

// task is one of the pictures of a job.
type task struct {
	*job
	c conditioning
	i int // which picture
}

// drawn is what a task gave.
type drawn struct {
	img   Image
	spent Result // the times
	err   error
}

// pass is a pass of a UNet that a picture waits for.
type pass struct {
	ctx context.Context
	k   int // which task
	m   *Model
	dst []float32
	in  unetInput
}

// message comes from a task's goroutine: a pass of a UNet that it waits for, a
// call that it wants made where all began, or neither at its end.
type message struct {
	pass  *pass
	call  func() error
	reply chan error
	k     int
}

var errAbandoned = errors.New("a callback panicked")

// together draws several pictures at once. Each is sampled in a goroutine of its
// own, with its own noise, as if it were alone; but when all of them wait for
// the UNet, it makes their passes as one batch. So every sampler gives the
// picture that it gives alone, whatever the others do. finished is called as
// each ends; it and what requests want to be told are called here.
func (m *Model) together(ctx context.Context, tasks []task, finished func(k int, d drawn)) {
	if len(tasks) == 1 {
		t, d := tasks[0], drawn{}
		d.img, d.err = m.picture(t.ctx, t.q, t.c, t.i, &d.spent)
		finished(0, d)
		return
	}
	box := make(chan message)
	ask := func(msg message) error {
		msg.reply = make(chan error, 1)
		box <- msg
		return <-msg.reply
	}
	all := make([]drawn, len(tasks))
	for k, t := range tasks {
		go t.draw(m, k, ask, func(d drawn) {
			all[k] = d
			box <- message{k: k}
		})
	}
	var waiting []message
	live := len(tasks)
	defer func() { // of a callback that panicked: nobody waits for an answer
		for _, msg := range waiting {
			msg.reply <- errAbandoned
		}
		for live > 0 {
			if msg := <-box; msg.reply != nil {
				msg.reply <- errAbandoned
			} else {
				live--
			}
		}
	}()
	for live > 0 {
		if len(waiting) == live {
			runPasses(ctx, waiting)
			waiting = waiting[:0]
		}
		switch msg := <-box; {
		case msg.pass != nil:
			waiting = append(waiting, msg)
		case msg.call != nil:
			waiting = append(waiting, msg)
			err := msg.call()
			waiting = waiting[:len(waiting)-1]
			msg.reply <- err
		default:
			live--
			finished(msg.k, all[msg.k])
		}
	}
}

// draw draws a task's picture in a goroutine of its own. What it wants of others
// it asks for.
func (t task) draw(m *Model, k int, ask func(message) error, ended func(drawn)) {
	q := t.q
	if report := q.OnEvent; report != nil {
		q.OnEvent = func(e Event) error {
			return ask(message{call: func() error { return guard.Call("OnEvent", func() error { return report(e) }) }})
		}
	}
	q.passes = func(ctx context.Context, m *Model, dst []float32, in unetInput) error {
		return ask(message{pass: &pass{ctx, k, m, dst, in}})
	}
	var d drawn
	d.err = guard.Call("drawing", func() (err error) {
		d.img, err = m.picture(t.ctx, q, t.c, t.i, &d.spent)
		return err
	})
	ended(d)
}

// runPasses makes the passes that wait: those of one network and shape as one
// batch.
func runPasses(ctx context.Context, waiting []message) {
	slices.SortFunc(waiting, func(a, b message) int { return a.pass.k - b.pass.k })
	done := make([]bool, len(waiting))
	for first, msg := range waiting {
		if done[first] {
			continue
		}
		var batch []message
		for i := first; i < len(waiting); i++ {
			if other := waiting[i]; !done[i] && other.pass.like(msg.pass) {
				done[i] = true
				if err := other.pass.ctx.Err(); err != nil {
					other.reply <- context.Cause(other.pass.ctx)
					continue
				}
				batch = append(batch, other)
			}
		}
		if len(batch) > 0 {
			runBatch(ctx, batch)
		}
	}
}

// like reports whether two passes can be one.
func (p *pass) like(o *pass) bool {
	a, b := p.in, o.in
	if p != o && (a.cache != nil || b.cache != nil) {
		return false // what is kept is of its own batch
	}
	return p.m == o.m && a.length == b.length &&
		a.shape.channels == b.shape.channels && a.shape.height == b.shape.height && a.shape.width == b.shape.width
}

// runBatch makes several passes at once.
func runBatch(ctx context.Context, batch []message) {
	if len(batch) == 1 {
		p := batch[0].pass
		batch[0].reply <- p.m.runUNet(p.ctx, p.dst, p.in)
		return
	}
	first := batch[0].pass
	in := unetInput{shape: first.in.shape, length: first.in.length}
	for _, msg := range batch {
		p := msg.pass.in
		in.xs, in.contexts = append(in.xs, p.xs...), append(in.contexts, p.contexts...)
		in.about, in.ts = append(in.about, p.about...), append(in.ts, p.ts...)
	}
	size := first.in.shape.channels * first.in.shape.height * first.in.shape.width
	out := make([]float32, len(in.ts)*size)
	err := first.m.runUNet(ctx, out, in)
	for _, msg := range batch {
		if err == nil {
			out = out[copy(msg.pass.dst, out):]
		}
		msg.reply <- err
	}
}
