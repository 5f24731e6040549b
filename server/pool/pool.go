// Package pool runs the jobs of a queue in worker processes, one for each model that is
// open, so that a crash, a lack of memory or a hang costs one job at most and never the
// server. Workers are opened when jobs need them, within a budget of memory, and the
// one that was used least recently makes room. A job whose worker was lost is tried
// once more, alone; a model that crashes its workers again and again is refused for a
// time.
package pool

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/sdgo/sdgo/server/queue"
	"github.com/sdgo/sdgo/server/wire"
)

// Model is a model that workers open.
type Model struct {
	wire.Model
	Key   string // by which jobs ask for it (queue.Spec.Opens)
	Bytes uint64 // that its weights take
}

// Config says how a pool works. Zero values are the defaults.
type Config struct {
	Start   Start
	Lookup  func(name string) (Model, bool) // of the catalog
	Budget  uint64                          // bytes that all workers may take; 0 is no limit
	Batch   int                             // pictures that a worker computes at once; 0 means 1
	Retries int                             // of a job whose worker was lost; negative means none, 0 means 1

	Stall    time.Duration // without progress of a job: its worker hangs; 0 means 10 minutes
	Opening  time.Duration // for a worker to open its model; 0 means Stall
	Silence  time.Duration // without a sign of life of a worker; 0 means 30 seconds
	Grace    time.Duration // for a worker to stop a cancelled job; 0 means 15 seconds
	Patience time.Duration // after which a waiting job gets the workers of others; 0 means 20 seconds
	Pause    time.Duration // of a model that crashed its workers three times in a row; 0 means 30 seconds
	Idle     time.Duration // after which an unused model is closed; 0 means never

	Log     *slog.Logger // nil means none
	Observe Observer     // nil means none
}

// Observer is told what happens, for metrics. Its methods must not block.
type Observer interface {
	JobBegan(j *queue.Job, waited time.Duration)
	Stepped(model, sampler string, took time.Duration)
	ModelLoaded(model string, took time.Duration)
	WorkerLost(model string)
}

// Pool is the workers of a server. Its methods may be called from any goroutine.
type Pool struct {
	config Config
	queue  *queue.Queue

	mutex    sync.Mutex
	members  map[string]*member // by model
	breakers map[string]*breaker
	failures map[string]string // why models could not be opened
	stopping bool
	timer    *time.Timer
	done     chan struct{}
	closing  sync.Once
	all      sync.WaitGroup
	serial   int
}

// overhead is what a worker takes beside its weights, about: activations and code.
const overhead = 300 << 20

// New makes a pool that runs the jobs of a queue. The queue tells it of jobs by
// [Pool.Kick].
func New(q *queue.Queue, c Config) *Pool {
	c.Batch = max(c.Batch, 1)
	c.Stall = cmp.Or(c.Stall, 10*time.Minute)
	c.Opening = cmp.Or(c.Opening, c.Stall)
	c.Silence = cmp.Or(c.Silence, 30*time.Second)
	c.Grace = cmp.Or(c.Grace, 15*time.Second)
	c.Patience = cmp.Or(c.Patience, 20*time.Second)
	if c.Retries == 0 {
		c.Retries = 1
	}
	c.Retries = max(c.Retries, 0)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Observe == nil {
		c.Observe = nobody{}
	}
	p := &Pool{config: c, queue: q, members: map[string]*member{}, breakers: map[string]*breaker{}, failures: map[string]string{}, done: make(chan struct{})}
	q.OnChange(p.Kick)
	p.all.Go(p.watch)
	return p
}

// Kick makes the pool look for work.
func (p *Pool) Kick() {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.schedule()
}

