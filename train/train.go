// Package train is the loop that trains a network: steps of an optimizer over batches,
// checkpoints from which a training continues to the bit, and what it reports.
//
// What is trained is a [Task], which package train/pixel and others make; the loop knows
// neither networks nor pictures. A training has a folder of its own:
//
//	state.safetensors  the last checkpoint: weights, their average, the optimizer's state
//	events.jsonl       every step and what else happened, one JSON object a line
//	loss.csv           the steps as a table
//	loss.svg, loss.png the curve
package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/sdgo/sdgo/internal/guard"
	"github.com/sdgo/sdgo/train/optim"
)

// Task is a network with its data and its loss. All that it draws at random must follow
// from the number of the batch.
type Task interface {
	// Names are those of the weights that are trained, each once. Weights are their
	// values, which the loop changes only within Change.
	Names() []string
	Weights() [][]float32

	// Gradients adds the gradients of the mean loss of a batch to sum.
	Gradients(ctx context.Context, batch uint64, sum [][]float32) (Loss, error)

	// Change calls change while the network is not running; the next run uses the values
	// that it wrote.
	Change(ctx context.Context, change func()) error
}

// Loss is what a batch gives.
type Loss struct {
	Value     float64
	Right, Of int // of a classifier: samples of the batch that it recognised
}

// Options say how a task is trained.
type Options struct {
	Folder string // is made if there is none
	Resume bool   // continue from the folder's checkpoint; there must be one

	Steps      int // of the optimizer
	Accumulate int // batches of a step, 1 or more

	Optimizer optim.Optimizer
	Rate      float64 // learning rate
	Schedule  string  // one of optim.ScheduleKinds
	Warmup    int     // steps
	Clip      float64 // global norm of gradients; 0: they are not clipped
	Average   float64 // decay of the average of weights; 0: there is none

	SaveEvery   int // steps between checkpoints, and before OnSave; 0: only at the end
	SampleEvery int // steps between samples; 0: none

	// Settings are what else a training depends on, by name. A checkpoint of other settings is
	// refused.
	Settings map[string]string

	// OnEvent receives each event after it was written.
	OnEvent func(Event) error

	// OnSave and OnSample receive the averaged weights, or the weights themselves without
	// an average, after a checkpoint and for samples; they may be nil. They must not
	// keep them, and return a path for the event.
	OnSave, OnSample func(ctx context.Context, step int, weights [][]float32) (path string, err error)
}

// Interrupted is the error of a training that was stopped, after its checkpoint was
// written.
type Interrupted struct {
	Step  int
	Cause error
}

func (e *Interrupted) Error() string {
	return fmt.Sprintf("stopped after step %d, from which it can be resumed: %v", e.Step, e.Cause)
}

// Unwrap is the context's error.
func (e *Interrupted) Unwrap() error { return e.Cause }

// Limits of options.
const (
	maxSteps      = 1 << 31
	maxAccumulate = 1 << 16
)

// Check returns an error for options out of range.
func (o *Options) Check() error {
	switch {
	case o.Folder == "":
		return errors.New("a training must have a folder")
	case o.Steps < 1 || o.Steps > maxSteps:
		return fmt.Errorf("steps must be 1 to %d, got %d", maxSteps, o.Steps)
	case o.Accumulate < 1 || o.Accumulate > maxAccumulate:
		return fmt.Errorf("batches of a step must be 1 to %d, got %d", maxAccumulate, o.Accumulate)
	case !(o.Rate > 0 && o.Rate <= 100):
		return fmt.Errorf("the learning rate must be above 0, at most 100, got %g", o.Rate)
	case !(o.Clip >= 0) || math.IsInf(o.Clip, 0):
		return fmt.Errorf("the norm to clip at must be 0 or more, got %g", o.Clip)
	case o.SaveEvery < 0 || o.SampleEvery < 0:
		return fmt.Errorf("steps between checkpoints and samples must be 0 or more, got %d and %d", o.SaveEvery, o.SampleEvery)
	case o.Optimizer == nil:
		return errors.New("a training must have an optimizer")
	}
	return o.schedule().Check()
}

func (o *Options) schedule() optim.Schedule {
	return optim.Schedule{Kind: o.Schedule, Warmup: o.Warmup, Steps: o.Steps}
}

// run is a training in progress.
type run struct {
	o         Options
	task      Task
	average   *optim.Average // nil without
	gradients [][]float32
	step      int // steps that are done
	saved     int // the step of the last checkpoint
	log       *journal
}

// Run trains until the last step. When ctx is done it writes a checkpoint and returns an
// *[Interrupted]. After an error the folder has the last checkpoint.
func Run(ctx context.Context, task Task, o Options) error {
	if err := o.Check(); err != nil {
		return err
	}
	r := &run{o: o, task: task, saved: -1}
	for _, w := range task.Weights() {
		r.gradients = append(r.gradients, make([]float32, len(w)))
	}
	if o.Average > 0 {
		var err error
		if r.average, err = optim.NewAverage(o.Average, task.Weights()); err != nil {
			return err
		}
	}
	if err := r.begin(ctx); err != nil {
		return err
	}
	defer r.log.close()
	err := r.steps(ctx)
	if ctx.Err() != nil && (err == nil || errors.Is(err, ctx.Err()) || errors.Is(err, context.Cause(ctx))) && r.step < o.Steps {
		// What the step in progress has computed is computed again.
		if err := r.save(context.WithoutCancel(ctx), false); err != nil {
			return err
		}
		return &Interrupted{r.step, context.Cause(ctx)}
	}
	return err
}

