package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/cli/output"
	"github.com/sdgo/sdgo/cli/report"
	requests "github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/sd/picture"
)

// drawFlags are the flags of a command that draws. after are those of its own, by the
// flags of requests that they follow.
func drawFlags(c requests.Command, after map[string][]urfave.Flag) []urfave.Flag {
	all := map[string][]urfave.Flag{
		"prompt":   {&urfave.StringFlag{Name: "prompts", Usage: "`FILE` draw each of its lines; - is standard input"}},
		"negative": {&urfave.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "out.png", Usage: "`FILE` the picture, a folder, or - (default: out.png)"}},
		"count": {
			batchSizeFlag(),
			&urfave.IntFlag{Name: "grid", Usage: "`COLUMNS` one contact sheet with so many pictures a row, instead of a file for each"},
		},
		"cache":              {fastestFlag()},
		"taesd-preview-only": {&urfave.StringFlag{Name: "preview", Usage: "`FILE` keep a preview of the picture in progress there"}},
		lastFlag:             formatFlags(),
	}
	maps.Copy(all, after)
	model, parts, adapters := modelFlags(), partFlags(), adapterFlags()
	if c == requests.Sample {
		parts, adapters = parts[:1], nil // the autoencoder: there is no text, and no adapter of such models
	}
	return slices.Concat(model[:1], parts, adapters, requestFlags(c, all), all[lastFlag], model[1:],
		[]urfave.Flag{
			&urfave.BoolFlag{Name: "json", Usage: "report events as JSON lines on standard output"},
			&urfave.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "no progress"},
		})
}

// lastFlag stands for the end of a request's flags.
const lastFlag = ""

func batchSizeFlag() urfave.Flag {
	return &urfave.IntFlag{Name: "batch-size", Usage: "`N` pictures in one pass of the network, where memory allows; the pictures stay the same (default: 1)"}
}

func fastestFlag() urfave.Flag {
	return &urfave.BoolFlag{Name: "fastest", Usage: "--cache easy:threshold=0.15 and --precision fast, where no flag says otherwise: fewer evaluations at little cost"}
}

// formatFlags say what files pictures become.
func formatFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{Name: "format", Usage: "`NAME` png, jpeg or webp, in a folder or on standard output (default: png; else -o's ending)"},
		&urfave.IntFlag{Name: "quality", Value: picture.DefaultQuality, Usage: fmt.Sprintf("`N` JPEG's quality, 1 to 100 (default: %d)", picture.DefaultQuality)},
	}
}

// runDraw is what txt2img, img2img and inpaint do.
func runDraw(c requests.Command) func(ctx context.Context, p *program, f *flags) error {
	return func(ctx context.Context, p *program, f *flags) error {
		if err := f.arguments(0, ""); err != nil {
			return err
		}
		q, err := newRequest(f, c, p.open)
		if err != nil {
			return err
		}
		d := drawing{}
		if d.options, err = drawOptions(p, f); err != nil {
			return err
		}
		if d.preview, err = setPreviews(p, f, &q); err != nil {
			return err
		}
		prompts, err := readPrompts(p, f)
		if err != nil {
			return err
		}
		for _, prompt := range prompts {
			q.Prompt = prompt
			d.requests = append(d.requests, q)
		}
		if err := d.setOutput(p, f, longest(prompts), q.NegativePrompt); err != nil {
			return err
		}
		d.report = p.reporter(f)
		defer d.report.Close()
		start := p.now()
		n, err := d.open(ctx, f)
		if err != nil {
			return err
		}
		defer n.close()
		if c != requests.Inpaint || longest(prompts) != "" { // a mask is no business of text
			if err := checkTakesText(f, n.model, c); err != nil {
				return err
			}
		}
		return requestError(f.field, d.draw(ctx, p, n, start))
	}
}

