package cli

import (
	"encoding/json"
	"fmt"
	"strconv"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd"
)

func (r *run) sigmas() *urfave.Command {
	return &urfave.Command{
		Name:      "sigmas",
		Usage:     "prints the noise levels of a schedule",
		UsageText: "sigmas [--schedule NAME] [--steps N] [--json]",
		HideHelp:  true,
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "schedule", Value: "discrete", Usage: "`NAME` (default: discrete; sdgo samplers lists them)"},
			&urfave.IntFlag{Name: "steps", Value: 20, Usage: "`N` steps, which have N+1 noise levels (default: 20)"},
			&urfave.BoolFlag{Name: "json", Usage: "as a JSON array"},
		},
		Action: r.runSigmas,
		Description: `
The levels are those of Stable Diffusion 1.x and 2.x: from about 14.6 to 0.

Example:
  sdgo sigmas --schedule karras --steps 10`,
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
	if c.Bool("json") {
		return json.NewEncoder(r.out).Encode(sigmas)
	}
	for _, sigma := range sigmas {
		fmt.Fprintln(r.out, strconv.FormatFloat(sigma, 'g', 8, 64))
	}
	return nil
}
