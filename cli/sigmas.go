package cli

import (
	"fmt"
	"io"
	"strconv"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd"
)

func (r *run) sigmas() *urfave.Command {
	return &urfave.Command{
		Name:      "sigmas",
		Usage:     "prints the noise levels of a schedule",
		UsageText: "sigmas [--schedule NAME] [--steps N] [--plot FILE] [--json]",
		HideHelp:  true,
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "schedule", Value: "discrete", Usage: "`NAME` (default: discrete; sdgo samplers lists them)"},
			&urfave.IntFlag{Name: "steps", Value: 20, Usage: "`N` steps, which have N+1 noise levels (default: 20)"},
			&urfave.StringFlag{Name: "plot", Usage: "`FILE` draw them, as a PNG"},
			&urfave.BoolFlag{Name: "json", Usage: "as a JSON array"},
		},
		Action: r.runSigmas,
		Description: `
The levels are those of Stable Diffusion 1.x and 2.x: from about 14.6 to 0.

Example:
  sdgo sigmas --schedule karras --steps 10 --plot karras.png`,
	}
}

func (r *run) runSigmas(c *urfave.Context) error {
	if err := arguments(c, 0, ""); err != nil {
		return err
	}
	s, err := sampler.LookupSchedule(c.String("schedule"))
	if err != nil {
		return usagef("%s: %v", r.flagName("schedule"), err)
	}
	steps := c.Int("steps")
	if steps < 1 || steps > sd.MaxSteps {
		return usagef("%s: %d, 1 to %d wanted", r.flagName("steps"), steps, sd.MaxSteps)
	}
	sigmas, err := s.Sigmas(sampler.StableDiffusion(), steps)
	if err != nil {
		return fmt.Errorf("schedule %s: %w", s.Name, err)
	}
	if c.IsSet("plot") {
		if c.Bool("json") {
			return usagef("%s and %s: one of them is wanted", r.flagName("plot"), r.flagName("json"))
		}
		to, err := newTarget(r.flagName("plot"), c.String("plot"), 1, r.out)
		if err != nil {
			return err
		}
		return r.plot(to, s.Name, sigmas)
	}
	if c.Bool("json") {
		return encodeJSON(r.out, sigmas, "")
	}
	for _, sigma := range sigmas {
		fmt.Fprintln(r.out, strconv.FormatFloat(sigma, 'g', 8, 64))
	}
	return nil
}

// plot draws noise levels into a file or to standard output.
func (r *run) plot(to *target, schedule string, sigmas []float64) error {
	draw := func(w io.Writer) error {
		return to.encode(w, plotSigmas(plotTitle(schedule, len(sigmas)-1), sigmas), "")
	}
	if to.name == "-" {
		return draw(r.out)
	}
	path := to.path(1, 0)
	if err := writeFile(path, draw); err != nil {
		return err
	}
	r.name(path)
	return nil
}
