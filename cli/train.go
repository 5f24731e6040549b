package cli

import (
	"context"
	"fmt"
	"image"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/cli/output"
	"github.com/sdgo/sdgo/cli/report"
	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/internal/limits"
	"github.com/sdgo/sdgo/sd"
	"github.com/sdgo/sdgo/train"
	"github.com/sdgo/sdgo/train/data"
	"github.com/sdgo/sdgo/train/network"
	"github.com/sdgo/sdgo/train/optim"
)

// trainDefaults are what kinds of training differ in.
type trainDefaults struct {
	steps, batch int
	rate         float64
	samples      int // 0: there is nothing to draw
}

// trainFlags are those of every kind of training.
func trainFlags(d trainDefaults) []urfave.Flag {
	all := []urfave.Flag{
		&urfave.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "training", Usage: "`FOLDER` of the training: checkpoints, the loss, samples, the model (default: training)"},
		&urfave.BoolFlag{Name: "resume", Usage: "continue from the folder's last checkpoint"},
		&urfave.IntFlag{Name: "steps", Value: d.steps, Usage: fmt.Sprintf("`N` steps of the optimizer (default: %d)", d.steps)},
		&urfave.IntFlag{Name: "batch", Value: d.batch, Usage: fmt.Sprintf("`N` samples at once (default: %d)", d.batch)},
		&urfave.IntFlag{Name: "accumulate", Value: 1, Usage: "`N` batches of a step, whose gradients are averaged (default: 1)"},
		&urfave.StringFlag{Name: "optimizer", Value: "adamw", Usage: "`NAME` adamw, or prodigy, which finds the learning rate itself (default: adamw)"},
		&urfave.Float64Flag{Name: "rate", Value: d.rate, Usage: fmt.Sprintf("`X` the learning rate (default: %g; 1 with prodigy)", d.rate)},
		&urfave.Float64Flag{Name: "weight-decay", Usage: "`X` share of the weights that a step at rate 1 takes away (default: 0)"},
		&urfave.StringFlag{Name: "schedule", Value: "cosine", Usage: "`NAME` of the rate: " + strings.Join(optim.ScheduleKinds(), ", ") + " (default: cosine)"},
		&urfave.IntFlag{Name: "warmup", Usage: "`N` steps in which the rate rises (default: a 20th of the steps, at most 200)"},
		&urfave.Float64Flag{Name: "clip", Value: 1, Usage: "`NORM` of all gradients, at most; 0: any (default: 1)"},
		&urfave.Float64Flag{Name: "average", Value: 0.999, Usage: "`X` decay of the average of weights that is the result; 0: the last weights are (default: 0.999)"},
		&urfave.IntFlag{Name: "save-every", Value: 500, Usage: "`N` steps between checkpoints; 0: only at the end (default: 500)"},
		&urfave.StringFlag{Name: "seed", Aliases: []string{"s"}, Value: "1", Usage: "`N` of first weights, noise and order (default: 1)"},
		&urfave.BoolFlag{Name: "flip", Usage: "mirror pictures every other time"},
		&urfave.StringFlag{Name: "background", Value: data.White, Usage: "`NAME` of transparent pictures: white, or light, another light colour each time (default: white)"},
		&urfave.StringFlag{Name: "type", Value: "f16", Usage: "`TYPE` of the result's weights: f32, f16, bf16, q8_0 … (default: f16)"},
		&urfave.IntFlag{Name: "threads", Aliases: []string{"t"}, Usage: "`N` CPU threads (default: one for each physical core)"},
		&urfave.StringFlag{Name: "backend", Usage: "`NAME` the device to compute on (sdgo devices lists them; default: cpu)"},
		&urfave.IntFlag{Name: "segments", Usage: "`N` parts of the network that are computed twice: less memory, more time (default: none)"},
		&urfave.BoolFlag{Name: "json", Usage: "write events as JSON lines to standard output"},
		&urfave.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "no progress"},
	}
	if d.samples > 0 {
		all = append(all,
			&urfave.IntFlag{Name: "sample-every", Value: 500, Usage: "`N` steps between sheets of samples; 0: none (default: 500)"},
			&urfave.IntFlag{Name: "samples", Value: d.samples, Usage: fmt.Sprintf("`N` pictures of a sheet, 1 to 256 (default: %d)", d.samples)})
	}
	return all
}

// trainable is a task with what the command asks of it beside training.
type trainable interface {
	train.Task
	Elements() (all, trained int)
	Hash() string // of the weights
	Memory(ctx context.Context, states int) (uint64, error)
	Save(ctx context.Context, path string, weights [][]float32, typ dtype.Type) error
	Close()
}

// training is a training that a command has set up.
type training struct {
	p       *program
	f       *flags
	task    trainable
	typ     dtype.Type
	kind    string                                        // of training, in settings
	file    string                                        // the result's name
	drawing func(context.Context) ([]*image.NRGBA, error) // samples with the result's file; nil if none are drawn
	pixels  uint64                                        // bytes of pictures in memory
	intro   string                                        // written before the first line
	shown   time.Time
	recent  []float64 // losses since the last line
}

