package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/sd"
)

// drawFlags are the flags of every command that draws, with those of its own,
// if any, behind the model's.
func drawFlags(own ...urfave.Flag) []urfave.Flag {
	request := []urfave.Flag{
		&urfave.StringFlag{Name: "prompt", Aliases: []string{"p"}, Usage: "`TEXT` what to draw; - reads it from standard input"},
		&urfave.StringFlag{Name: "prompts", Usage: "`FILE` draw each of its lines; - is standard input"},
		&urfave.StringFlag{Name: "negative", Aliases: []string{"n"}, Usage: "`TEXT` what not to draw"},
		&urfave.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "out.png", Usage: "`FILE` the picture, a folder, or - (default: out.png)"},
		&urfave.IntFlag{Name: "width", Aliases: []string{"W"}, Usage: "`PIXELS` a multiple of 8 (default: the model's, or that of a picture to begin with)"},
		&urfave.IntFlag{Name: "height", Aliases: []string{"H"}, Usage: "`PIXELS` a multiple of 8 (default: the model's, or that of a picture to begin with)"},
		&urfave.IntFlag{Name: "steps", Value: 20, Usage: "`N` denoising steps (default: 20)"},
		&urfave.Float64Flag{Name: "cfg-scale", Usage: "`X` how strictly to follow the prompt; 1 is without guidance (default: the model's, or 7)"},
		&urfave.StringFlag{Name: "sampler", Value: "euler_a", Usage: "`NAME` (default: euler_a; sdgo samplers lists them)"},
		&urfave.StringFlag{Name: "schedule", Usage: "`NAME` of the noise levels (default: discrete, or what the sampler needs)"},
		&urfave.Int64Flag{Name: "seed", Aliases: []string{"s"}, Value: sd.RandomSeed, Usage: "`N` the same seed gives the same picture (default: -1, random)"},
		&urfave.StringFlag{Name: "rng", Value: string(sd.TorchRNG), Usage: "`NAME` whose seeds: torch (diffusers, ComfyUI) or philox (AUTOMATIC1111) (default: torch)"},
		&urfave.IntFlag{Name: "clip-skip", Usage: "`N` leave out the text encoder's last N-1 layers (default: the model's)"},
		&urfave.IntFlag{Name: "deep-cache", Usage: "`N` compute the inner blocks in every Nth step only: faster, another picture"},
		&urfave.IntFlag{Name: "count", Aliases: []string{"b"}, Value: 1, Usage: "`N` pictures of each prompt, with seeds one after the other (default: 1)"},
		&urfave.IntFlag{Name: "batch-size", Usage: "`N` pictures in one pass of the network, where memory allows; they are the same (default: 1)"},
		&urfave.IntFlag{Name: "grid", Usage: "`COLUMNS` one contact sheet, with as many pictures a row, instead of a file a picture"},
	}
	output := []urfave.Flag{
		&urfave.BoolFlag{Name: "json", Usage: "report events as JSON lines on standard output"},
		&urfave.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "no progress"},
	}
	request = append(append(append(request, formatFlags()...), xlFlags()...), previewFlags()...)
	model := modelFlags()
	flags := append(model[:1:1], own...)
	return append(append(append(flags, request...), model[1:]...), output...)
}

func (r *run) txt2img() *urfave.Command {
	return &urfave.Command{
		Name:      "txt2img",
		Usage:     "makes pictures from a text",
		UsageText: "txt2img -m MODEL -p PROMPT [flags]",
		HideHelp:  true,
		Flags:     drawFlags(hiresFlags()...),
		Action:    r.runDraw,
		Description: `
Examples:
  sdgo txt2img -m sd15.safetensors -p "a lighthouse at dusk" -o lighthouse.png
  sdgo txt2img -m sd15.safetensors -p "(red:1.3) fox" -n "blurry" -s 42 --sampler dpm++2m --schedule karras
  sdgo txt2img -m sd15.gguf -p "a teapot" -b 4 -o teapots/
  sdgo txt2img -m sd15.gguf --prompts list.txt --grid 8 -s 1 -o sheet.png`,
	}
}

