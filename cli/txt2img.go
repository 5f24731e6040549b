package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/sd"
	"github.com/sdgo/sdgo/sd/pngtext"
)

func (r *run) txt2img() *urfave.Command {
	request := []urfave.Flag{
		&urfave.StringFlag{Name: "prompt", Aliases: []string{"p"}, Usage: "`TEXT` what to draw; - reads it from standard input"},
		&urfave.StringFlag{Name: "negative", Aliases: []string{"n"}, Usage: "`TEXT` what not to draw"},
		&urfave.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "out.png", Usage: "`FILE` the picture, a folder, or - (default: out.png)"},
		&urfave.IntFlag{Name: "width", Aliases: []string{"W"}, Usage: "`PIXELS` a multiple of 8 (default: the model's)"},
		&urfave.IntFlag{Name: "height", Aliases: []string{"H"}, Usage: "`PIXELS` a multiple of 8 (default: the model's)"},
		&urfave.IntFlag{Name: "steps", Value: 20, Usage: "`N` denoising steps (default: 20)"},
		&urfave.Float64Flag{Name: "cfg-scale", Value: 7, Usage: "`X` how strictly to follow the prompt; 1 is without guidance (default: 7)"},
		&urfave.StringFlag{Name: "sampler", Value: "euler_a", Usage: "`NAME` (default: euler_a; sdgo samplers lists them)"},
		&urfave.StringFlag{Name: "schedule", Value: "discrete", Usage: "`NAME` of the noise levels (default: discrete)"},
		&urfave.Int64Flag{Name: "seed", Aliases: []string{"s"}, Value: sd.RandomSeed, Usage: "`N` the same seed gives the same picture (default: -1, random)"},
		&urfave.StringFlag{Name: "rng", Value: string(sd.TorchRNG), Usage: "`NAME` whose seeds: torch (diffusers, ComfyUI) or philox (AUTOMATIC1111) (default: torch)"},
		&urfave.IntFlag{Name: "clip-skip", Usage: "`N` leave out the text encoder's last N-1 layers (default: the model's)"},
		&urfave.IntFlag{Name: "count", Aliases: []string{"b"}, Value: 1, Usage: "`N` pictures, with seeds one after the other (default: 1)"},
	}
	output := []urfave.Flag{
		&urfave.BoolFlag{Name: "json", Usage: "report events as JSON lines on standard output"},
		&urfave.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "no progress"},
	}
	model := modelFlags()
	flags := append(append(append(model[:1:1], request...), model[1:]...), output...)
	return &urfave.Command{
		Name:      "txt2img",
		Usage:     "makes pictures from a text",
		UsageText: "txt2img -m MODEL -p PROMPT [flags]",
		HideHelp:  true,
		Flags:     flags,
		Action:    r.runTxt2img,
		Description: `
Examples:
  sdgo txt2img -m sd15.safetensors -p "a lighthouse at dusk" -o lighthouse.png
  sdgo txt2img -m sd15.safetensors -p "(red:1.3) fox" -n "blurry" -s 42 --sampler dpm++2m --schedule karras
  sdgo txt2img -m sd15.gguf -p "a teapot" -b 4 -o teapots/`,
	}
}

// requestFlags are the flags behind a request's fields.
var requestFlags = map[string]string{
	"Prompt": "prompt", "NegativePrompt": "negative", "Width": "width", "Height": "height",
	"Steps": "steps", "Guidance": "cfg-scale", "Sampler": "sampler", "Schedule": "schedule",
	"Seed": "seed", "RNG": "rng", "ClipSkip": "clip-skip", "Count": "count",
}

