// Package queue holds the server's jobs: those that wait, in a bounded queue with
// priorities, those that run, and those that have ended, for a time, with their
// pictures. It starts nothing itself: package pool takes jobs from it and reports what
// becomes of them.
package queue

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Limits of a queue. Zero values are the defaults.
type Limits struct {
	Waiting   int           // jobs that wait; 0 means 256
	PerClient int           // of one client's; 0 means as many as may wait
	Keep      time.Duration // how long a job is kept after it ended; 0 means an hour
	KeepJobs  int           // and how many; 0 means 10,000
	KeepBytes int64         // and how many bytes of pictures; 0 means 256 MiB
	Inputs    int64         // bytes of the pictures that jobs which have not ended begin with; 0 means 1 GiB
}

// Errors of [Queue.Add].
var (
	ErrFull      = errors.New("the queue is full")
	ErrTooMany   = errors.New("too many jobs of this client wait")
	ErrStopping  = errors.New("the server is shutting down")
	ErrDuplicate = errors.New("a job with this id exists already")
)

// Queue is the jobs of a server. Its methods may be called from any goroutine.
type Queue struct {
	limits  Limits
	now     func() time.Time
	changed func()     // is called after jobs have come; not while the queue is locked
	onEnd   func(*Job) // is called after a job has ended

	mutex    sync.Mutex
	jobs     map[string]*Job
	waiting  []*Job // in the order in which they are begun
	ended    []*Job // oldest first
	bytes    int64  // of the pictures of ended jobs
	inputs   int64  // of those that the others begin with
	pictures map[string]*Picture
	order    uint64
	stopping bool
	ids      map[string]string // callers' own ids, with the client → our id
}

// New makes an empty queue. changed is called when jobs have come or were cancelled.
func New(l Limits, changed func()) *Queue {
	l.Waiting = cmp.Or(l.Waiting, 256)
	l.PerClient = cmp.Or(l.PerClient, l.Waiting)
	l.Keep = cmp.Or(l.Keep, time.Hour)
	l.KeepJobs = cmp.Or(l.KeepJobs, 10_000)
	l.KeepBytes = cmp.Or(l.KeepBytes, 256<<20)
	l.Inputs = cmp.Or(l.Inputs, 1<<30)
	if changed == nil {
		changed = func() {}
	}
	return &Queue{limits: l, now: time.Now, changed: changed, jobs: map[string]*Job{}, pictures: map[string]*Picture{}, ids: map[string]string{}}
}

// OnChange sets what is called when jobs have come or were cancelled. It must be called
// before the first job.
func (q *Queue) OnChange(changed func()) { q.changed = changed }

// OnEnd sets what is called when a job has ended; it must not block. It must be called
// before the first job.
func (q *Queue) OnEnd(ended func(*Job)) { q.onEnd = ended }

// Limits are the queue's limits, with the defaults.
func (q *Queue) Limits() Limits { return q.limits }

// Add puts a job into the queue.
func (q *Queue) Add(s Spec) (*Job, error) {
	if len(s.Tasks) == 0 {
		return nil, errors.New("a job must have at least one picture")
	}
	inputs := s.inputs()
	q.mutex.Lock()
	defer func() {
		q.mutex.Unlock()
		q.changed()
	}()
	switch {
	case q.stopping:
		return nil, ErrStopping
	case len(q.waiting) >= q.limits.Waiting:
		return nil, fmt.Errorf("%w: %d jobs wait", ErrFull, len(q.waiting))
	case q.waitingOf(s.Client) >= q.limits.PerClient:
		return nil, fmt.Errorf("%w: at most %d may", ErrTooMany, q.limits.PerClient)
	case inputs > 0 && q.inputs > 0 && q.inputs+inputs > q.limits.Inputs:
		return nil, fmt.Errorf("%w: the pictures that jobs begin with take %d MB", ErrFull, q.inputs>>20)
	case s.Key != "" && q.ids[s.Client+"\x00"+s.Key] != "":
		return nil, ErrDuplicate
	}
	q.sweep()
	q.order++
	j := newJob(q, s, q.order, q.now())
	j.inputs = inputs
	q.inputs += inputs
	q.jobs[j.ID] = j
	if s.Key != "" {
		q.ids[s.Client+"\x00"+s.Key] = j.ID
	}
	q.insert(j)
	return j, nil
}

// insert puts a job at its place among those that wait.
func (q *Queue) insert(j *Job) {
	at, _ := slices.BinarySearchFunc(q.waiting, j, func(w, j *Job) int {
		return cmp.Or(cmp.Compare(j.Spec.Priority, w.Spec.Priority), cmp.Compare(w.order, j.order))
	})
	q.waiting = slices.Insert(q.waiting, at, j)
}

