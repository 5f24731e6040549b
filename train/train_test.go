package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/train/optim"
	"github.com/sdgo/sdgo/train/random"
)

// line fits weights to random targets around 3 and -2: a task without a network.
type line struct {
	weights [][]float32
	calls   int
	at      map[int]func() // by calls, before a batch
}

func newLine() *line { return &line{weights: [][]float32{make([]float32, 40), {1}}} }

func (l *line) Names() []string      { return []string{"a.weight", "weight"} }
func (l *line) Weights() [][]float32 { return l.weights }

func (l *line) Gradients(ctx context.Context, batch uint64, sum [][]float32) (Loss, error) {
	l.calls++
	if f := l.at[l.calls]; f != nil {
		f()
	}
	if ctx.Err() != nil {
		return Loss{}, context.Cause(ctx)
	}
	r, loss := random.New(9, batch, 0), Loss{}
	for i, w := range l.weights {
		for k, v := range w {
			d := float64(v) - []float64{3, -2}[i] - 0.1*r.NormFloat64()
			loss.Value += d * d
			sum[i][k] += float32(2 * d)
		}
	}
	return loss, nil
}

func (l *line) Change(_ context.Context, change func()) error {
	change()
	return nil
}

func options(t *testing.T, folder string) Options {
	t.Helper()
	o, err := optim.NewAdamW(optim.DefaultAdamW())
	require.NoError(t, err)
	return Options{Folder: folder, Steps: 60, Accumulate: 2, Optimizer: o, Rate: 0.2, Schedule: "cosine", Warmup: 5, Clip: 5, Average: 0.9, SaveEvery: 20, Settings: map[string]string{"seed": "9"}}
}

func train(t *testing.T, task *line, change func(*Options)) error {
	t.Helper()
	o := options(t, t.TempDir())
	if change != nil {
		change(&o)
	}
	return Run(context.Background(), task, o)
}

func TestItLearns(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "new")
	var events []Event
	var saved []string
	task := newLine()
	require.NoError(t, train(t, task, func(o *Options) {
		o.Folder, o.SampleEvery = folder, 30
		o.OnEvent = func(e Event) error {
			events = append(events, e)
			return nil
		}
		o.OnSave = func(_ context.Context, step int, weights [][]float32) (string, error) {
			saved = append(saved, fmt.Sprint(step, " ", len(weights)))
			return fmt.Sprintf("model-%d", step), nil
		}
		o.OnSample = func(context.Context, int, [][]float32) (string, error) { return "sheet", nil }
	}))
	require.InDelta(t, 3, task.weights[0][7], 0.2)
	require.InDelta(t, -2, task.weights[1][0], 0.2)
	require.Equal(t, []string{"20 2", "40 2", "60 2"}, saved)
	require.Len(t, events, 60+3+2)
	require.Less(t, events[len(events)-3].Loss, events[0].Loss/20)
	require.Equal(t, Event{Event: "sample", Step: 60, Of: 60, Path: "sheet"}, events[len(events)-1])

	table, err := os.ReadFile(filepath.Join(folder, "loss.csv"))
	require.NoError(t, err)
	rows := strings.Split(strings.TrimSpace(string(table)), "\n")
	require.Len(t, rows, 61)
	require.Equal(t, "step,loss,accuracy,rate,norm,seconds", rows[0])
	require.True(t, strings.HasPrefix(rows[60], "60,"))
	for _, name := range []string{"events.jsonl", "loss.svg", "loss.png", "state.safetensors"} {
		require.FileExists(t, filepath.Join(folder, name))
	}
}

func state(t *testing.T, folder string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(folder, "state.safetensors"))
	require.NoError(t, err)
	return data
}

// losses are the table without its last column, the time.
func losses(t *testing.T, folder string) []string {
	t.Helper()
	table, err := os.ReadFile(filepath.Join(folder, "loss.csv"))
	require.NoError(t, err)
	var rows []string
	for _, row := range strings.Split(strings.TrimSpace(string(table)), "\n") {
		rows = append(rows, row[:strings.LastIndex(row, ",")])
	}
	return rows
}

