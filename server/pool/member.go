package pool

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/disintegration/imaging"

	"github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/server/queue"
	"github.com/sdgo/sdgo/server/wire"
)

// member is a worker process with its model. Its fields are guarded by the pool's mutex,
// except for those that never change.
type member struct {
	id    string
	model Model
	proc  Process
	out   *wire.Writer
	since time.Time // when it was started

	opens    time.Time // the same, later by what check forgives
	cost     uint64
	resident uint64
	ready    bool
	ending   bool   // it was told to end
	hung     string // why it was killed
	info     wire.Info
	used     time.Time
	heard    time.Time
	runs     map[string]*run // by job
}

// run is a job in a worker.
type run struct {
	job     *queue.Job
	open    map[int]bool // tasks that have not ended
	moved   time.Time    // the last progress
	stopped time.Time    // when the worker was told that the job has ended
	alone   bool
	stepped map[int]time.Duration // when a task's last step ended, since its stage began
}

func newMember(id string, model Model, cost uint64, proc Process) *member {
	now := time.Now()
	return &member{id: id, model: model, proc: proc, out: wire.NewWriter(proc.In()), since: now, opens: now, cost: cost, used: now, heard: now, runs: map[string]*run{}}
}

// send writes a message to the worker. That it is gone is noticed by serve.
func (m *member) send(msg wire.Message) { _ = m.out.Write(msg) }

// end asks the worker to end. Nothing runs in it.
func (m *member) end(p *Pool, why string) {
	m.ending = true
	p.config.Log.Info("closing model", "model", m.model.Key, "worker", m.id, "why", why)
	proc := m.proc
	go func() {
		_ = proc.In().Close()
		time.AfterFunc(3*time.Second, proc.Kill)
	}()
}

// room reports whether a job can begin: as long as there are fewer pictures than a pass
// takes. One that is tried again is alone, so that it can lose no other.
func (m *member) room(j *queue.Job, batch int) bool {
	if len(m.runs) == 0 {
		return true
	}
	pictures := 0
	for _, r := range m.runs {
		if r.alone {
			return false
		}
		pictures += len(r.open)
	}
	return j.Attempt() == 0 && pictures < batch
}

// taskName names a picture on the wire.
func taskName(j *queue.Job, task int) string { return j.ID + "/" + strconv.Itoa(task) }

// run gives a job to the worker.
func (m *member) run(p *Pool, j *queue.Job) {
	r := &run{job: j, open: map[int]bool{}, moved: time.Now(), alone: j.Attempt() > 1, stepped: map[int]time.Duration{}}
	left := j.Left()
	for _, i := range left {
		r.open[i] = true
	}
	m.runs[j.ID] = r
	m.used = time.Now()
	if len(left) == 0 { // all that was left was skipped
		m.finished(p, r)
		return
	}
	go func() {
		for _, i := range left {
			msg, err := message(j, i)
			if err == nil {
				if err = m.out.Write(msg); !errors.Is(err, wire.ErrTooLarge) {
					err = nil // a worker that is gone is noticed by serve, and the job tried again
				}
			}
			if j.State().Ended() || j.Skipped(i) { // the message of that may have come before this one
				m.send(wire.Message{Kind: wire.Cancel, Task: taskName(j, i)})
			}
			if err != nil {
				p.taskFailed(m, j.ID, i, &wire.Error{Code: wire.CodeFailed, Message: "the job cannot be given to its worker: " + err.Error()})
			}
		}
	}()
}

// message is a picture of a job on the wire.
func message(j *queue.Job, i int) (wire.Message, error) {
	t := j.Task(i)
	r := t.Request
	msg := wire.Message{Kind: wire.Draw, Task: taskName(j, i), Work: &wire.Work{Attach: t.Attach, Upscale: t.Upscale, Priority: j.Spec.Priority, Output: t.Output}}
	colours := func(from image.Image) *wire.Size {
		if from == nil {
			return nil
		}
		img, ok := from.(*image.NRGBA)
		if !ok || img.Rect.Min != (image.Point{}) || img.Stride != 4*img.Rect.Dx() {
			img = imaging.Clone(from)
		}
		msg.Parts = append(msg.Parts, img.Pix)
		return &wire.Size{Width: img.Rect.Dx(), Height: img.Rect.Dy()}
	}
	msg.Work.Image = colours(r.Image)
	if r.Mask != nil {
		mask, err := picture.Mask(r.Mask)
		if err != nil {
			return msg, err
		}
		msg.Work.Mask = &wire.Size{Width: mask.Rect.Dx(), Height: mask.Rect.Dy()}
		msg.Parts = append(msg.Parts, mask.Pix)
	}
	r.Controls = slices.Clone(r.Controls)
	for i := range r.Controls {
		msg.Work.Controls = append(msg.Work.Controls, colours(r.Controls[i].Image))
		if len(r.Controls[i].Face) > 0 && msg.Work.Faces == nil {
			msg.Work.Faces = make([][]float32, len(r.Controls))
		}
		if len(r.Controls[i].Face) > 0 {
			msg.Work.Faces[i] = r.Controls[i].Face
		}
		r.Controls[i].Image, r.Controls[i].Face = nil, nil
	}
	r.Guides = slices.Clone(r.Guides)
	for i := range r.Guides {
		g := &r.Guides[i]
		msg.Work.Guides = append(msg.Work.Guides, wire.Guide{Image: colours(g.Image), Of: colours(g.Of)})
		g.Image, g.Of = nil, nil
	}
	r.Image, r.Mask, r.ImageFile, r.MaskFile, r.OnEvent = nil, nil, "", "", nil
	if t.Upscale != nil {
		return msg, nil
	}
	text, err := job.Encode(r)
	msg.Work.Request = bytes.Clone(text)
	return msg, err
}

