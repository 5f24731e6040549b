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
)

// Bounds of an interpolation.
const (
	maxFrames = 1000
	maxFPS    = 100
	minFPS    = 0.01 // GIF holds a picture for 655 seconds at most
)

func interpolateCommand() *command {
	after := map[string][]urfave.Flag{
		"prompt":     nil, // no list of them
		"deep-cache": {batchSizeFlag()},
		"to-seed": {
			&urfave.IntFlag{Name: "frames", Value: 9, Usage: "`N` pictures, with both ends (default: 9)"},
			&urfave.Float64Flag{Name: "fps", Value: 8, Usage: "`X` pictures a second in an animated file (default: 8)"},
			&urfave.BoolFlag{Name: "bounce", Usage: "an animated file plays back to its start"},
			&urfave.BoolFlag{Name: "smoothness", Usage: "say how evenly the frames change: the mean distance of neighbours, and its standard deviation (ISTD)"},
		},
		lastFlag: nil,
	}
	return &command{
		name:     "interpolate",
		usage:    "goes from one prompt or seed to another in steps",
		synopsis: "interpolate -m MODEL -p PROMPT --to PROMPT [flags]",
		flags:    drawFlags(requests.Interpolate, after),
		run:      runInterpolate,
		events:   true,
		description: `
Examples:
  sdgo interpolate -m sd15.safetensors -p "a lighthouse" --to "a rocket" -s 1 --frames 16 --bounce -o rocket.webp
  sdgo interpolate -m sd15.safetensors -p "a lighthouse" -s 1 --to-seed 2 -o frame-%03d.png`,
	}
}

func runInterpolate(ctx context.Context, p *program, f *flags) error {
	if err := f.arguments(0, ""); err != nil {
		return err
	}
	if err := checkFrames(f); err != nil {
		return err
	}
	q, err := newRequest(f, requests.Interpolate, p.open)
	if err != nil {
		return err
	}
	d := drawing{}
	if d.options, err = drawOptions(p, f); err != nil {
		return err
	}
	prompts, err := readPrompts(p, f)
	if err != nil {
		return err
	}
	q.Prompt = prompts[0]
	d.requests = frames(f, q)
	if err := d.setFrameOutput(p, f); err != nil {
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
	if err := d.fits(n.model); err != nil {
		return err
	}
	seen := &keeping{Sink: d.sink}
	if f.bool("smoothness") {
		d.sink = seen
	}
	if err := requestError(f.field, d.draw(ctx, p, n, start)); err != nil || !f.bool("smoothness") {
		return err
	}
	mean, deviation, err := sd.Smoothness(seen.pictures)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "neighbours are %.2f apart, ISTD %.2f (of 255)\n", mean, deviation)
	return nil
}

// keeping is a sink that keeps the pictures that pass through.
type keeping struct {
	output.Sink
	pictures []*image.NRGBA
}

// Put implements [output.Sink].
func (k *keeping) Put(p output.Picture) (string, error) {
	k.pictures = append(k.pictures, p.Image)
	return k.Sink.Put(p)
}

// checkFrames checks the flags that no other command has.
func checkFrames(f *flags) error {
	wrong := problems{flags: f}
	if n := f.int("frames"); n < 2 || n > maxFrames {
		wrong.add("frames", "must be 2 to %d, got %d", maxFrames, n)
	}
	if fps := f.number("fps"); !(fps >= minFPS && fps <= maxFPS) {
		wrong.add("fps", "must be %g to %d, got %g", minFPS, maxFPS, fps)
	}
	if f.bool("smoothness") {
		switch {
		case f.int("frames") < 3:
			wrong.add("smoothness", "needs at least 3 frames")
		case f.string("output") == "-" || f.events():
			wrong.add("smoothness", "is written to standard output, where the pictures or events go")
		}
	}
	if err := wrong.err(); err != nil {
		return err
	}
	if !f.set("to") && !f.set("to-seed") {
		return report.Usagef("interpolate: no other end: --to PROMPT or --to-seed N, or both, name it")
	}
	return nil
}

// frames are the requests from q to the other end.
func frames(f *flags, q sd.Request) []sd.Request {
	if q.Random() { // all frames share one
		q.Seed = int64(rand.Uint32())
	}
	all := make([]sd.Request, f.int("frames"))
	for i := range all {
		t := *q.Interpolate
		t.At = float64(i) / float64(len(all)-1)
		all[i] = q
		all[i].Interpolate = &t
	}
	return all
}

// setFrameOutput says where the frames go: to one animated file, or to a file each.
func (d *drawing) setFrameOutput(p *program, f *flags) (err error) {
	d.names = p.names(f)
	d.wrong = func(err error) error { return inFlag(f.name("output"), err) }
	out := f.string("output")
	if !output.IsAnimation(out) {
		if f.set("fps") || f.set("bounce") {
			return report.Usagef("%s and %s are for animated files: -o NAME.webp or NAME.gif", f.name("fps"), f.name("bounce"))
		}
		d.to, err = newTarget(p, f.name("output"), out, len(d.requests))
		d.sink = d.to
		return err
	}
	movie, err := output.NewAnimation(out, len(d.requests), f.number("fps"), f.bool("bounce"))
	if err != nil {
		return d.wrong(err)
	}
	d.sink = movie
	d.wrong = func(err error) error {
		if err != nil {
			err = fmt.Errorf("%w; -o frame-%%03d.png writes a file for each", err)
		}
		return inFlag(f.name("frames"), err)
	}
	return nil
}