// A training that was stopped, by Ctrl-C in the middle of a step or by being killed after a
// checkpoint, ends with the same state to the bit, and the same curve.
func TestResume(t *testing.T) {
	whole := t.TempDir()
	require.NoError(t, train(t, newLine(), func(o *Options) { o.Folder = whole }))
	for _, make := range []func() optim.Optimizer{
		func() optim.Optimizer { return options(t, "x").Optimizer },
		func() optim.Optimizer {
			p, err := optim.NewProdigy(optim.DefaultProdigy())
			require.NoError(t, err)
			return p
		},
	} {
		uninterrupted := t.TempDir()
		require.NoError(t, train(t, newLine(), func(o *Options) { o.Folder, o.Optimizer = uninterrupted, make() }))

		// Ctrl-C in the second batch of step 34.
		stopped, task := t.TempDir(), newLine()
		ctx, cancel := context.WithCancel(context.Background())
		task.at = map[int]func(){68: cancel}
		o := options(t, stopped)
		o.Optimizer = make()
		err := Run(ctx, task, o)
		var interrupted *Interrupted
		require.ErrorAs(t, err, &interrupted)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, 33, interrupted.Step)
		require.NoError(t, train(t, newLine(), func(o *Options) { o.Folder, o.Optimizer, o.Resume = stopped, make(), true }))
		require.Equal(t, state(t, uninterrupted), state(t, stopped))
		require.Equal(t, losses(t, uninterrupted), losses(t, stopped))

		// Killed in step 48: the checkpoint is of 40, and the last line of the events half written.
		killed, task := t.TempDir(), newLine()
		task.at = map[int]func(){95: func() { panic("killed") }}
		require.Panics(t, func() { _ = train(t, task, func(o *Options) { o.Folder, o.Optimizer = killed, make() }) })
		events, err := os.OpenFile(filepath.Join(killed, "events.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
		require.NoError(t, err)
		_, err = events.WriteString(`{"event": "step", "st`)
		require.NoError(t, err)
		require.NoError(t, events.Close())
		require.NoError(t, train(t, newLine(), func(o *Options) { o.Folder, o.Optimizer, o.Resume = killed, make(), true }))
		require.Equal(t, state(t, uninterrupted), state(t, killed))
		require.Equal(t, losses(t, uninterrupted), losses(t, killed))
	}
}

func TestFoldersAreChecked(t *testing.T) {
	folder := t.TempDir()
	require.ErrorContains(t, train(t, newLine(), func(o *Options) { o.Folder, o.Resume = folder, true }), "has no checkpoint")
	require.NoError(t, train(t, newLine(), func(o *Options) { o.Folder = folder }))
	require.ErrorContains(t, train(t, newLine(), func(o *Options) { o.Folder = folder }), "has a training already")
	again := func(change func(*Options)) error {
		return train(t, newLine(), func(o *Options) {
			o.Folder, o.Resume = folder, true
			change(o)
		})
	}
	require.ErrorContains(t, again(func(o *Options) { o.Settings["seed"] = "8" }), `seed was "9" and is "8"`)
	require.ErrorContains(t, again(func(o *Options) { o.Rate = 1 }), `rate was "0.2" and is "1"`)
	require.ErrorContains(t, again(func(o *Options) { o.Steps = 100 }), `steps was "60" and is "100"`)
	require.ErrorContains(t, again(func(o *Options) { o.Average = 0 }), `average was`)
	require.NoError(t, again(func(*Options) {}))
	path := filepath.Join(folder, "state.safetensors")
	good := state(t, folder)
	other := newLine()
	other.weights[0] = other.weights[0][:39]
	err := train(t, other, func(o *Options) { o.Folder, o.Resume = folder, true })
	require.ErrorContains(t, err, `tensor "weight.a.weight" must have 39 elements`)
	for _, bad := range [][]byte{good[:100], {}, []byte(strings.ReplaceAll(string(good), "sdgo.train.version", "sdgo.train.xersion")),
		[]byte(strings.ReplaceAll(string(good), `\"mean\"`, `\"neam\"`)), make([]byte, 300<<20)} {
		require.NoError(t, os.WriteFile(path, bad, 0o666))
		require.ErrorContains(t, again(func(*Options) {}), path)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, change := range []func(*Options){
		func(o *Options) { o.Folder = "" }, func(o *Options) { o.Steps = 0 }, func(o *Options) { o.Accumulate = 0 }, func(o *Options) { o.Rate = 0 },
		func(o *Options) { o.Rate = math.NaN() }, func(o *Options) { o.Schedule = "x" }, func(o *Options) { o.Warmup = 60 }, func(o *Options) { o.Clip = -1 },
		func(o *Options) { o.Average = 1 }, func(o *Options) { o.SaveEvery = -1 }, func(o *Options) { o.Optimizer = nil },
	} {
		require.Error(t, train(t, newLine(), change))
	}
}

// What is not finite ends the training; the last checkpoint stays.
func TestNotFinite(t *testing.T) {
	folder, task := t.TempDir(), newLine()
	task.at = map[int]func(){51: func() { task.weights[1][0] = float32(math.NaN()) }}
	err := train(t, task, func(o *Options) { o.Folder = folder })
	require.ErrorContains(t, err, "step 26: the gradients are not finite")
	require.NoError(t, train(t, newLine(), func(o *Options) { o.Folder, o.Resume = folder, true }))
}

func TestCallersErrors(t *testing.T) {
	mine := errors.New("mine")
	require.ErrorIs(t, train(t, newLine(), func(o *Options) {
		o.OnSave = func(context.Context, int, [][]float32) (string, error) { return "", mine }
	}), mine)
	require.ErrorContains(t, train(t, newLine(), func(o *Options) { o.OnEvent = func(Event) error { panic("x") } }), "OnEvent")
}

// Gradients of several batches are averaged, not added up.
func TestAccumulate(t *testing.T) {
	norm := func(batches int) (first float64) {
		require.NoError(t, train(t, newLine(), func(o *Options) {
			o.Accumulate, o.Steps, o.Warmup, o.Schedule = batches, 1, 0, "constant"
			o.OnEvent = func(e Event) error {
				if e.Event == "step" {
					first = e.Norm
				}
				return nil
			}
		}))
		return first
	}
	require.InEpsilon(t, norm(1), norm(5), 0.05)
}