// setOutput says where the pictures go. texts are the longest that their
// parameters will have.
func (d *drawing) setOutput(p *program, f *flags, texts ...string) (err error) {
	files := d.pictures()
	if f.set("grid") {
		files = 1
	}
	if f.string("output") == "-" && f.events() {
		return stdoutTaken(f)
	}
	if d.to, err = newTarget(p, f.name("output"), f.string("output"), files); err != nil {
		return err
	}
	if drafts := draftsOf(d.requests[0]); len(drafts) > 0 {
		if err := d.to.CheckStages(slices.Max(drafts)); err != nil {
			return inFlag(f.name("output"), err)
		}
	}
	if err := setFormat(f, d.to, texts...); err != nil {
		return err
	}
	d.sink, d.names = d.to, p.names(f)
	d.wrong = func(err error) error { return inFlag(f.name("output"), err) }
	if f.set("grid") {
		d.sink = output.NewGrid(d.to, f.int("grid"), d.pictures())
		d.wrong = func(err error) error { return inFlag(f.name("grid"), err) }
	}
	return checkPlaces(f, d.to, d.preview)
}

// newTarget makes the target that a flag names, for count pictures.
func newTarget(p *program, flag, name string, count int) (*output.Target, error) {
	t, err := output.New(name, count, p.stdout)
	if err != nil {
		return nil, inFlag(flag, err)
	}
	if t.Stdout() && p.stdoutIsTerminal {
		return nil, report.Usagef("%s -: standard output is a terminal; redirect it, or name a file", flag)
	}
	return t, nil
}

// setFormat puts the flags of formatFlags into a target. texts are the longest
// that the parameters of its pictures will have.
func setFormat(f *flags, t *output.Target, texts ...string) error {
	var c format
	if f.set("format") {
		c.name = f.string("format")
	}
	if f.set("quality") {
		n := f.int("quality")
		c.quality = &n
	}
	return c.set(t, f.name, texts...)
}

// format says what files pictures become.
type format struct {
	name    string // "" leaves it to the file's name
	quality *int   // nil leaves it to the format
}

// set puts a format into a target. flag is what a flag is called in errors.
func (c format) set(t *output.Target, flag func(name string) string, texts ...string) error {
	if c.name != "" {
		format, err := picture.ParseFormat(c.name)
		if err != nil {
			return report.Usage(report.Problem{Flag: flag("format"), Message: err.Error()})
		}
		if t.SetFormat(format) != nil {
			return report.Usagef("%s %s and %s %s name two formats; one of them is enough", flag("output"), t.Name(), flag("format"), c.name)
		}
	}
	if c.quality != nil {
		if err := t.SetQuality(*c.quality); err != nil {
			return report.Usage(report.Problem{Flag: flag("quality"), Message: err.Error()})
		}
	}
	if err := t.CheckText(texts...); err != nil {
		return report.Usagef("%s: %v", flag("output"), err)
	}
	return nil
}

// checkPlaces makes sure that previews are not written over pictures, nor
// pictures over those that are read, unless the user names the same file twice.
func checkPlaces(f *flags, to *output.Target, preview previewer) error {
	var places output.Places[string] // by flags
	for _, flag := range pictureFlags {
		if path := f.string(flag); path != "" && path != "-" {
			places.Read(path, flag)
		}
	}
	for _, path := range to.Paths() {
		if flag, ok := places.Reader(path); ok && !f.set("output") {
			return report.Usagef("%s %s would be overwritten; %s can name another file, or this one to allow it",
				f.name(flag), f.string(flag), f.name("output"))
		}
		places.Write(path, "output")
	}
	file, ok := preview.(*output.Preview)
	if !ok {
		return nil
	}
	flag, ok := places.Reader(file.Path())
	if !ok {
		flag, ok = places.Writer(file.Path())
	}
	if ok {
		return report.Usagef("%s and %s both name %s", f.name("preview"), f.name(flag), file.Path())
	}
	return nil
}