func (q *Queue) waitingOf(client string) (n int) {
	for _, j := range q.waiting {
		if j.Spec.Client == client {
			n++
		}
	}
	return n
}

// Waiting are the jobs that wait, in the order in which they are begun.
func (q *Queue) Waiting() []*Job {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	q.waiting = slices.DeleteFunc(q.waiting, func(j *Job) bool { return j.State() != Queued }) // one that was cancelled while it came back
	return slices.Clone(q.waiting)
}

// Take takes a job that waits, to run it. It is false if the job no longer waits.
func (q *Queue) Take(j *Job) bool {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	at := slices.Index(q.waiting, j)
	if at < 0 {
		return false
	}
	q.waiting = slices.Delete(q.waiting, at, at+1)
	return j.begin(q.now())
}

// Requeue puts a job back whose worker was lost, at its old place.
func (q *Queue) Requeue(j *Job) {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	if j.requeue() {
		q.insert(j)
	}
}

// Find returns a job by its id, or by the id that its client has given it.
func (q *Queue) Find(client, id string) (*Job, bool) {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	q.sweep()
	if own, ok := q.ids[client+"\x00"+id]; ok {
		id = own
	}
	j, ok := q.jobs[id]
	return j, ok
}

// Jobs are all jobs that are known, the newest first.
func (q *Queue) Jobs() []*Job {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	q.sweep()
	all := make([]*Job, 0, len(q.jobs))
	for _, j := range q.jobs {
		all = append(all, j)
	}
	slices.SortFunc(all, func(a, b *Job) int { return cmp.Compare(b.order, a.order) })
	return all
}

// Picture returns a picture of a job that is known.
func (q *Queue) Picture(id string) (*Picture, bool) {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	q.sweep()
	p, ok := q.pictures[id]
	return p, ok
}

// Pictures are the pictures of all jobs that are known, the newest first.
func (q *Queue) Pictures() []*Picture {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	q.sweep()
	all := make([]*Picture, 0, len(q.pictures))
	for _, p := range q.pictures {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *Picture) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(b.order, a.order), cmp.Compare(a.ID, b.ID))
	})
	return all
}

// DropPicture forgets a picture; it is false if there is none.
func (q *Queue) DropPicture(id string) bool {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	_, ok := q.pictures[id]
	delete(q.pictures, id)
	return ok
}

// Cancel ends a job: one that waits leaves the queue, one that runs is stopped. Its
// finished pictures stay. It is false if the job has ended before.
func (q *Queue) Cancel(j *Job) bool {
	q.mutex.Lock()
	if at := slices.Index(q.waiting, j); at >= 0 {
		q.waiting = slices.Delete(q.waiting, at, at+1)
	}
	q.mutex.Unlock()
	ok := j.end(Cancelled, nil)
	q.changed()
	return ok
}

// Fail ends a job that waits or runs with an error.
func (q *Queue) Fail(j *Job, e *Error) {
	q.mutex.Lock()
	if at := slices.Index(q.waiting, j); at >= 0 {
		q.waiting = slices.Delete(q.waiting, at, at+1)
	}
	q.mutex.Unlock()
	j.end(Failed, e)
}

// Stop makes Add refuse jobs.
func (q *Queue) Stop() {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	q.stopping = true
}

// Depth is how many jobs wait, by model.
func (q *Queue) Depth() map[string]int {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	out := map[string]int{}
	for _, j := range q.waiting {
		out[j.Spec.Model]++
	}
	return out
}

// position is a waiting job's place, from 1; 0 if it does not wait.
func (q *Queue) position(j *Job) int {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	return slices.Index(q.waiting, j) + 1
}

// keep takes note of a job that has ended.
func (q *Queue) keep(j *Job, pictures []*Picture) {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	q.ended = append(q.ended, j)
	q.inputs -= j.inputs
	for _, p := range pictures {
		q.bytes += int64(len(p.Data))
	}
	q.sweep()
}

// index makes a picture known by its id, while its job still runs.
func (q *Queue) index(p *Picture) {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	q.order++
	p.order = q.order
	q.pictures[p.ID] = p
}

// sweep forgets jobs that ended long ago, or whose pictures are too many. The queue is
// locked.
func (q *Queue) sweep() {
	for len(q.ended) > 0 {
		j := q.ended[0]
		pictures, ended := j.kept()
		if len(q.ended) <= q.limits.KeepJobs && q.bytes <= q.limits.KeepBytes && q.now().Sub(ended) < q.limits.Keep {
			return
		}
		q.ended[0] = nil
		q.ended = q.ended[1:]
		delete(q.jobs, j.ID)
		if j.Spec.Key != "" {
			delete(q.ids, j.Spec.Client+"\x00"+j.Spec.Key)
		}
		for _, p := range pictures {
			q.bytes -= int64(len(p.Data))
			delete(q.pictures, p.ID)
		}
	}
}
