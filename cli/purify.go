package cli

import (
	"context"
	"fmt"
	"image"
	"math/rand/v2"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/cli/output"
	"github.com/sdgo/sdgo/cli/report"
	requests "github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/sd"
	"github.com/sdgo/sdgo/sd/picture"
)

const purifyName = "purify"

func purifyCommand() *command {
	model := modelFlags()
	flags := append(model[:1:1], []urfave.Flag{
		&urfave.StringFlag{Name: "input", Aliases: []string{"i"}, Usage: "`FILE` the picture; - is standard input"},
		&urfave.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "out.png", Usage: "`FILE` the purified picture, a folder, or - (default: out.png)"},
		&urfave.Float64Flag{Name: "time", Usage: "`T` how much noise is added, the paper's t*, above 0, at most 1 (default: 0.1; 0.15 of models of more than 64 pixels)"},
		&urfave.Float64Flag{Name: "noise", Usage: "`SIGMA` the same as a noise level, such as 0.34 for 0.1"},
		&urfave.BoolFlag{Name: "ode", Usage: "take the noise away along the ODE, not the SDE: less of a change is removed"},
		&urfave.IntFlag{Name: "steps", Usage: "`N` steps that are made, 1 to 1000 (default: 1000 T, as in the paper)"},
		&urfave.StringFlag{Name: "class", Usage: "`CLASS` what the model draws, of models by class (default: no class)"},
		&urfave.StringFlag{Name: "seed", Aliases: []string{"s"}, Usage: "`N` the same seed gives the same picture (default: -1, random)"},
		&urfave.IntFlag{Name: "count", Aliases: []string{"b", "n"}, Value: 1, Usage: fmt.Sprintf("`N` pictures, with seeds one after the other, 1 to %d (default: 1)", sd.MaxCount)},
		batchSizeFlag(),
		&urfave.IntFlag{Name: "grid", Usage: "`COLUMNS` one contact sheet with so many pictures a row, instead of a file for each"},
		&urfave.StringFlag{Name: "classifier", Usage: "`FILE` say what a classifier sees in the picture before and after (the mean over all pictures)"},
	}...)
	flags = append(append(flags, formatFlags()...), model[1:]...)
	return &command{
		name:     purifyName,
		usage:    "removes changes that were made to a picture to mislead a classifier",
		synopsis: "purify [-m MODEL] -i PICTURE [flags]",
		flags:    append(flags, &urfave.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "no progress"}),
		run:      runPurify,
		description: `
DiffPure (Nie et al. 2022): noise is added to the picture, and a model that was trained on such pictures takes it
away again. Without -m the model is the one of emoji in 32x32 pixels that comes with sdgo. It promises no
security: see docs/purify.md.

Examples:
  sdgo purify -i attacked.png -o clean.png
  sdgo purify -m adm256-uncond.pt -i photo.png --time 0.15 -o clean.png
  sdgo purify -i attacked.png -n 8 --classifier emoji-classifier.safetensors -o clean-%03d.png`,
	}
}

func runPurify(ctx context.Context, p *program, f *flags) error {
	if err := f.arguments(0, ""); err != nil {
		return err
	}
	if !f.set("input") {
		return report.Usagef("no picture: -i FILE names it")
	}
	how, err := purification(f)
	if err != nil {
		return err
	}
	d := drawing{requests: []sd.Request{{Count: how.Count}}}
	if d.options, err = drawOptions(p, f); err != nil {
		return err
	}
	if err := d.setOutput(p, f); err != nil {
		return err
	}
	img, err := p.open(f.string("input"))
	if err != nil {
		return fmt.Errorf("%s %w", f.name("input"), err)
	}
	d.report = p.reporter(f)
	defer d.report.Close()
	start := p.now()
	n, err := openNetworks(ctx, f, d.options)
	if err != nil {
		return err
	}
	defer n.close()
	if d.requests[0], err = how.Request(n.model, img); err != nil {
		return report.Usagef("%v", err)
	}
	d.requests[0].ImageFile = f.string("input")
	seen := &judging{Sink: d.sink}
	if file := f.string("classifier"); file != "" {
		if seen.classifier, err = n.openClassifier(ctx, file); err != nil {
			return fmt.Errorf("%s %w", f.name("classifier"), err)
		}
		d.sink = seen
		if err := seen.before(ctx, p, img); err != nil {
			return fmt.Errorf("%s: %w", f.name("classifier"), err)
		}
	}
	if err := requestError(f.field, d.draw(ctx, p, n, start)); err != nil || seen.classifier == nil {
		return err
	}
	return seen.after(p)
}