// begin makes the folder, or continues from its checkpoint.
func (r *run) begin(ctx context.Context) error {
	if err := os.MkdirAll(r.o.Folder, 0o777); err != nil {
		return err
	}
	_, err := os.Stat(r.statePath())
	exists := err == nil
	switch {
	case exists && !r.o.Resume:
		return fmt.Errorf("%s: has a training already: it must be resumed, or the new one have another folder", r.o.Folder)
	case !exists && r.o.Resume:
		return fmt.Errorf("%s: has no checkpoint to resume from", r.o.Folder)
	case exists:
		if err := r.restore(ctx); err != nil {
			return fmt.Errorf("%s: %w", r.statePath(), err)
		}
		r.saved = r.step
	}
	r.log, err = openJournal(r.o.Folder, r.step, r.o.OnEvent)
	return err
}

func (r *run) steps(ctx context.Context) error {
	for r.step < r.o.Steps {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := r.one(ctx); err != nil {
			return err
		}
		last := r.step == r.o.Steps
		if last || r.o.SaveEvery > 0 && r.step%r.o.SaveEvery == 0 {
			if err := r.save(ctx, true); err != nil {
				return err
			}
		}
		if r.o.SampleEvery > 0 && (last || r.step%r.o.SampleEvery == 0) && r.o.OnSample != nil {
			if err := r.tell(ctx, "sample", r.o.OnSample); err != nil {
				return err
			}
		}
	}
	if r.saved != r.step { // a training that was finished already
		return r.save(ctx, true)
	}
	return nil
}

// one makes a step.
func (r *run) one(ctx context.Context) error {
	began := time.Now()
	for _, g := range r.gradients {
		clear(g)
	}
	e := Event{Event: "step", Step: r.step + 1, Of: r.o.Steps, Rate: r.o.Rate * r.o.schedule().Factor(r.step)}
	right, of := 0, 0
	for k := range r.o.Accumulate {
		loss, err := r.task.Gradients(ctx, uint64(r.step)*uint64(r.o.Accumulate)+uint64(k), r.gradients)
		if err != nil {
			return err
		}
		e.Loss += loss.Value / float64(r.o.Accumulate)
		right, of = right+loss.Right, of+loss.Of
	}
	if of > 0 {
		share := float64(right) / float64(of)
		e.Accuracy = &share
	}
	if r.o.Accumulate > 1 {
		optim.Scale(r.gradients, 1/float64(r.o.Accumulate))
	}
	var err error
	if e.Norm, err = optim.Clip(r.gradients, r.o.Clip); err == nil && (math.IsNaN(e.Loss) || math.IsInf(e.Loss, 0)) {
		err = fmt.Errorf("the loss is not finite: %g", e.Loss)
	}
	if err != nil {
		return fmt.Errorf("step %d: %w: a lower learning rate may help", r.step+1, err)
	}
	// From here on the step is done or not done: a cancelled context does not stop it halfway.
	var stepErr error
	if err := r.task.Change(context.WithoutCancel(ctx), func() {
		stepErr = r.o.Optimizer.Step(e.Rate, r.task.Weights(), r.gradients)
	}); err != nil || stepErr != nil {
		return errors.Join(err, stepErr)
	}
	if r.average != nil {
		if err := r.average.Update(r.task.Weights()); err != nil {
			return err
		}
	}
	r.step++
	e.Seconds = time.Since(began).Seconds()
	return r.log.write(e)
}

// result are the weights that are used afterwards.
func (r *run) result() [][]float32 {
	if r.average != nil {
		return r.average.Values()
	}
	return r.task.Weights()
}

// save writes a checkpoint, and with all the curve and what OnSave makes.
func (r *run) save(ctx context.Context, all bool) error {
	if err := r.checkpoint(); err != nil {
		return err
	}
	r.saved = r.step
	if err := r.log.draw(); err != nil {
		return err
	}
	if !all || r.o.OnSave == nil {
		return r.log.write(Event{Event: "checkpoint", Step: r.step, Of: r.o.Steps, Path: r.statePath()})
	}
	return r.tell(ctx, "save", r.o.OnSave)
}

// tell calls a function of the caller's and writes an event of it.
func (r *run) tell(ctx context.Context, name string, f func(context.Context, int, [][]float32) (string, error)) error {
	var path string
	err := guard.Call("On"+name, func() (err error) {
		path, err = f(ctx, r.step, r.result())
		return err
	})
	if err != nil {
		return err
	}
	return r.log.write(Event{Event: name, Step: r.step, Of: r.o.Steps, Path: path})
}
