package cli

import (
	"context"
	"fmt"
	"image"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/disintegration/imaging"
	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/cli/output"
	"github.com/sdgo/sdgo/cli/report"
	requests "github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd"
)

// defaultSide is the longer side of the pictures that show a forward process, in pixels.
const defaultSide = 256

func forwardCommand() *command {
	var names []string
	for _, p := range sampler.Processes() {
		names = append(names, p.Name)
	}
	return &command{
		name:     "forward",
		usage:    "shows how a process turns a picture into noise",
		synopsis: "forward -i PICTURE [--process NAME] [flags]",
		flags: []urfave.Flag{
			&urfave.StringFlag{Name: "input", Aliases: []string{"i"}, Usage: "`FILE` the picture; - is standard input"},
			&urfave.StringFlag{Name: "process", Value: "linear", Usage: "`NAME` how noise is added: " + strings.Join(names, ", ") + " (default: linear)"},
			&urfave.StringFlag{Name: "model", Aliases: []string{"m"}, Usage: "`FILE` a model whose process it is, in place of a name"},
			&urfave.IntFlag{Name: "steps", Value: defaultColumns, Usage: fmt.Sprintf("`N` pictures at even times, from the clean one to the last, 2 to %d (default: %d)", maxColumns, defaultColumns)},
			&urfave.IntFlag{Name: "grid", Usage: "`COLUMNS` pictures a row (default: all)"},
			&urfave.IntFlag{Name: "side", Value: defaultSide, Usage: fmt.Sprintf("`PIXELS` the longer side of each, if the picture's is longer (default: %d)", defaultSide)},
			&urfave.StringFlag{Name: "seed", Aliases: []string{"s"}, Usage: "`N` the same seed gives the same noise (default: -1, random)"},
			&urfave.StringFlag{Name: "rng", Usage: "`NAME` whose seeds: torch or philox (default: torch)"},
			&urfave.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "out.png", Usage: "`FILE` the contact sheet, or - (default: out.png)"},
		},
		run: runForward,
		description: `
The pictures are q(x_t | x_0), all with the same noise, in the process's own scale.

Examples:
  sdgo forward -i photo.png --steps 8 -o noise.png
  sdgo forward -i photo.png --process cosine --steps 16 --grid 8 -s 1 -o cosine.png`,
	}
}

func runForward(ctx context.Context, p *program, f *flags) error {
	if err := f.arguments(0, ""); err != nil {
		return err
	}
	if !f.set("input") {
		return report.Usagef("no picture: -i FILE names it")
	}
	q, err := forwardRequest(f)
	if err != nil {
		return err
	}
	process, err := forwardProcess(ctx, p, f)
	if err != nil {
		return err
	}
	to, err := newTarget(p, f.name("output"), f.string("output"), 1)
	if err != nil {
		return err
	}
	if err := checkPlaces(f, to, nil); err != nil {
		return err
	}
	img, err := p.open(f.string("input"))
	if err != nil {
		return fmt.Errorf("%s %w", f.name("input"), err)
	}
	side := f.int("side")
	if size := img.Bounds().Size(); max(size.X, size.Y) > side {
		img = imaging.Fit(img, side, side, imaging.Lanczos)
	}
	sigmas, err := process.Times(f.int("steps"))
	if err != nil {
		return err
	}
	pictures, err := sd.Forward(img, process, sigmas, q.RNG, q.Seed)
	if err != nil {
		return err
	}
	return writeSheet(p, f, to, pictures)
}

// forwardRequest has the seed and its generator; other flags are checked.
func forwardRequest(f *flags) (q sd.Request, err error) {
	wrong := problems{flags: f}
	q.Seed = int64(rand.Uint32())
	for _, name := range []string{"seed", "rng"} {
		if f.set(name) {
			if err := requests.Set(&q, name, f.string(name)); err != nil {
				wrong.add(name, "%v", err)
			}
		}
	}
	if q.Seed == sd.RandomSeed {
		q.Seed = int64(rand.Uint32())
	}
	for _, n := range []struct {
		flag      string
		low, high int
	}{{"steps", 2, maxColumns}, {"grid", 1, maxColumns}, {"side", 1, sd.MaxSide}} {
		if v := f.int(n.flag); (f.set(n.flag) || n.flag != "grid") && (v < n.low || v > n.high) {
			wrong.add(n.flag, "must be %d to %d, got %d", n.low, n.high, v)
		}
	}
	if f.set("process") && f.set("model") {
		wrong.add("process", "the model has its own; use one of them")
	}
	return q, wrong.err()
}

// forwardProcess is the model's, or that of a name.
func forwardProcess(ctx context.Context, p *program, f *flags) (*sampler.Process, error) {
	if f.set("model") {
		m, err := openModel(ctx, f.string("model"), sd.Options{Warn: p.log(f).Warn})
		if err != nil {
			return nil, err
		}
		defer m.Close()
		return m.Process(), nil
	}
	named, err := sampler.LookupProcess(f.string("process"))
	if err != nil {
		return nil, report.Usagef("%s: %v", f.name("process"), err)
	}
	return named.New(), nil
}

// writeSheet writes pictures as a contact sheet.
func writeSheet(p *program, f *flags, to *output.Target, pictures []*image.NRGBA) error {
	columns := len(pictures)
	if f.set("grid") {
		columns = f.int("grid")
	}
	grid := output.NewGrid(to, columns, len(pictures))
	for img := range slices.Values(pictures) {
		if _, err := grid.Put(output.Picture{Image: img}); err != nil {
			return inFlag(f.name("steps"), err)
		}
	}
	path, _, err := grid.Finish(true)
	if err == nil && path != "-" {
		fmt.Fprintln(p.names(f), path)
	}
	return err
}
