package pipeline

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/sdgo/sdgo/internal/guard"
	"github.com/sdgo/sdgo/sd/request"
)

// ErrBusy is what [Queue.Submit] returns when as many requests wait as may.
var ErrBusy = errors.New("too many requests wait for the model; try again later")

// Queue draws the requests of many callers: their pictures share evaluations of the
// denoiser, as many at once as [Pipeline.Batch] says and memory allows, and join and
// leave between steps. Each picture is the one that is drawn alone.
type Queue struct {
	pipeline *Pipeline
	limit    int // requests that may wait

	mutex   sync.Mutex
	waiting []*submission // higher priority first, then in their order
	order   uint64
	running bool
	wake    chan struct{} // a request has come
}

// NewQueue makes the queue of a pipeline in which at most limit requests wait.
func NewQueue(p *Pipeline, limit int) *Queue {
	return &Queue{pipeline: p, limit: limit, wake: make(chan struct{}, 1)}
}

// submission is a request in the queue.
type submission struct {
	drawing  Drawing
	priority int
	order    uint64
	ctx      context.Context
	cancel   context.CancelCauseFunc
	release  func() // what the request keeps open
	begun    int    // pictures

	prepare sync.Once
	guided  guided
	failed  error // of prepare

	// mutex guards what follows, and lets one event be reported at a time.
	mutex    sync.Mutex
	result   request.Result
	finished []*drawn // by picture; nil until it is drawn
	told     int      // pictures that were reported
	ended    int      // pictures that are drawn or have failed
	err      error
	gone     bool // the caller no longer waits
	done     chan struct{}
}

