package cli

import (
	"context"
	"fmt"
	"strconv"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/cli/output"
	"github.com/sdgo/sdgo/cli/report"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd"
)

func sigmasCommand() *command {
	return &command{
		name:     "sigmas",
		usage:    "prints the noise levels of a schedule",
		synopsis: "sigmas [--schedule NAME] [--steps N] [--plot FILE] [--json]",
		flags: []urfave.Flag{
			&urfave.StringFlag{Name: "schedule", Value: "discrete", Usage: "`NAME` (default: discrete; sdgo samplers lists them)"},
			&urfave.IntFlag{Name: "steps", Value: 20, Usage: "`N` steps, which have N+1 noise levels (default: 20)"},
			&urfave.StringFlag{Name: "plot", Usage: "`FILE` plot them, as a PNG"},
			&urfave.BoolFlag{Name: "json", Usage: "as a JSON array"},
		},
		run: runSigmas,
		description: `
The levels are those of Stable Diffusion 1.x and 2.x: from about 14.6 to 0.

Example:
  sdgo sigmas --schedule karras --steps 10 --plot karras.png`,
	}
}

func runSigmas(_ context.Context, p *program, f *flags) error {
	if err := f.arguments(0, ""); err != nil {
		return err
	}
	s, err := sampler.LookupSchedule(f.string("schedule"))
	if err != nil {
		return report.Usagef("%s: %v", f.name("schedule"), err)
	}
	steps := f.int("steps")
	if steps < 1 || steps > sd.MaxSteps {
		return report.Usagef("%s: must be 1 to %d, got %d", f.name("steps"), sd.MaxSteps, steps)
	}
	sigmas, err := s.Sigmas(sampler.StableDiffusion(), steps)
	if err != nil {
		return fmt.Errorf("schedule %s: %w", s.Name, err)
	}
	if f.set("plot") {
		return plot(p, f, s.Name, sigmas)
	}
	if f.bool("json") {
		return report.JSON(p.stdout, sigmas, "")
	}
	for _, sigma := range sigmas {
		fmt.Fprintln(p.stdout, strconv.FormatFloat(sigma, 'g', 8, 64))
	}
	return nil
}

// plot draws noise levels into a file or to standard output.
func plot(p *program, f *flags, schedule string, sigmas []float64) error {
	if f.bool("json") {
		return report.Usagef("%s and %s both say how to show them; use one of them", f.name("plot"), f.name("json"))
	}
	to, err := newTarget(p, f.name("plot"), f.string("plot"), 1)
	if err != nil {
		return err
	}
	path, err := to.Put(output.Picture{Image: plotSigmas(plotTitle(schedule, len(sigmas)-1), sigmas), Number: 1})
	if err != nil {
		return err
	}
	if path != "-" {
		fmt.Fprintln(p.names(f), path)
	}
	return nil
}
