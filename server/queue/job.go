package queue

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"image"
	"slices"
	"sync"
	"time"

	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/server/wire"
)

// State is what a job does.
type State string

// The states. A job ends in one of the last three.
const (
	Queued    State = "queued"
	Running   State = "running"
	Done      State = "done"
	Failed    State = "failed"
	Cancelled State = "cancelled"
)

// Ended reports whether a job in this state stays in it.
func (s State) Ended() bool { return s == Done || s == Failed || s == Cancelled }

// Error says why a job failed: a code for programs, and a text for people that has
// nothing of the machine.
type Error = wire.Error

// Spec describes a job.
type Spec struct {
	API      string          // which of the server's interfaces it came through, for the metrics
	Client   string          // whose it is
	Key      string          // the client's own id of it; "" is none
	Model    string          // of the catalog
	VAE      string          // of the catalog, in place of the model's own; "" is that
	Priority int             // higher ones are begun first
	Tasks    []Task          // its pictures
	Note     json.RawMessage // what the interface keeps with it; may be nil
}

// Opens names what a worker opens for the job: the model, and the autoencoder if it is not
// the model's own.
func (s Spec) Opens() string {
	if s.VAE == "" {
		return s.Model
	}
	return s.Model + With + s.VAE
}

// inputs are the bytes of the pictures that the job begins with, which tasks may share.
func (s Spec) inputs() (bytes int64) {
	seen := map[image.Image]bool{}
	for _, t := range s.Tasks {
		for _, img := range begins(t.Request) {
			if img == nil || seen[img] {
				continue
			}
			seen[img] = true
			size := img.Bounds().Size()
			bytes += 4 * int64(size.X) * int64(size.Y)
		}
	}
	return bytes
}

// begins are the pictures that a request begins with, some of which may be nil.
func begins(r request.Request) []image.Image {
	all := []image.Image{r.Image, r.Mask}
	for _, c := range r.Controls {
		all = append(all, c.Image)
	}
	for _, g := range r.Guides {
		all = append(all, g.Image, g.Of)
	}
	return all
}

// without is a request without the pictures that it begins with. Its lists are copies, since
// whoever sends them to a worker may be reading the old ones.
func without(r request.Request) request.Request {
	r.Image, r.Mask = nil, nil
	r.Controls, r.Guides = slices.Clone(r.Controls), slices.Clone(r.Guides)
	for i := range r.Controls {
		r.Controls[i].Image, r.Controls[i].Face = nil, nil
	}
	for i := range r.Guides {
		r.Guides[i].Image, r.Guides[i].Of = nil, nil
	}
	return r
}

// With is between the names of a model and its autoencoder.
const With = " with "

// Task is one picture of a job.
type Task struct {
	Request request.Request // of one picture, with its init image and mask
	Attach  []wire.Model    // networks that it names
	Upscale *wire.Size      // in place of a request: the size to which Request.Image is upscaled
	Output  wire.Output
}

// Picture is a picture of a job.
type Picture struct {
	wire.Picture
	ID      string // unguessable
	Job     string
	Client  string
	Task    int
	Draft   bool // the picture before a hires pass
	Model   string
	Created time.Time
	Data    []byte // its file

	order uint64
}

// Preview is the last preview of a job.
type Preview struct {
	Task, Step int
	Data       []byte // PNG
}

// Job is a job in a [Queue]. Its methods may be called from any goroutine.
type Job struct {
	ID      string
	Spec    Spec
	Created time.Time

	queue  *Queue
	order  uint64
	inputs int64           // bytes of the pictures that it begins with
	ctx    context.Context // is done when the job has ended
	cancel context.CancelFunc

	mutex    sync.Mutex
	state    State
	version  uint64
	changed  chan struct{} // is closed and replaced with each version
	attempt  int
	began    time.Time // the attempt
	ended    time.Time
	tasks    []taskState
	pictures []*Picture // in the order of their tasks
	preview  *Preview
	err      *Error
	warnings []string
}

// taskState is how far a picture is.
type taskState struct {
	done, skipped bool
	step          wire.Step
	fraction      float64
}

// NewID is 128 random bits in hexadecimal digits.
func NewID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func newJob(q *Queue, s Spec, order uint64, now time.Time) *Job {
	j := &Job{ID: NewID(), Spec: s, Created: now, queue: q, order: order, state: Queued, changed: make(chan struct{}), tasks: make([]taskState, len(s.Tasks))}
	j.ctx, j.cancel = context.WithCancel(context.Background())
	return j
}

// Ended is closed when the job has ended.
func (j *Job) Ended() <-chan struct{} { return j.ctx.Done() }

// change makes a new version. The job is locked.
func (j *Job) change() {
	j.version++
	close(j.changed)
	j.changed = make(chan struct{})
}

