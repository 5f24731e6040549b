package cli

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/cli/report"
	"github.com/sdgo/sdgo/sampler"
)

func samplersCommand() *command {
	return &command{
		name:     "samplers",
		usage:    "lists samplers and noise schedules",
		synopsis: "samplers [--aliases] [--json]",
		flags: []urfave.Flag{
			&urfave.BoolFlag{Name: "aliases", Usage: "list what other programs call them, too"},
			&urfave.BoolFlag{Name: "json", Usage: "as JSON"},
		},
		run: runSamplers,
		description: `
Names from ComfyUI, AUTOMATIC1111, diffusers and stable-diffusion.cpp work as well.`,
	}
}

// listing is a sampler or a schedule in the list.
type listing struct {
	Name        string   `json:"name"`
	Aliases     []string `json:"aliases"`
	Description string   `json:"description"`
	Schedule    string   `json:"schedule,omitempty"` // that a sampler is normally run with
}

func runSamplers(_ context.Context, p *program, f *flags) error {
	if err := f.arguments(0, ""); err != nil {
		return err
	}
	var list struct {
		Samplers  []listing `json:"samplers"`
		Schedules []listing `json:"schedules"`
	}
	for _, s := range sampler.Samplers() {
		list.Samplers = append(list.Samplers, listing{s.Name, s.Aliases, s.Description, s.Schedule})
	}
	for _, s := range sampler.Schedules() {
		list.Schedules = append(list.Schedules, listing{s.Name, s.Aliases, s.Description, ""})
	}
	if f.bool("json") {
		return report.JSON(p.stdout, list, "  ")
	}
	t := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	for _, section := range []struct {
		title string
		rows  []listing
	}{{"samplers (--sampler)", list.Samplers}, {"\nschedules (--schedule)", list.Schedules}} {
		fmt.Fprintf(t, "%s\n", section.title)
		for _, l := range section.rows {
			fmt.Fprintf(t, "  %s\t%s\n", l.Name, l.Description)
			if f.bool("aliases") && len(l.Aliases) > 0 {
				fmt.Fprintf(t, "  \tor %s\n", strings.Join(l.Aliases, ", "))
			}
		}
	}
	return t.Flush()
}
