package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/sampler"
)

func (r *run) samplers() *urfave.Command {
	return &urfave.Command{
		Name:      "samplers",
		Usage:     "lists samplers and noise schedules",
		UsageText: "samplers [--aliases] [--json]",
		HideHelp:  true,
		Flags: []urfave.Flag{
			&urfave.BoolFlag{Name: "aliases", Usage: "list what other programs call them, too"},
			&urfave.BoolFlag{Name: "json", Usage: "as JSON"},
		},
		Action: r.runSamplers,
		Description: `
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

func (r *run) runSamplers(c *urfave.Context) error {
	if err := arguments(c, 0, ""); err != nil {
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
	if c.Bool("json") {
		return r.writeJSON(list)
	}
	t := tabwriter.NewWriter(r.out, 0, 0, 2, ' ', 0)
	for _, section := range []struct {
		title string
		rows  []listing
	}{{"samplers (--sampler)", list.Samplers}, {"\nschedules (--schedule)", list.Schedules}} {
		fmt.Fprintf(t, "%s\n", section.title)
		for _, l := range section.rows {
			fmt.Fprintf(t, "  %s\t%s\n", l.Name, l.Description)
			if c.Bool("aliases") && len(l.Aliases) > 0 {
				fmt.Fprintf(t, "  \tor %s\n", strings.Join(l.Aliases, ", "))
			}
		}
	}
	return t.Flush()
}
