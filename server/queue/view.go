package queue

import (
	"slices"
	"time"
)

// View is a job at one moment.
type View struct {
	Version  uint64 // grows with each change
	State    State
	Position int // in the queue, from 1; 0 if it does not wait
	Attempt  int
	Created  time.Time
	Began    time.Time // the attempt; zero if there was none
	Ended    time.Time
	Pictures []*Picture
	Err      *Error
	Warnings []string

	Fraction  float64       // of the whole job
	Left      time.Duration // about; 0 if unknown
	Task      int           // the picture that is being made
	Stage     string        // what is being done with it
	Pass      int
	Step, Of  int // of the stage
	Total     int // pictures
	Finished  int
	Skipped   int
	HasResult bool
}

// View returns the job as it is now, and a channel that is closed when it changes.
func (j *Job) View() (View, <-chan struct{}) {
	position := j.queue.position(j)
	j.mutex.Lock()
	defer j.mutex.Unlock()
	v := View{Version: j.version, State: j.state, Position: position, Attempt: j.attempt, Created: j.Created, Began: j.began, Ended: j.ended,
		Pictures: slices.Clone(j.pictures), Err: j.err, Warnings: slices.Clone(j.warnings), Total: len(j.tasks), Task: -1}
	if j.state != Queued {
		v.Position = 0
	}
	if at := j.current(); at >= 0 {
		s := j.tasks[at].step
		v.Task, v.Stage, v.Pass, v.Step, v.Of = at, s.Stage, s.Pass, s.Index, s.Of
	}
	sum := 0.0
	for _, t := range j.tasks {
		switch {
		case t.done:
			v.Finished++
			sum++
		case t.skipped:
			v.Skipped++
			sum++
		default:
			sum += t.fraction
		}
	}
	v.Fraction = sum / float64(len(j.tasks))
	v.HasResult = len(j.pictures) > 0
	if spent := j.queue.now().Sub(j.began); j.state == Running && v.Fraction > 0.02 {
		v.Left = time.Duration(float64(spent) * (1 - v.Fraction) / v.Fraction)
	}
	if j.state == Done {
		v.Fraction = 1
	}
	return v, j.changed
}

// current is the picture that is being made: the first one that was begun, else the
// first one that was not; -1 if all have ended. The job is locked.
func (j *Job) current() int {
	first := -1
	for i, t := range j.tasks {
		if t.done || t.skipped {
			continue
		}
		if t.step.Stage != "" {
			return i
		}
		if first < 0 {
			first = i
		}
	}
	return first
}

// Preview is the job's last preview; nil if there is none.
func (j *Job) Preview() *Preview {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	return j.preview
}

// State is what the job does.
func (j *Job) State() State {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	return j.state
}
