package cli

import (
	"context"
	"fmt"
	"image"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/cli/report"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/internal/limits"
	"github.com/sdgo/sdgo/train/data"
	"github.com/sdgo/sdgo/train/loss"
	"github.com/sdgo/sdgo/train/pixel"
)

// architectureFlags are those of new models on pixels.
func architectureFlags() []urfave.Flag {
	a := pixel.Default()
	return []urfave.Flag{
		&urfave.StringFlag{Name: "model", Aliases: []string{"m"}, Usage: "`FILE` a model to train further, in place of a new one"},
		&urfave.IntFlag{Name: "size", Value: a.Size, Usage: fmt.Sprintf("`PIXELS` the sides of pictures (default: %d)", a.Size)},
		&urfave.StringFlag{Name: "channels", Value: list(a.Channels), Usage: "`LIST` of each level, each half as large as the one before (default: " + list(a.Channels) + ")"},
		&urfave.IntFlag{Name: "blocks", Value: a.Blocks, Usage: fmt.Sprintf("`N` residual blocks of each level (default: %d)", a.Blocks)},
		&urfave.StringFlag{Name: "attention", Value: list(a.Attention), Usage: "`LIST` of levels with attention, from 0 (default: " + list(a.Attention) + ")"},
		&urfave.IntFlag{Name: "heads", Value: a.Heads, Usage: fmt.Sprintf("`N` heads of attention (default: %d)", a.Heads)},
		&urfave.StringFlag{Name: "betas", Value: a.Betas, Usage: "`NAME` of the noise schedule: cosine or linear (default: cosine)"},
	}
}

// ofArchitecture are the flags that a model to train further has decided.
var ofArchitecture = []string{"size", "channels", "blocks", "attention", "heads", "betas", "process", "prediction"}

func list(all []int) string {
	var b []string
	for _, n := range all {
		b = append(b, strconv.Itoa(n))
	}
	return strings.Join(b, ",")
}

func trainUNetCommand() *command {
	return &command{
		name:     "train unet",
		usage:    "trains a model that draws without text",
		synopsis: "train unet PICTURES [-o FOLDER] [flags]",
		flags: append(append(trainFlags(trainDefaults{steps: 20000, batch: 32, rate: 2e-3, samples: 16}), architectureFlags()...),
			&urfave.StringFlag{Name: "process", Value: convert.ProcessDDPM, Usage: "`NAME` of how noise is added: ddpm or edm (default: ddpm)"},
			&urfave.StringFlag{Name: "prediction", Value: "v", Usage: "`NAME` what a ddpm's network predicts: v, epsilon or sample (default: v)"},
			&urfave.Float64Flag{Name: "min-snr", Value: 5, Usage: "`GAMMA` of the weights of noise levels of a ddpm; 0: all count the same (default: 5)"},
			&urfave.Float64Flag{Name: "noise-offset", Usage: "`X` of the noise that all pixels have in common, 0 to 1 (default: 0)"},
			&urfave.Float64Flag{Name: "class-drop", Value: 0.1, Usage: "`X` share of pictures that are trained without their class, which guidance needs (default: 0.1)"},
		),
		run:     runTrainUNet,
		events:  true,
		patient: true,
		description: `
PICTURES is a folder of pictures, or of folders, which are classes; or a list in JSON
lines. docs/train.md explains both. Ctrl-C ends a training with a checkpoint.

Examples:
  sdgo train unet emoji/ -o run --steps 10000
  sdgo train unet emoji/ -o run --steps 10000 --resume
  sdgo sample -m run/model.safetensors --class cat -n 16 --grid 4`,
	}
}

func trainClassifierCommand() *command {
	return &command{
		name:     "train classifier",
		usage:    "trains a classifier of noisy pictures, which can guide a model",
		synopsis: "train classifier PICTURES [-o FOLDER] [flags]",
		flags: append(append(trainFlags(trainDefaults{steps: 5000, batch: 64, rate: 1e-3}), architectureFlags()...),
			&urfave.Float64Flag{Name: "smoothing", Usage: "`X` share of each label that is spread over all classes (default: 0)"},
			&urfave.Float64Flag{Name: "clean", Value: 0.1, Usage: "`X` share of pictures without noise, so that it judges finished ones, too (default: 0.1)"},
		),
		run:     runTrainClassifier,
		events:  true,
		patient: true,
		description: `
PICTURES is a folder of folders, which are classes, or a list in JSON lines.

Examples:
  sdgo train classifier emoji/ -o judge --steps 3000`,
	}
}

// pixelSet is what is trained on pixels: a model and a set that fits it.
type pixelSet struct {
	model  *pixel.Model
	source *convert.Model
	set    *data.Set
	pixels *data.Pixels
}

func (s *pixelSet) close() {
	s.model.Close()
	s.source.Close()
}