// serve reads what the worker says until it ends.
func (m *member) serve(p *Pool) {
	for {
		msg, err := wire.Read(m.proc.Out())
		if err != nil {
			break
		}
		p.handle(m, msg)
	}
	m.proc.Kill() // what closes its output, or sends no messages, is of no use
	p.lost(m, m.proc.Wait())
}

// handle takes a message of a worker.
func (p *Pool) handle(m *member, msg wire.Message) {
	now := time.Now()
	p.mutex.Lock()
	m.heard = now
	if msg.Resident > 0 {
		m.resident = msg.Resident
		m.cost = max(m.model.Bytes, msg.Resident)
	}
	p.mutex.Unlock()
	switch msg.Kind {
	case wire.Ready:
		p.opened(m, msg.Info)
	case wire.Warning:
		p.config.Log.Warn("worker", "model", m.model.Key, "worker", m.id, "warning", msg.Text)
	case wire.Progress, wire.Draft, wire.Done:
		p.progress(m, msg, now)
	case wire.Failed:
		if msg.Error == nil {
			msg.Error = &wire.Error{Code: wire.CodeFailed, Message: "the worker failed"}
		}
		if msg.Task == "" {
			p.notOpened(m, msg.Error)
			return
		}
		id, task := splitTask(msg.Task)
		p.taskFailed(m, id, task, msg.Error)
	}
}

func splitTask(name string) (id string, task int) {
	id, number, _ := strings.Cut(name, "/")
	task, err := strconv.Atoi(number)
	if err != nil {
		task = -1
	}
	return id, task
}

// opened takes note of an open model.
func (p *Pool) opened(m *member, info *wire.Info) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	m.ready = true
	if info != nil {
		m.info = *info
	}
	delete(p.failures, m.model.Key)
	p.config.Log.Info("model is open", "model", m.model.Key, "worker", m.id, "seconds", time.Since(m.since).Seconds())
	p.config.Observe.ModelLoaded(m.model.Key, time.Since(m.since))
	p.schedule()
}

// notOpened fails the jobs of a model that cannot be opened.
func (p *Pool) notOpened(m *member, e *wire.Error) {
	p.config.Log.Error("model cannot be opened", "model", m.model.Key, "error", e.Message)
	p.mutex.Lock()
	defer p.mutex.Unlock()
	m.ending = true
	p.failures[m.model.Key] = "it cannot be opened; the server's log says why"
	m.proc.Kill()
	for _, j := range p.queue.Waiting() {
		if j.Spec.Opens() == m.model.Key {
			p.fail(j, wire.CodeModel, fmt.Sprintf("the model %q cannot be opened; the server's log says why", m.model.Key))
		}
	}
}

// progress takes what a worker says of a picture.
func (p *Pool) progress(m *member, msg wire.Message, now time.Time) {
	id, task := splitTask(msg.Task)
	p.mutex.Lock()
	r := m.runs[id]
	if r == nil || !r.open[task] {
		p.mutex.Unlock()
		return
	}
	r.moved = now
	if msg.Kind == wire.Done {
		p.breaker(m.model.Key).worked()
	}
	p.mutex.Unlock()
	var data []byte
	if len(msg.Parts) > 0 {
		data = msg.Parts[0]
	}
	switch {
	case msg.Kind == wire.Progress && msg.Progress != nil:
		r.job.Step(task, *msg.Progress, data)
		m.observeStep(p, r, task, *msg.Progress)
	case msg.Kind != wire.Progress && msg.Picture != nil && data != nil:
		if !r.job.Skipped(task) {
			r.job.Finish(task, *msg.Picture, data, msg.Kind == wire.Draft)
		}
		if msg.Kind == wire.Done {
			p.taskEnded(m, r, task)
		}
	}
}