// request puts flags into a request. A zero that the user wrote is an error
// here, because the request would take it for its default.
func (r *run) request(c *urfave.Context) (sd.Request, error) {
	q := sd.Request{
		Prompt: c.String("prompt"), NegativePrompt: c.String("negative"),
		Width: c.Int("width"), Height: c.Int("height"),
		Steps: c.Int("steps"), Guidance: sd.Scale(c.Float64("cfg-scale")),
		Sampler: c.String("sampler"), Schedule: c.String("schedule"),
		Seed: c.Int64("seed"), RNG: sd.RNG(c.String("rng")),
		ClipSkip: c.Int("clip-skip"), Count: c.Int("count"),
	}
	if !c.IsSet("prompt") {
		return q, usagef(`no prompt: -p TEXT says what to draw (-p "" is an empty one)`)
	}
	if q.Prompt == "-" {
		text, err := io.ReadAll(io.LimitReader(r.in, 1<<20))
		if err != nil {
			return q, fmt.Errorf("reading the prompt from standard input: %w", err)
		}
		q.Prompt = strings.TrimRight(string(text), "\r\n")
	}
	sides := fmt.Sprintf("a multiple of 8 from 8 to %d wanted", sd.MaxSide)
	var problems []problem
	for _, f := range []struct {
		name string
		zero bool
		want string
	}{
		{"width", q.Width == 0, "0, " + sides},
		{"height", q.Height == 0, "0, " + sides},
		{"steps", q.Steps == 0, fmt.Sprintf("0, 1 to %d wanted", sd.MaxSteps)},
		{"count", q.Count == 0, fmt.Sprintf("0, 1 to %d wanted", sd.MaxCount)},
		{"clip-skip", q.ClipSkip == 0, "0, 1 or more wanted"},
		{"sampler", q.Sampler == "", "a name is wanted; sdgo samplers lists them"},
		{"schedule", q.Schedule == "", "a name is wanted; sdgo samplers lists them"},
		{"rng", q.RNG == "", "torch or philox wanted"},
	} {
		if f.zero && c.IsSet(f.name) {
			problems = append(problems, problem{r.flagName(f.name), f.want})
		}
	}
	if len(problems) > 0 {
		return q, usageProblems(problems)
	}
	return q, nil
}

func (r *run) runTxt2img(c *urfave.Context) error {
	r.json = c.Bool("json")
	if err := arguments(c, 0, ""); err != nil {
		return err
	}
	q, err := r.request(c)
	if err != nil {
		return err
	}
	o, err := r.modelOptions(c)
	if err != nil {
		return err
	}
	out := c.String("output")
	if out == "-" && r.json {
		r.json = false
		return usagef("%s - and %s both want standard output", r.flagName("output"), r.flagName("json"))
	}
	to, err := newTarget(r.flagName("output"), out, q.Count, r.out)
	if err != nil {
		return err
	}
	report := r.newReporter(c.Bool("quiet"))
	defer report.close()
	err = r.generate(c.Context, c.String("model"), o, q, to, report)
	return r.inFlags(err, requestFlags)
}

// generate opens the model, runs the request and saves each picture as soon
// as it is there.
func (r *run) generate(ctx context.Context, name string, o sd.Options, q sd.Request, to *target, report reporter) error {
	start := time.Now()
	m, err := r.openModel(ctx, name, o)
	if err != nil {
		return err
	}
	defer m.Close()
	t := timings{Load: seconds(time.Since(start))}
	report.loaded(m.Name(), time.Since(start))

	saved := 0
	q.OnEvent = func(e sd.Event) error {
		if e.Stage != sd.StageImage {
			report.progress(e)
			return nil
		}
		path, err := r.save(e, to)
		if err == nil {
			saved++
			report.saved(e, path)
		}
		// For scripts. On a terminal the report has just named the file.
		if err == nil && path != "-" && !r.json && !isTerminal(r.out) {
			fmt.Fprintln(r.out, path)
		}
		return err
	}
	result, err := m.Generate(ctx, q)
	report.close()
	if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		return &interrupted{fmt.Sprintf("%d of %s finished", saved, plural(q.Count, "picture"))}
	}
	if err != nil {
		return err
	}
	t.Text, t.Sample, t.Decode = seconds(result.Text), seconds(result.Sample), seconds(result.Decode)
	t.Total = seconds(time.Since(start))
	report.done(saved, t)
	return nil
}

// save writes a finished picture.
func (r *run) save(e sd.Event, to *target) (path string, err error) {
	write := func(w io.Writer) error {
		return pngtext.Encode(w, e.Image.Image, pngtext.Text{Keyword: sd.TextKeyword, Value: e.Image.Params.Text()})
	}
	if to.name == "-" {
		return "-", write(r.out)
	}
	path = to.path(e.Picture+1, e.Image.Params.Seed)
	if err := writeFile(path, write); err != nil {
		return "", err
	}
	return path, nil
}