// begin starts an attempt; it is false if the job does not wait.
func (j *Job) begin(now time.Time) bool {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	if j.state != Queued {
		return false
	}
	j.state, j.began = Running, now
	j.attempt++
	j.change()
	return true
}

// requeue makes a job wait again; it is false if it has ended.
func (j *Job) requeue() bool {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	if j.state != Running {
		return false
	}
	j.state, j.preview = Queued, nil
	for i, t := range j.tasks {
		if !t.done {
			j.tasks[i] = taskState{skipped: t.skipped}
		}
	}
	j.change()
	return true
}

// Attempt is how many times the job was begun.
func (j *Job) Attempt() int {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	return j.attempt
}

// Left are the pictures that are still to be made.
func (j *Job) Left() (left []int) {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	for i, t := range j.tasks {
		if !t.done && !t.skipped {
			left = append(left, i)
		}
	}
	return left
}

// Step reports how far a picture is. preview is a PNG file, or nil.
func (j *Job) Step(task int, s wire.Step, preview []byte) {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	if j.state != Running || task < 0 || task >= len(j.tasks) {
		return
	}
	t := &j.tasks[task]
	t.step = s
	t.fraction = max(t.fraction, fraction(s, len(j.Spec.Tasks[task].Request.Hires)))
	if preview != nil {
		j.preview = &Preview{task, s.Index, preview}
	}
	j.change()
}

// fraction is the share of a picture's work that is done, about: of each pass the
// steps are most of it.
func fraction(s wire.Step, hires int) float64 {
	within := 0.0
	if s.Of > 0 {
		within = float64(s.Index) / float64(s.Of)
	}
	switch request.Stage(s.Stage) {
	case request.StageSample:
		within *= 0.9
	case request.StageDecode:
		within = 0.9 + 0.1*within
	case request.StageUpscale:
		if hires == 0 {
			return within
		}
		within = 0
	default:
		within = 0
	}
	return (float64(s.Pass) + within) / float64(hires+1)
}

// Finish takes a picture's file. A draft does not end its task.
func (j *Job) Finish(task int, p wire.Picture, data []byte, draft bool) {
	j.mutex.Lock()
	if j.state != Running || task < 0 || task >= len(j.tasks) {
		j.mutex.Unlock()
		return
	}
	out := &Picture{Picture: p, ID: NewID(), Job: j.ID, Client: j.Spec.Client, Task: task, Draft: draft, Model: j.Spec.Model, Created: j.queue.now(), Data: data}
	at := slices.IndexFunc(j.pictures, func(o *Picture) bool { return o.Task > task })
	if at < 0 {
		at = len(j.pictures)
	}
	j.pictures = slices.Insert(j.pictures, at, out)
	if !draft {
		j.tasks[task].done, j.tasks[task].fraction = true, 1
	}
	j.change()
	j.mutex.Unlock()
	j.queue.index(out)
}

// Skip leaves out the picture that is being made, which is returned; -1 if none is.
func (j *Job) Skip() int {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	if j.state != Running {
		return -1
	}
	at := j.current()
	if at >= 0 {
		j.tasks[at].skipped = true
		j.change()
	}
	return at
}

// Skipped reports whether a picture was left out.
func (j *Job) Skipped(task int) bool {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	return task >= 0 && task < len(j.tasks) && j.tasks[task].skipped
}

// Warn notes what happened differently than asked.
func (j *Job) Warn(text string) {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	if len(j.warnings) < 16 && !slices.Contains(j.warnings, text) {
		j.warnings = append(j.warnings, text)
		j.change()
	}
}

// Complete ends a job all of whose pictures are done or left out.
func (j *Job) Complete() { j.end(Done, nil) }

// end ends a job, once.
func (j *Job) end(s State, e *Error) bool {
	j.mutex.Lock()
	if j.state.Ended() {
		j.mutex.Unlock()
		return false
	}
	j.state, j.err, j.preview, j.ended = s, e, nil, j.queue.now()
	for i := range j.Spec.Tasks { // the pictures that it began with are no longer needed
		j.Spec.Tasks[i].Request = without(j.Spec.Tasks[i].Request)
	}
	j.change()
	pictures := j.pictures
	j.mutex.Unlock()
	j.queue.keep(j, pictures)
	if j.queue.onEnd != nil {
		j.queue.onEnd(j)
	}
	j.cancel()
	return true
}

// kept are the pictures of a job that has ended, and when it did.
func (j *Job) kept() ([]*Picture, time.Time) {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	return j.pictures, j.ended
}

// Task returns one of the job's tasks, with its pictures as long as the job has not
// ended.
func (j *Job) Task(i int) Task {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	return j.Spec.Tasks[i]
}