// requestFlags are the flags behind a request's fields.
var requestFlags = map[string]string{
	"Prompt": "prompt", "NegativePrompt": "negative", "Width": "width", "Height": "height",
	"Steps": "steps", "Guidance": "cfg-scale", "Sampler": "sampler", "Schedule": "schedule",
	"Seed": "seed", "RNG": "rng", "ClipSkip": "clip-skip", "DeepCache": "deep-cache", "Count": "count",
	"Image": "input", "Mask": "mask", "Strength": "strength", "ImageGuidance": "image-cfg-scale",
	"MaskFeather": "mask-feather", "MaskGrow": "mask-grow", "MaskBlur": "mask-blur", "Canvas": "canvas", "OnlyMasked": "only-masked", "MaskPadding": "mask-padding",
	"OriginalSize": "original-size", "TargetSize": "target-size", "CropTopLeft": "crop",
	"AestheticScore": "aesthetic", "NegativeAestheticScore": "negative-aesthetic", "Refiner": "refiner", "RefinerAt": "refiner-at",
	"Hires": "hires", "TAESD": "taesd", "TAESDPreviewOnly": "taesd-preview-only", "PreviewEvery": "preview-every",
	"Interpolate": "to", "Interpolate.Prompt": "to", "Interpolate.Seed": "to-seed",
}

// request puts flags into a request. A zero that the user wrote is an error
// here, because the request would take it for its default.
func (r *run) request(c *urfave.Context) (sd.Request, error) {
	q := sd.Request{
		NegativePrompt: c.String("negative"),
		Width:          c.Int("width"), Height: c.Int("height"),
		Steps: c.Int("steps"), Sampler: c.String("sampler"), Schedule: c.String("schedule"),
		Seed: c.Int64("seed"), RNG: sd.RNG(c.String("rng")),
		ClipSkip: c.Int("clip-skip"), DeepCache: c.Int("deep-cache"), Count: c.Int("count"),
	}
	if c.IsSet("cfg-scale") {
		q.Guidance = sd.Float(c.Float64("cfg-scale"))
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
		{"deep-cache", q.DeepCache == 0, fmt.Sprintf("0, 1 (in full) to %d wanted", sd.MaxSteps)},
		{"sampler", q.Sampler == "", "a name is wanted; sdgo samplers lists them"},
		{"schedule", q.Schedule == "", "a name is wanted; sdgo samplers lists them"},
		{"rng", q.RNG == "", "torch or philox wanted"},
	} {
		if f.zero && c.IsSet(f.name) {
			problems = append(problems, problem{r.flagName(f.name), f.want})
		}
	}
	if columns := c.Int("grid"); c.IsSet("grid") && (columns < 1 || columns > sd.MaxCount) {
		problems = append(problems, problem{r.flagName("grid"), fmt.Sprintf("%d, 1 to %d columns wanted", columns, sd.MaxCount)})
	}
	if len(problems) > 0 {
		return q, usageProblems(problems)
	}
	return q, nil
}

// drawRequest puts all flags but the prompts into a request.
func (r *run) drawRequest(c *urfave.Context) (sd.Request, error) {
	q, err := r.request(c)
	if err == nil {
		err = r.xl(c, &q)
	}
	if err == nil {
		err = r.pictures(c, &q)
	}
	return q, err
}

// drawOptions are the model's options.
func (r *run) drawOptions(c *urfave.Context) (sd.Options, error) {
	o, err := r.modelOptions(c)
	if n := c.Int("batch-size"); err == nil && c.IsSet("batch-size") {
		if n < 1 || n > sd.MaxBatch {
			return o, usageProblems([]problem{{r.flagName("batch-size"), fmt.Sprintf("%d, 1 to %d wanted", n, sd.MaxBatch)}})
		}
		o.Batch = n
	}
	return o, err
}