// openPixelSet opens the pictures, and the model or a new one.
func openPixelSet(ctx context.Context, f *flags, seed uint64, classifier bool) (s *pixelSet, err error) {
	s = &pixelSet{}
	if s.set, err = data.Open(f.args[0]); err != nil {
		return nil, err
	}
	if s.source, err = pixelSource(f, s.set, seed, classifier); err != nil {
		return nil, err
	}
	if s.model, err = pixel.Open(ctx, s.source, trainNetwork(f)); err != nil {
		s.source.Close()
		return nil, err
	}
	if err = s.load(ctx); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *pixelSet) load(ctx context.Context) (err error) {
	if s.set, err = s.model.MatchClasses(s.set); err != nil {
		return err
	}
	if bytes, room := data.Bytes(len(s.set.Items), s.model.Size()), limits.Room(); bytes > room.Amount {
		return fmt.Errorf("%s would take %d MB of memory, %d MB are left (%s)", report.Plural(len(s.set.Items), "picture"), bytes/1e6, room.Amount/1e6, room.By)
	}
	s.pixels, err = s.set.Load(ctx, []image.Point{{X: s.model.Size(), Y: s.model.Size()}})
	return err
}

// pixelSource is the model to train further, or a new one for the classes of a set.
func pixelSource(f *flags, set *data.Set, seed uint64, classifier bool) (*convert.Model, error) {
	wrong := problems{flags: f}
	if f.set("model") {
		for _, name := range ofArchitecture {
			if f.has(name) && f.set(name) {
				wrong.add(name, "the model has its own")
			}
		}
		if err := wrong.err(); err != nil {
			return nil, err
		}
		return convert.Open(f.string("model"))
	}
	a := pixel.Default()
	a.Size, a.Blocks, a.Heads, a.Betas = f.int("size"), f.int("blocks"), f.int("heads"), f.string("betas")
	a.Classes, a.Classifier = set.Classes, classifier
	if !classifier {
		a.Process, a.Prediction, a.Free = f.string("process"), f.string("prediction"), f.number("class-drop") > 0
	}
	for name, to := range map[string]*[]int{"channels": &a.Channels, "attention": &a.Attention} {
		var err error
		if *to, err = numbers(f.string(name)); err != nil {
			wrong.add(name, "%v", err)
		}
	}
	if err := wrong.err(); err != nil {
		return nil, err
	}
	source, err := pixel.New("the new model", a, seed)
	if err != nil {
		return nil, report.Usagef("%v", err)
	}
	return source, nil
}

// numbers reads a list of whole numbers; "" and "none" are none.
func numbers(text string) (all []int, err error) {
	if text == "" || text == "none" {
		return nil, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil {
			return nil, fmt.Errorf("must be whole numbers with commas between them, got %.40q", text)
		}
		all = append(all, n)
	}
	return all, nil
}

func runTrainUNet(ctx context.Context, p *program, f *flags) error {
	o, seed, err := startTraining(f)
	if err != nil {
		return err
	}
	s, err := openPixelSet(ctx, f, seed, false)
	if err != nil {
		return err
	}
	defer s.close()
	u := pixel.UNetOptions{Seed: seed, Batch: f.int("batch"), Draw: trainDraw(f), ClassDrop: f.number("class-drop"), Noise: loss.Options{NoiseOffset: f.number("noise-offset")}}
	if s.set.Classes == nil && !f.set("class-drop") {
		u.ClassDrop = 0
	}
	if s.model.Discrete() {
		u.Noise.Gamma = f.number("min-snr")
	} else if f.set("min-snr") {
		return f.problem("min-snr", "is for a ddpm")
	}
	task, err := pixel.NewUNet(s.model, s.set, s.pixels, u)
	if err != nil {
		return report.Usagef("%v", err)
	}
	t := &training{p: p, f: f, task: task, kind: "unet", file: "model.safetensors", pixels: data.Bytes(len(s.set.Items), s.model.Size())}
	t.drawing = t.drawSamples
	return t.run(ctx, o, map[string]string{"data": s.pixels.Hash(s.set), "min-snr": fmt.Sprint(u.Noise.Gamma), "noise-offset": f.text("noise-offset"), "class-drop": fmt.Sprint(u.ClassDrop)})
}

func runTrainClassifier(ctx context.Context, p *program, f *flags) error {
	o, seed, err := startTraining(f)
	if err != nil {
		return err
	}
	s, err := openPixelSet(ctx, f, seed, true)
	if err != nil {
		return err
	}
	defer s.close()
	c := pixel.ClassifierOptions{Seed: seed, Batch: f.int("batch"), Smoothing: f.number("smoothing"), Clean: f.number("clean"), Draw: trainDraw(f)}
	task, err := pixel.NewClassifier(s.model, s.set, s.pixels, c)
	if err != nil {
		return report.Usagef("%v", err)
	}
	t := &training{p: p, f: f, task: task, kind: "classifier", file: "model.safetensors", pixels: data.Bytes(len(s.set.Items), s.model.Size())}
	return t.run(ctx, o, map[string]string{"data": s.pixels.Hash(s.set), "smoothing": f.text("smoothing"), "clean": f.text("clean")})
}