// purification reads the flags.
func purification(f *flags) (how sd.Purification, err error) {
	how = sd.Purification{Time: f.number("time"), Noise: f.number("noise"), Steps: f.int("steps"), ODE: f.bool("ode"), Class: f.string("class"), Count: f.int("count")}
	wrong := problems{flags: f}
	if f.set("time") && f.set("noise") {
		wrong.add("noise", "says the same as %s: one of them is enough", f.name("time"))
	}
	if f.set("time") && !(how.Time > 0 && how.Time <= 1) {
		wrong.add("time", "must be above 0, at most 1, got %g", how.Time)
	}
	if f.set("noise") && !(how.Noise > 0 && how.Noise < 1e6) {
		wrong.add("noise", "must be above 0, got %g", how.Noise)
	}
	if f.set("steps") && (how.Steps < 1 || how.Steps > sd.MaxSteps) {
		wrong.add("steps", "must be 1 to %d, got %d", sd.MaxSteps, how.Steps)
	}
	if how.Count < 1 || how.Count > sd.MaxCount {
		wrong.add("count", "must be 1 to %d, got %d", sd.MaxCount, how.Count)
	}
	if columns := f.int("grid"); f.set("grid") && (columns < 1 || columns > sd.MaxCount) {
		wrong.add("grid", "must be 1 to %d columns, got %d", sd.MaxCount, columns)
	}
	var q sd.Request
	if q.Seed = sd.RandomSeed; f.set("seed") {
		if err := requests.Set(&q, "seed", f.string("seed")); err != nil {
			wrong.add("seed", "%v", err)
		}
	}
	if how.Seed = q.Seed; q.Seed == sd.RandomSeed && !q.UnsignedSeed {
		how.Seed = int64(rand.Uint32())
	}
	return how, wrong.err()
}

// judging is a sink that asks a classifier about the pictures that pass through.
type judging struct {
	output.Sink
	classifier *sd.Classifier
	ctx        context.Context
	sum        []float64
	pictures   int
}

// before says what the classifier sees in the picture that is purified.
func (j *judging) before(ctx context.Context, p *program, img image.Image) error {
	converted, err := picture.NRGBA(img)
	if err != nil {
		return err
	}
	j.ctx = ctx
	seen, err := j.classifier.Judge(ctx, picture.OnWhite(converted))
	if err == nil {
		j.say(p, "before", seen, 1)
	}
	return err
}

// Put implements [output.Sink].
func (j *judging) Put(p output.Picture) (string, error) {
	seen, err := j.classifier.Judge(j.ctx, p.Image)
	if err != nil {
		return "", err
	}
	if j.sum == nil {
		j.sum = make([]float64, len(seen))
	}
	for i, v := range seen {
		j.sum[i] += v
	}
	j.pictures++
	return j.Sink.Put(p)
}

// after says what the classifier sees in the purified pictures.
func (j *judging) after(p *program) error {
	j.say(p, "after", j.sum, float64(j.pictures))
	return p.stdout.err
}

func (j *judging) say(p *program, when string, seen []float64, of float64) {
	best := 0
	for i, v := range seen {
		if v > seen[best] {
			best = i
		}
	}
	fmt.Fprintf(p.stdout, "%-6s  %s %.3f\n", when, j.classifier.ClassName(best), seen[best]/of)
}