// drawing is what a command line asks to draw: each prompt with one request.
type drawing struct {
	prompts []string
	request sd.Request
	refiner string // the file of SDXL's refiner; "" without one

	upscalers []string // for each stage the file of an ESRGAN network, or ""
	taesd     string   // the file of a tiny autoencoder; "" without one
	previews  *previewer
	grid      *grid // nil without a contact sheet
	to        *target
}

// pictures is their number.
func (d *drawing) pictures() int { return len(d.prompts) * d.request.Count }

// runDraw is what txt2img, img2img and inpaint do.
func (r *run) runDraw(c *urfave.Context) error {
	r.json = c.Bool("json")
	if err := arguments(c, 0, ""); err != nil {
		return err
	}
	q, err := r.drawRequest(c)
	if err != nil {
		return err
	}
	o, err := r.drawOptions(c)
	if err != nil {
		return err
	}
	d := drawing{refiner: c.String("refiner")}
	if d.upscalers, err = r.hires(c, &q); err != nil {
		return err
	}
	if d.previews, err = r.previews(c, &q); err != nil {
		return err
	}
	d.request, d.taesd = q, c.String("taesd")
	if d.prompts, err = r.prompts(c); err != nil {
		return err
	}
	files := d.pictures()
	if c.IsSet("grid") {
		d.grid = &grid{columns: c.Int("grid"), count: files}
		files = 1
	}
	out := c.String("output")
	if out == "-" && r.json {
		r.json = false
		return usagef("%s - and %s both want standard output", r.flagName("output"), r.flagName("json"))
	}
	if d.to, err = newTarget(r.flagName("output"), out, files, r.out); err != nil {
		return err
	}
	if err := r.format(c, d.to, longest(d.prompts), q.NegativePrompt); err != nil {
		return err
	}
	if err := r.checkPlaces(c, d); err != nil {
		return err
	}
	report := r.newReporter(c.Bool("quiet"))
	defer report.close()
	err = r.generate(c.Context, c.String("model"), o, d, report)
	return r.inFlags(err, requestFlags)
}

// checkPlaces makes sure that previews are not written over pictures, nor
// pictures over those that are read, unless the user names the same file twice.
func (r *run) checkPlaces(c *urfave.Context, d drawing) error {
	read := map[string]string{} // places → the flags that name them
	for _, name := range pictureFlags {
		if path := c.String(name); path != "" && path != "-" {
			for _, place := range placesRead(path) {
				read[place] = name
			}
		}
	}
	written := map[string]bool{}
	for i := range d.to.count {
		if !d.to.folder && d.to.name != "-" {
			written[placeOf(d.to.path(i+1, 0))] = true
		}
	}
	for place := range written {
		if name, ok := read[place]; ok && !c.IsSet("output") {
			return usagef("%s %s is where the picture would be written; %s names another file, or this one again",
				r.flagName(name), c.String(name), r.flagName("output"))
		}
	}
	if d.previews == nil || d.previews.path == "" {
		return nil
	}
	place := placeOf(d.previews.path)
	if name, ok := read[place]; ok || written[place] {
		if !ok {
			name = "output"
		}
		return usagef("%s and %s both name %s", r.flagName("preview"), r.flagName(name), d.previews.path)
	}
	return nil
}