// observeStep measures a step.
func (m *member) observeStep(p *Pool, r *run, task int, s wire.Step) {
	if s.Stage != string(request.StageSample) {
		return
	}
	took := time.Duration(s.Took * float64(time.Second))
	p.mutex.Lock()
	before := r.stepped[task]
	if s.Index == 1 {
		before = 0
	}
	r.stepped[task] = took
	p.mutex.Unlock()
	p.config.Observe.Stepped(m.model.Key, r.job.Task(task).Request.Sampler, took-before)
}

// taskEnded takes note that a picture is done or given up.
func (p *Pool) taskEnded(m *member, r *run, task int) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	delete(r.open, task)
	if len(r.open) == 0 {
		m.finished(p, r)
	}
}

// finished ends a job whose pictures have all ended. The pool is locked.
func (m *member) finished(p *Pool, r *run) {
	delete(m.runs, r.job.ID)
	m.used = time.Now()
	if r.stopped.IsZero() {
		r.job.Complete()
	}
	go p.Kick()
}

// taskFailed ends a job one of whose pictures is not possible, except where that was
// asked for.
func (p *Pool) taskFailed(m *member, id string, task int, e *wire.Error) {
	p.mutex.Lock()
	r := m.runs[id]
	if r == nil || !r.open[task] {
		p.mutex.Unlock()
		return
	}
	r.moved = time.Now()
	p.mutex.Unlock()
	if !r.job.Skipped(task) && !r.job.State().Ended() {
		p.queue.Fail(r.job, e)
		p.Kick() // the other pictures are stopped
	}
	p.taskEnded(m, r, task)
}

// lost takes note of a worker's end: its jobs are tried again, or told why not.
func (p *Pool) lost(m *member, exit Exit) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	name := m.model.Key
	if p.members[name] == m {
		delete(p.members, name)
	}
	runs := m.runs
	m.runs = map[string]*run{}
	if !m.ending || len(runs) > 0 {
		p.config.Log.Error("worker is lost", "model", name, "worker", m.id, "how", exit.How, "hung", m.hung, "stderr", exit.Tail)
	}
	if !m.ending {
		p.breaker(name).crashed(time.Now())
		p.config.Observe.WorkerLost(name)
	}
	for _, id := range slices.Sorted(maps.Keys(runs)) {
		r := runs[id]
		switch {
		case r.job.State().Ended():
		case p.stopping:
			p.fail(r.job, "shutting_down", "the server was shut down before the job ended")
		case r.job.Attempt() > p.config.Retries:
			p.fail(r.job, "worker_lost", m.lostText())
		default:
			p.queue.Requeue(r.job)
		}
	}
	p.schedule()
}

// lostText tells a job's owner why it failed, without anything of the machine.
func (m *member) lostText() string {
	if m.hung != "" {
		return "the worker " + m.hung + " while it made the picture, and was ended"
	}
	return "the worker ended unexpectedly while it made the picture; the server's log says more"
}

// forgive lets a time count against nothing that check measures. The pool is locked.
func (m *member) forgive(late time.Duration) {
	m.heard, m.opens = m.heard.Add(late), m.opens.Add(late)
	for _, r := range m.runs {
		if r.moved = r.moved.Add(late); !r.stopped.IsZero() {
			r.stopped = r.stopped.Add(late)
		}
	}
}

// check ends a worker that hangs. The pool is locked.
func (m *member) check(p *Pool, now time.Time) {
	kill := func(why string) {
		if m.hung == "" {
			m.hung = why
			m.proc.Kill()
		}
	}
	switch {
	case now.Sub(m.heard) > p.config.Silence:
		kill("gave no sign of life for " + p.config.Silence.String())
		return
	case !m.ready && now.Sub(m.opens) > p.config.Opening:
		kill("did not open its model within " + p.config.Opening.String())
		return
	case p.config.Idle > 0 && m.ready && !m.ending && len(m.runs) == 0 && now.Sub(m.used) > p.config.Idle:
		m.end(p, "it was not used")
		return
	}
	for _, r := range m.runs {
		switch {
		case !r.stopped.IsZero() && now.Sub(r.stopped) > p.config.Grace:
			kill("did not stop a cancelled job within " + p.config.Grace.String())
		case r.stopped.IsZero() && now.Sub(r.moved) > p.config.Stall:
			kill("made no progress for " + p.config.Stall.String())
		}
	}
}