// startTraining reads what every kind of training begins with: its pictures' place is given,
// and flags without which there is nothing to do.
func startTraining(f *flags, needs ...string) (o train.Options, seed uint64, err error) {
	if err := f.arguments(1, "a folder or list of pictures"); err != nil {
		return o, 0, err
	}
	for _, name := range needs {
		if !f.set(name) {
			return o, 0, report.Usagef("%s needs --%s", f.command.name, name)
		}
	}
	if o, err = trainOptions(f); err != nil {
		return o, 0, err
	}
	seed, err = trainSeed(f)
	return o, seed, err
}

// trainOptions reads the flags of every kind.
func trainOptions(f *flags) (o train.Options, err error) {
	wrong := problems{flags: f}
	o = train.Options{
		Folder: f.string("output"), Resume: f.bool("resume"), Steps: f.int("steps"), Accumulate: f.int("accumulate"), Rate: f.number("rate"), Schedule: f.string("schedule"),
		Warmup: f.int("warmup"), Clip: f.number("clip"), Average: f.number("average"), SaveEvery: f.int("save-every"),
	}
	if !f.set("warmup") {
		o.Warmup = min(200, o.Steps/20)
	}
	if f.has("sample-every") {
		if o.SampleEvery = f.int("sample-every"); f.int("samples") < 1 || f.int("samples") > 256 {
			wrong.add("samples", "must be 1 to 256, got %d", f.int("samples"))
		}
	}
	switch f.string("optimizer") {
	case "adamw":
		numbers := optim.DefaultAdamW()
		numbers.WeightDecay = f.number("weight-decay")
		o.Optimizer, err = optim.NewAdamW(numbers)
	case "prodigy":
		numbers := optim.DefaultProdigy()
		numbers.WeightDecay, numbers.BiasCorrection, numbers.SafeguardWarmup = f.number("weight-decay"), true, true
		if o.Optimizer, err = optim.NewProdigy(numbers); !f.set("rate") {
			o.Rate = 1
		}
	default:
		wrong.add("optimizer", "must be adamw or prodigy, got %.40q", f.string("optimizer"))
	}
	if err != nil {
		wrong.add("weight-decay", "%v", err)
	}
	checkTrainFlags(f, &wrong)
	if err := wrong.err(); err != nil {
		return o, err
	}
	if err := o.Check(); err != nil {
		return o, report.Usagef("%v", err)
	}
	return o, nil
}

// checkTrainFlags checks those that are no options of the loop.
func checkTrainFlags(f *flags, wrong *problems) {
	for _, n := range []struct {
		flag      string
		low, high int
	}{{"threads", 1, 512}, {"segments", 0, 1 << 12}, {"batch", 1, 1 << 14}} {
		if v := f.int(n.flag); f.set(n.flag) && (v < n.low || v > n.high) {
			wrong.add(n.flag, "must be %d to %d, got %d", n.low, n.high, v)
		}
	}
	if _, err := trainSeed(f); err != nil {
		wrong.add("seed", "%v", err)
	}
	if _, err := dtype.Parse(f.string("type")); err != nil {
		wrong.add("type", "%v", err)
	}
	if err := trainDraw(f).Check(); err != nil {
		wrong.add("background", "%v", err)
	}
}

func trainSeed(f *flags) (uint64, error) {
	n, err := strconv.ParseUint(f.string("seed"), 10, 63)
	if err != nil {
		return 0, fmt.Errorf("must be a whole number from 0 on, got %.40q", f.string("seed"))
	}
	return n, nil
}

func trainDraw(f *flags) data.Draw {
	return data.Draw{Flip: f.bool("flip"), Background: f.string("background")}
}

func trainNetwork(f *flags) network.Options {
	return network.Options{Threads: f.int("threads"), Backend: f.string("backend"), Segments: f.int("segments")}
}

// run trains. settings are those of the kind.
func (t *training) run(ctx context.Context, o train.Options, settings map[string]string) error {
	var err error
	if t.typ, err = dtype.Parse(t.f.string("type")); err != nil {
		return err
	}
	if err := t.checkMemory(ctx, o); err != nil {
		return err
	}
	o.Settings = map[string]string{"kind": t.kind, "first": t.task.Hash()}
	for _, name := range []string{"seed", "batch", "flip", "background"} {
		o.Settings[name] = t.f.text(name)
	}
	o.Settings["optimizer-numbers"] = t.f.string("optimizer") + " " + t.f.text("weight-decay")
	maps.Copy(o.Settings, settings)
	o.OnEvent = t.event
	o.OnSave = t.save
	if t.drawing != nil {
		o.OnSample = t.sheet
	}
	t.shown = t.p.now()
	if err := train.Run(ctx, t.task, o); err != nil {
		return t.stopped(ctx, err)
	}
	fmt.Fprintln(t.p.names(t.f), t.modelPath())
	return nil
}

// stopped makes Ctrl-C's error what other commands say.
func (t *training) stopped(ctx context.Context, err error) error {
	if e, ok := err.(*train.Interrupted); ok { //nolint:errorlint // it is not wrapped
		return &report.Interrupted{Done: fmt.Sprintf("%s finished; --resume continues from there", report.Plural(e.Step, "step"))}
	}
	return err
}