// generate opens the model and draws; what is finished is kept, however it
// ends.
func (r *run) generate(ctx context.Context, name string, o sd.Options, d drawing, report reporter) error {
	start := time.Now()
	m, err := r.openModel(ctx, name, o)
	if err != nil {
		return err
	}
	defer m.Close()
	if d.refiner != "" {
		refiner, err := r.openModel(ctx, d.refiner, o)
		if err != nil {
			return err
		}
		defer refiner.Close()
		if err := m.Attach(refiner); err != nil {
			return err
		}
		d.request.Refiner = refiner.Name()
	}
	closeTAESD, err := r.openTAESD(ctx, m, d.taesd, &d.request, o)
	defer closeTAESD()
	if err != nil {
		return err
	}
	closeAll, err := r.openUpscalers(ctx, m, &d, o)
	defer closeAll()
	if err != nil {
		return err
	}
	t := timings{Load: seconds(time.Since(start))}
	report.loaded(m.Name(), m.Threads(), time.Since(start))
	if d.grid != nil {
		width, height := cmp.Or(d.request.Width, m.NativeSize()), cmp.Or(d.request.Height, m.NativeSize())
		width, height = finalSize(d.request, width, height)
		if err := d.grid.check(r.flagName("grid"), width, height); err != nil {
			return err
		}
	}

	finished, spent, err := r.draw(ctx, m, d, report)
	report.close()
	d.previews.clear()
	if d.grid != nil && len(d.grid.pictures) > 0 {
		path, problem := r.saveGrid(d.grid, d.to)
		if problem == nil {
			report.sheet(len(d.grid.pictures), path)
			r.name(path)
		} else if err == nil {
			err = problem
		}
	}
	if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		return &interrupted{fmt.Sprintf("%d of %s finished", finished, plural(d.pictures(), "picture"))}
	}
	if err != nil {
		return err
	}
	t.Text, t.Encode, t.Sample, t.Decode = seconds(spent.Text), seconds(spent.Encode), seconds(spent.Sample), seconds(spent.Decode)
	t.Total = seconds(time.Since(start))
	report.done(finished, t)
	return nil
}

// draw runs the request with each prompt, and saves each picture as soon as
// it is there. It returns how many there were, and the time they took.
func (r *run) draw(ctx context.Context, m *sd.Model, d drawing, report reporter) (finished int, spent sd.Result, err error) {
	requests := make([]sd.Request, len(d.prompts))
	for i, prompt := range d.prompts {
		q := d.request
		q.Prompt = prompt
		q.OnEvent = func(e sd.Event) error {
			e.Picture += i * q.Count
			if e.Stage == sd.StageDraft {
				return r.keepDraft(e, d)
			}
			if e.Stage != sd.StageImage {
				report.progress(e)
				return d.previews.show(e.Preview)
			}
			d.previews.clear()
			e.Of = d.pictures()
			if err := r.keep(e, d, report); err != nil {
				return err
			}
			finished++
			return nil
		}
		requests[i] = q
	}
	err = m.GenerateAll(ctx, requests, func(_ int, result *sd.Result, err error) error {
		spent.Text += result.Text
		spent.Encode += result.Encode
		spent.Sample += result.Sample
		spent.Decode += result.Decode
		return err
	})
	return finished, spent, err
}

// keep saves a finished picture, or puts it on the contact sheet.
func (r *run) keep(e sd.Event, d drawing, report reporter) error {
	if d.grid != nil {
		if size := e.Image.Image.Rect.Size(); len(d.grid.pictures) == 0 {
			if err := d.grid.check(r.flagName("grid"), size.X, size.Y); err != nil {
				return err
			}
		}
		d.grid.pictures = append(d.grid.pictures, *e.Image)
		report.saved(e, "")
		return nil
	}
	path, err := r.save(e, d.to)
	if err != nil {
		return err
	}
	report.saved(e, path)
	r.name(path)
	return nil
}

// name prints a file's name for scripts. On a terminal the report has just
// named it.
func (r *run) name(path string) {
	if path != "-" && !r.json && !isTerminal(r.out) {
		fmt.Fprintln(r.out, path)
	}
}

// save writes a finished picture.
func (r *run) save(e sd.Event, to *target) (path string, err error) {
	if to.name == "-" {
		return r.saveAs(e, to, "-")
	}
	return r.saveAs(e, to, to.path(e.Picture+1, e.Image.Params.Seed))
}

// saveAs writes a picture to a file, or to standard output.
func (r *run) saveAs(e sd.Event, to *target, path string) (string, error) {
	write := func(w io.Writer) error {
		return to.encode(w, e.Image.Image, job.Text(e.Image.Params, sd.Version))
	}
	if path == "-" {
		return path, write(r.out)
	}
	if err := writeFile(path, write); err != nil {
		return "", err
	}
	return path, nil
}