// Submit draws a request, of higher priority before others. When ctx is done it
// returns at once, with the pictures that were finished; what others wait for goes
// on. release is called when the request no longer uses its models.
func (q *Queue) Submit(ctx context.Context, d Drawing, priority int, release func()) (*request.Result, error) {
	s := &submission{drawing: d, priority: priority, release: release, finished: make([]*drawn, d.Count), done: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	defer s.cancel(nil)
	if err := q.add(s); err != nil {
		release()
		return &s.result, err
	}
	select {
	case <-s.done:
		return &s.result, s.err
	case <-ctx.Done():
	}
	q.mutex.Lock()
	if s.begun == 0 {
		q.waiting = slices.DeleteFunc(q.waiting, func(w *submission) bool { return w == s })
		q.mutex.Unlock()
		release()
		return &s.result, context.Cause(ctx)
	}
	q.mutex.Unlock()
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.gone = true
	result := s.result
	result.Images = slices.Clone(result.Images)
	return &result, context.Cause(ctx)
}

// add puts a request into the queue, and starts to draw if nothing is drawn.
func (q *Queue) add(s *submission) error {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	if len(q.waiting) >= q.limit {
		return ErrBusy
	}
	q.order++
	s.order = q.order
	at, _ := slices.BinarySearchFunc(q.waiting, s, func(w, s *submission) int {
		if w.priority != s.priority {
			return s.priority - w.priority
		}
		return int(int64(w.order) - int64(s.order))
	})
	q.waiting = slices.Insert(q.waiting, at, s)
	if !q.running {
		q.running = true
		go q.run()
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return nil
}

// group is the pictures that are drawn at the same time.
type group struct {
	coordinator
	first   Drawing // whose size all have
	most    int     // pictures; 1 until the first one's memory is known
	started int     // pictures in all
}

// run draws until no request waits.
func (q *Queue) run() {
	g := &group{coordinator: coordinator{box: make(chan message)}, most: 1}
	for q.admit(g) {
		if len(g.waiting) == g.live {
			evaluateAll(g.waiting)
			g.waiting = g.waiting[:0]
		}
		select {
		case msg := <-g.box:
			q.handle(g, msg)
		case <-q.wake:
		}
	}
}

// handle takes what a task has sent.
func (q *Queue) handle(g *group, msg message) {
	switch {
	case msg.evaluation != nil:
		g.waiting = append(g.waiting, msg)
	case msg.ready != nil:
		if n, err := q.pipeline.batch(msg.ready.ctx, *msg.ready); err == nil && g.most == 1 {
			g.most = n
		}
	default:
		g.live--
	}
}

// admit begins pictures as long as there is room for those that come next. It is
// false when nothing is drawn and nothing waits.
func (q *Queue) admit(g *group) bool {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	for len(q.waiting) > 0 && (g.live == 0 || g.live < g.most) {
		s := q.waiting[0]
		if g.live == 0 {
			g.first, g.most = s.drawing, 1
		} else if !s.drawing.like(g.first) {
			break // it would wait for ever if others went before it
		}
		i := s.begun
		if s.begun++; s.begun == s.drawing.Count {
			q.waiting = q.waiting[1:]
		}
		g.live++
		g.started++
		go q.draw(g, s, i, g.started)
	}
	if g.live == 0 {
		q.running = false
	}
	return g.live > 0
}

// draw draws picture i of a request, the k-th task of a group.
func (q *Queue) draw(g *group, s *submission, i, k int) {
	d := s.drawing
	if d.OnEvent != nil {
		d.OnEvent = s.report
	}
	d.run = func(ctx context.Context, p *Pipeline, dst []float32, in evaluation) error {
		return g.ask(message{evaluation: &waiting{ctx, k, p, dst, in}})
	}
	var out drawn
	out.err = guard.Call("drawing", func() (err error) {
		if err := context.Cause(s.ctx); err != nil {
			return err
		}
		s.prepare.Do(func() {
			var spent request.Result
			s.guided, s.failed = q.pipeline.prepare(s.ctx, d, &spent)
			s.mutex.Lock()
			defer s.mutex.Unlock()
			s.result.Text, s.result.Encode = spent.Text, spent.Encode
		})
		if s.failed != nil {
			return s.failed
		}
		g.box <- message{ready: &task{&job{d: d, ctx: s.ctx}, s.guided, i}}
		out.img, err = rendering{d: d, c: s.guided, i: i, result: &out.spent}.picture(s.ctx)
		return err
	})
	s.finish(i, out)
	g.box <- message{}
}

// report reports an event to a caller that still waits.
func (s *submission) report(e request.Event) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.reportLocked(e)
}

func (s *submission) reportLocked(e request.Event) error {
	switch {
	case s.gone:
		return context.Cause(s.ctx)
	case s.err != nil:
		return s.err
	}
	return s.drawing.event(e)
}

// finish takes picture i. Pictures are reported in their order; the first error ends
// the request.
func (s *submission) finish(i int, out drawn) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.finished[i] = &out
	for s.err == nil && s.told < len(s.finished) && s.finished[s.told] != nil {
		d := s.finished[s.told]
		s.addTimes(d.spent)
		if d.err != nil {
			s.fail(d.err)
			break
		}
		s.result.Images = append(s.result.Images, d.img)
		e := request.Event{Stage: request.StageImage, Picture: s.told, Index: s.told + 1, Of: s.drawing.Count, Image: &d.img}
		if err := s.reportLocked(e); err != nil {
			s.fail(err)
			break
		}
		s.told++
	}
	if s.ended++; s.ended == s.drawing.Count {
		s.release()
		close(s.done)
	}
}

func (s *submission) addTimes(spent request.Result) {
	for _, t := range []struct{ to, from *time.Duration }{
		{&s.result.Encode, &spent.Encode}, {&s.result.Sample, &spent.Sample}, {&s.result.Decode, &spent.Decode},
	} {
		*t.to += *t.from
	}
}

// fail ends the request's other pictures.
func (s *submission) fail(err error) {
	s.err = err
	s.cancel(err)
}

// Waiting is how many requests wait to be begun.
func (q *Queue) Waiting() int {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	return len(q.waiting)
}