// schedule gives waiting jobs to workers, and opens and closes workers for that. The
// pool is locked.
func (p *Pool) schedule() {
	p.stopCancelled()
	if p.stopping {
		return
	}
	now := time.Now()
	held := ""                // the model of a job that has waited too long for room
	full := map[string]bool{} // models whose next job must wait: no other goes before it
	for _, j := range p.queue.Waiting() {
		name := j.Spec.Opens()
		m := p.members[name]
		if m == nil {
			if !p.start(j, now) && held == "" && now.Sub(j.Created) > p.config.Patience {
				held = name // no younger job keeps the others' workers busy
			}
			continue
		}
		if full[name] || !m.ready || m.ending || held != "" && held != name {
			continue
		}
		if full[name] = !m.room(j, p.config.Batch); !full[name] && p.queue.Take(j) {
			p.config.Observe.JobBegan(j, now.Sub(j.Created))
			m.run(p, j)
		}
	}
}

// start opens a worker for a job's model if there is room, or makes room. It is false
// if the job must wait for other jobs' ends.
func (p *Pool) start(j *queue.Job, now time.Time) bool {
	name := j.Spec.Opens()
	model, ok := p.config.Lookup(name)
	if !ok {
		p.fail(j, wire.CodeModel, fmt.Sprintf("the model %q is gone", name))
		return true
	}
	model.Key = cmp.Or(model.Key, name)
	b := p.breaker(name)
	if left, refused := b.refuses(now); refused {
		p.fail(j, "model_disabled", fmt.Sprintf("the model's worker crashed %d times in a row; it is tried again in %d s", b.crashes, int(left.Seconds())+1))
		return true
	}
	if wait := b.wait(now); wait > 0 {
		p.later(wait)
		return true
	}
	cost := model.Bytes + overhead
	if p.config.Budget > 0 && cost > p.config.Budget {
		p.fail(j, wire.CodeMemory, fmt.Sprintf("the model takes about %d MB, and all models may take %d MB", cost>>20, p.config.Budget>>20))
		return true
	}
	if !p.makeRoom(cost) {
		return false
	}
	p.open(model, cost)
	return true
}

// makeRoom closes models that are not used until there is room for so many bytes.
func (p *Pool) makeRoom(cost uint64) bool {
	if p.config.Budget == 0 {
		return true
	}
	used := uint64(0)
	var idle []*member
	for _, m := range p.members {
		if m.ending {
			continue
		}
		used += m.cost
		if len(m.runs) == 0 && m.ready && !m.ending {
			idle = append(idle, m)
		}
	}
	slices.SortFunc(idle, func(a, b *member) int { return a.used.Compare(b.used) })
	for _, m := range idle {
		if used+cost <= p.config.Budget {
			break
		}
		used -= m.cost
		m.end(p, "another model needs its memory")
	}
	if used+cost > p.config.Budget {
		return false
	}
	for _, m := range p.members {
		if m.ending { // its memory is free when it is gone, which calls schedule again
			return false
		}
	}
	return true
}

// open starts a worker.
func (p *Pool) open(model Model, cost uint64) {
	proc, err := p.config.Start()
	if err != nil {
		p.config.Log.Error("worker", "model", model.Key, "error", err)
		p.breaker(model.Key).crashed(time.Now())
		p.later(firstDelay)
		return
	}
	p.serial++
	m := newMember(fmt.Sprintf("w%d", p.serial), model, cost, proc)
	p.members[model.Key] = m
	p.all.Go(func() { m.serve(p) })
	go m.send(wire.Message{Kind: wire.Open, Model: &model.Model})
}

func (p *Pool) breaker(name string) *breaker {
	b := p.breakers[name]
	if b == nil {
		b = &breaker{pause: p.config.Pause}
		p.breakers[name] = b
	}
	return b
}

// later looks for work again after a time.
func (p *Pool) later(wait time.Duration) {
	if p.timer != nil {
		p.timer.Stop()
	}
	p.timer = time.AfterFunc(wait, p.Kick)
}

// fail ends a job with an error.
func (p *Pool) fail(j *queue.Job, code, message string) {
	p.queue.Fail(j, &queue.Error{Code: code, Message: message})
}

