package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/sd"
)

// Bounds of an interpolation.
const (
	maxFrames = 1000
	maxFPS    = 100
	minFPS    = 0.01 // GIF holds a picture for 655 seconds at most
)

func (r *run) interpolate() *urfave.Command {
	flags := []urfave.Flag{
		&urfave.StringFlag{Name: "to", Usage: "`TEXT` the prompt to arrive at"},
		&urfave.Int64Flag{Name: "to-seed", Usage: "`N` the seed to arrive at"},
		&urfave.IntFlag{Name: "frames", Value: 9, Usage: "`N` pictures, both ends among them (default: 9)"},
		&urfave.Float64Flag{Name: "fps", Value: 8, Usage: "`X` pictures a second in an animated file (default: 8)"},
		&urfave.BoolFlag{Name: "bounce", Usage: "an animated file goes back again"},
	}
	left := []string{"prompts", "count", "grid", "format", "quality"}
	for _, f := range drawFlags(flags...) {
		if name := f.Names()[0]; slices.Contains(left, name) || isPreviewFlag(name) || slices.Contains(flags, f) {
			continue
		}
		flags = append(flags, f)
	}
	return &urfave.Command{
		Name:      "interpolate",
		Usage:     "goes from one prompt or seed to another in steps",
		UsageText: "interpolate -m MODEL -p PROMPT --to PROMPT [flags]",
		HideHelp:  true,
		Flags:     flags,
		Action:    r.runInterpolate,
		Description: `
Examples:
  sdgo interpolate -m sd15.safetensors -p "a lighthouse" --to "a rocket" -s 1 --frames 16 --bounce -o rocket.webp
  sdgo interpolate -m sd15.safetensors -p "a lighthouse" -s 1 --to-seed 2 -o frame-%03d.png`,
	}
}

func (r *run) runInterpolate(c *urfave.Context) error {
	r.json = c.Bool("json")
	if err := arguments(c, 0, ""); err != nil {
		return err
	}
	n, fps := c.Int("frames"), c.Float64("fps")
	var problems []problem
	if n < 2 || n > maxFrames {
		problems = append(problems, problem{r.flagName("frames"), fmt.Sprintf("%d, 2 to %d wanted", n, maxFrames)})
	}
	if !(fps >= minFPS && fps <= maxFPS) {
		problems = append(problems, problem{r.flagName("fps"), fmt.Sprintf("%g, %g to %d wanted", fps, minFPS, maxFPS)})
	}
	if len(problems) > 0 {
		return usageProblems(problems)
	}
	if !c.IsSet("to") && !c.IsSet("to-seed") {
		return usagef("interpolate: where to? --to PROMPT or --to-seed N, or both, name the other end")
	}
	q, err := r.drawRequest(c)
	if err != nil {
		return err
	}
	if q.Seed == sd.RandomSeed { // all frames have one
		q.Seed = int64(rand.Uint32())
	}
	o, err := r.drawOptions(c)
	if err != nil {
		return err
	}
	prompts, err := r.prompts(c)
	if err != nil {
		return err
	}
	q.Prompt = prompts[0]
	other := sd.Interpolation{}
	if c.IsSet("to") {
		text := c.String("to")
		other.Prompt = &text
	}
	if c.IsSet("to-seed") {
		seed := c.Int64("to-seed")
		other.Seed = &seed
	}
	d := drawing{refiner: c.String("refiner")}
	movie := animationOf(c)
	out := c.String("output")
	if movie == nil {
		if c.IsSet("fps") || c.IsSet("bounce") {
			return usagef("%s, %s: for an animated file: -o NAME.webp or NAME.gif", r.flagName("fps"), r.flagName("bounce"))
		}
		if d.to, err = newTarget(r.flagName("output"), out, n, r.out); err != nil {
			return err
		}
	} else if info, err := os.Stat(out); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s %s: not a regular file", r.flagName("output"), out)
	} else if err := checkFolder(r.flagName("output"), out); err != nil {
		return err
	}
	requests := make([]sd.Request, n)
	for i := range requests {
		t := other
		t.At = float64(i) / float64(n-1)
		requests[i] = q
		requests[i].Interpolate = &t
	}
	report := r.newReporter(c.Bool("quiet"))
	defer report.close()
	err = r.drawFrames(c.Context, c.String("model"), o, d, requests, movie, report)
	return r.inFlags(err, requestFlags)
}

// drawFrames draws all requests, one frame each.
func (r *run) drawFrames(ctx context.Context, name string, o sd.Options, d drawing, requests []sd.Request, movie *animation, report reporter) error {
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
		for i := range requests {
			requests[i].Refiner = refiner.Name()
		}
	}
	width, height := cmp.Or(requests[0].Width, m.NativeSize()), cmp.Or(requests[0].Height, m.NativeSize())
	if movie != nil && int64(width)*int64(height)*int64(len(requests)) > maxGridPixels {
		return usagef("%s: %d frames of %dx%d are too many for an animated file, which has %d pixels at most; -o frame-%%03d.png has a file for each",
			r.flagName("frames"), len(requests), width, height, maxGridPixels)
	}
	t := timings{Load: seconds(time.Since(start))}
	report.loaded(m.Name(), m.Threads(), time.Since(start))
	finished := 0
	for i := range requests {
		requests[i].OnEvent = func(e sd.Event) error {
			e.Picture = i
			if e.Stage != sd.StageImage {
				report.progress(e)
				return nil
			}
			e.Of = len(requests)
			finished++
			if movie != nil {
				movie.frames = append(movie.frames, *e.Image)
				report.saved(e, "")
				return nil
			}
			return r.keep(e, d, report)
		}
	}
	err = m.GenerateAll(ctx, requests, func(_ int, result *sd.Result, err error) error {
		t.Text += seconds(result.Text)
		t.Encode += seconds(result.Encode)
		t.Sample += seconds(result.Sample)
		t.Decode += seconds(result.Decode)
		return err
	})
	report.close()
	if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		return &interrupted{fmt.Sprintf("%d of %s finished", finished, plural(len(requests), "picture"))}
	}
	if err != nil {
		return err
	}
	if movie != nil {
		if err := writeFile(movie.path, movie.encode); err != nil {
			return err
		}
		report.sheet(len(movie.frames), movie.path)
		r.name(movie.path)
	}
	t.Total = seconds(time.Since(start))
	report.done(finished, t)
	return nil
}