// checkMemory makes sure before the start that the training fits.
func (t *training) checkMemory(ctx context.Context, o train.Options) error {
	states := 2 // of AdamW
	if _, ok := o.Optimizer.(*optim.Prodigy); ok {
		states = 4
	}
	if o.Average > 0 {
		states++
	}
	bytes, err := t.task.Memory(ctx, states)
	if err != nil {
		return err
	}
	all, trained := t.task.Elements()
	bytes += t.pixels
	if room := limits.Room(); bytes > room.Amount {
		return fmt.Errorf("the training would take %d MB of memory, %d MB are left (%s): a smaller --batch takes less, and so does --segments 4", bytes/1e6, room.Amount/1e6, room.By)
	}
	t.intro = fmt.Sprintf("%d weights, %d trained; %d MB of memory\n", all, trained, (bytes+1e6-1)/1e6)
	return nil
}

// lineEvery is the time between lines of progress.
const lineEvery = 2 * time.Second

// event reports what happened: all of it as JSON, else a line every two seconds and for
// files.
func (t *training) event(e train.Event) error {
	style, w := t.p.style(t.f)
	switch {
	case style == report.Events:
		name := e.Event
		e.Event = ""
		report.Event(w, name, e)
		return nil
	case style == report.Silent:
		return nil
	}
	fmt.Fprint(w, t.intro)
	t.intro = ""
	if e.Event != "step" {
		fmt.Fprintf(w, "step %d: %s\n", e.Step, e.Path)
		return nil
	}
	t.recent = append(t.recent, e.Loss)
	if now := t.p.now(); now.Sub(t.shown) < lineEvery && e.Step != e.Of {
		return nil
	}
	mean := 0.0
	for _, v := range t.recent {
		mean += v / float64(len(t.recent))
	}
	line := fmt.Sprintf("step %d/%d  loss %.4g", e.Step, e.Of, mean)
	if e.Accuracy != nil {
		line += fmt.Sprintf("  right %.0f%%", 100**e.Accuracy)
	}
	left := time.Duration(float64(e.Of-e.Step) * t.p.since(t.shown).Seconds() / float64(len(t.recent)) * float64(time.Second))
	fmt.Fprintf(w, "%s  rate %.3g  %.2f s a step  %s left\n", line, e.Rate, e.Seconds, left.Round(time.Second))
	t.recent, t.shown = nil, t.p.now()
	return nil
}

// save writes the model.
func (t *training) save(ctx context.Context, _ int, weights [][]float32) (string, error) {
	return t.modelPath(), t.task.Save(ctx, t.modelPath(), weights, t.typ)
}

// sheet draws samples.
func (t *training) sheet(ctx context.Context, step int, weights [][]float32) (string, error) {
	if _, err := t.save(ctx, step, weights); err != nil {
		return "", err
	}
	folder := filepath.Join(t.f.string("output"), "samples")
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return "", err
	}
	path := filepath.Join(folder, fmt.Sprintf("%07d.png", step))
	pictures, err := t.drawing(ctx)
	if err != nil {
		return "", fmt.Errorf("samples: %w", err)
	}
	to, err := output.New(path, 1, nil)
	if err != nil {
		return "", err
	}
	columns := 1
	for columns*columns < len(pictures) {
		columns++
	}
	grid := output.NewGrid(to, columns, len(pictures))
	for _, img := range pictures {
		if _, err := grid.Put(output.Picture{Image: img}); err != nil {
			return "", err
		}
	}
	path, _, err = grid.Finish(true)
	return path, err
}

// samplesOptions are those of the models that draw samples. On the CPU they keep few packed weights, since
// the training's model is in memory beside them.
func samplesOptions(f *flags) sd.Options {
	o := sd.Options{Threads: f.int("threads"), Backend: f.string("backend")}
	if o.Backend == "" || o.Backend == "cpu" {
		o.MaxMemory = 1 << 30
	}
	return o
}

// drawSamples draws with the model's file: of its classes in turn, always from the same
// noise, so that sheets show what has changed.
func (t *training) drawSamples(ctx context.Context) ([]*image.NRGBA, error) {
	m, err := sd.Open(t.modelPath(), samplesOptions(t.f))
	if err != nil {
		return nil, err
	}
	defer m.Close()
	classes, _ := m.Classes()
	var requests []sd.Request
	for i := range t.f.int("samples") {
		q := sd.Request{Seed: int64(i + 1)}
		if classes > 0 {
			q.Class = strconv.Itoa(i % classes)
		}
		requests = append(requests, q)
	}
	return drawAll(ctx, m, requests)
}

func drawAll(ctx context.Context, m *sd.Model, requests []sd.Request) ([]*image.NRGBA, error) {
	pictures := make([]*image.NRGBA, len(requests))
	err := m.GenerateAll(ctx, requests, func(i int, r *sd.Result, err error) error {
		if err == nil {
			pictures[i] = r.Images[0].Image
		}
		return err
	})
	return pictures, err
}