// watch looks after the workers until the pool is closed. Time in which this process did
// not run itself, because the machine was overloaded or asleep, counts against no worker:
// what they have said meanwhile is still to be read.
func (p *Pool) watch() {
	every := min(time.Second, p.config.Silence/4, p.config.Stall/4, p.config.Opening/4, p.config.Grace/4)
	tick := time.NewTicker(every)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-tick.C:
		case <-p.done:
			return
		}
		p.mutex.Lock()
		now := time.Now()
		late := now.Sub(last) - every
		last = now
		for _, m := range p.members {
			if late > every {
				m.forgive(late)
			}
			m.check(p, now)
		}
		p.schedule()
		p.mutex.Unlock()
	}
}

// stopCancelled tells workers of jobs that were cancelled.
func (p *Pool) stopCancelled() {
	for _, m := range p.members {
		for _, r := range m.runs {
			if !r.stopped.IsZero() || !r.job.State().Ended() {
				continue
			}
			r.stopped = time.Now()
			for task := range r.open {
				go m.send(wire.Message{Kind: wire.Cancel, Task: taskName(r.job, task)})
			}
		}
	}
}

// Skip leaves out the picture that a job is making.
func (p *Pool) Skip(j *queue.Job) bool {
	task := j.Skip()
	if task < 0 {
		return false
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for _, m := range p.members {
		if m.runs[j.ID] != nil {
			go m.send(wire.Message{Kind: wire.Cancel, Task: taskName(j, task)})
		}
	}
	return true
}

// Load opens a model ahead of jobs, if there is room.
func (p *Pool) Load(name string) error {
	model, ok := p.config.Lookup(name)
	if !ok {
		return fmt.Errorf("there is no model %q", name)
	}
	model.Key = cmp.Or(model.Key, name)
	p.mutex.Lock()
	defer p.mutex.Unlock()
	cost := model.Bytes + overhead
	switch {
	case p.members[name] != nil || p.stopping:
		return nil
	case p.breaker(name).wait(time.Now()) > 0:
		return fmt.Errorf("the model's worker crashed; it is tried again later")
	case !p.makeRoom(cost):
		return fmt.Errorf("there is no room for the model while others are used")
	}
	p.open(model, cost)
	return nil
}

// Unload closes a model that no job uses; it is false if one does.
func (p *Pool) Unload(name string) bool {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	m := p.members[name]
	if m == nil || m.ending {
		return true
	}
	if len(m.runs) > 0 {
		return false
	}
	m.end(p, "it was unloaded")
	return true
}

// Close stops the pool: no job is begun any more, and those that wait fail; running ones
// may end until ctx is done, and fail then.
func (p *Pool) Close(ctx context.Context) {
	p.queue.Stop()
	p.mutex.Lock()
	p.stopping = true
	for _, j := range p.queue.Waiting() {
		p.fail(j, "shutting_down", "the server was shut down before the job began")
	}
	p.mutex.Unlock()
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		p.mutex.Lock()
		busy := false
		for _, m := range p.members {
			busy = busy || len(m.runs) > 0
			if len(m.runs) == 0 && m.ready && !m.ending {
				m.end(p, "the server shuts down")
			}
		}
		p.mutex.Unlock()
		if !busy || ctx.Err() != nil {
			tick.Stop()
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	p.mutex.Lock()
	for _, m := range p.members {
		m.ending = true
		m.proc.Kill()
	}
	p.mutex.Unlock()
	p.closing.Do(func() { close(p.done) })
	p.all.Wait()
}

// nobody observes nothing.
type nobody struct{}

func (nobody) JobBegan(*queue.Job, time.Duration)    {}
func (nobody) Stepped(string, string, time.Duration) {}
func (nobody) ModelLoaded(string, time.Duration)     {}
func (nobody) WorkerLost(string)                     {}
