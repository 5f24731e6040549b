package cli

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/cli/report"
	"github.com/sdgo/sdgo/sampler"
)

func samplersCommand() *command {
	return &command{
		name:     "samplers",
		usage:    "lists samplers, noise schedules, kinds of guidance and step caches",
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

// listing is a sampler, a schedule or a kind of guidance in the list.
type listing struct {
	Name        string          `json:"name"`
	Aliases     []string        `json:"aliases"`
	Description string          `json:"description"`
	Schedule    string          `json:"schedule,omitempty"`   // that a sampler is normally run with
	Flow        bool            `json:"flow,omitempty"`       // whether a schedule is for flow models alone
	Parameters  []jsonParameter `json:"parameters,omitempty"` // the numbers that it takes
}

// jsonParameter is a number that a sampler or a kind of guidance takes.
type jsonParameter struct {
	Name    string   `json:"name"`
	Default *float64 `json:"default"` // null: without a bound
	Range   string   `json:"range"`
	Help    string   `json:"help"`
}

// parametersOf are the numbers of a sampler or a kind of guidance.
func parametersOf(all []sampler.Parameter) (out []jsonParameter) {
	for _, p := range all {
		j := jsonParameter{Name: p.Name, Range: p.Range(), Help: p.Help}
		if !math.IsInf(p.Default, 1) {
			j.Default = &p.Default
		}
		out = append(out, j)
	}
	return out
}

// numbersText names numbers with their defaults: "eta 1, s_noise 1".
func numbersText(all []jsonParameter) string {
	names := make([]string, len(all))
	for i, p := range all {
		names[i] = p.Name
		if p.Default != nil {
			names[i] += " " + strconv.FormatFloat(*p.Default, 'g', -1, 64)
		}
	}
	return strings.Join(names, ", ")
}

// schedulesOf are those for flow models alone, or the others.
func schedulesOf(all []listing, flow bool) []listing {
	return slices.DeleteFunc(slices.Clone(all), func(l listing) bool { return l.Flow != flow })
}

func runSamplers(_ context.Context, p *program, f *flags) error {
	if err := f.arguments(0, ""); err != nil {
		return err
	}
	var list struct {
		Samplers  []listing `json:"samplers"`
		Schedules []listing `json:"schedules"`
		Guidance  []listing `json:"guidance"`
		Guides    []listing `json:"guide_methods"`
		Caches    []listing `json:"step_caches"`
	}
	for _, s := range sampler.Samplers() {
		list.Samplers = append(list.Samplers, listing{Name: s.Name, Aliases: s.Aliases, Description: s.Description, Schedule: s.Schedule, Parameters: parametersOf(s.Parameters)})
	}
	for _, s := range sampler.Schedules() {
		list.Schedules = append(list.Schedules, listing{Name: s.Name, Aliases: s.Aliases, Description: s.Description, Flow: s.Check(sampler.StableDiffusion()) != nil})
	}
	for _, g := range sampler.Guiders() {
		if !g.Repeats { // requests have one prompt
			list.Guidance = append(list.Guidance, listing{Name: g.Name, Aliases: g.Aliases, Description: g.Description, Parameters: parametersOf(g.Parameters)})
		}
	}
	for _, m := range sampler.LossMethods() {
		list.Guides = append(list.Guides, listing{Name: m.Name, Aliases: m.Aliases, Description: m.Description, Parameters: parametersOf(m.Parameters)})
	}
	for _, c := range sampler.StepCaches() {
		list.Caches = append(list.Caches, listing{Name: c.Name, Aliases: c.Aliases, Description: c.Description, Parameters: parametersOf(c.Parameters)})
	}
	if f.bool("json") {
		return report.JSON(p.stdout, list, "  ")
	}
	t := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	for _, section := range []struct {
		title string
		rows  []listing
	}{{"samplers (--sampler), and their own numbers (--eta, --s-noise …)", list.Samplers}, {"\nschedules (--schedule)", schedulesOf(list.Schedules, false)},
		{"\nschedules of flow models", schedulesOf(list.Schedules, true)}, {"\nguidance (--guidance NAME:PARAMETER=X,…), and its numbers", list.Guidance},
		{"\nmethods of guides (--guide-method NAME:PARAMETER=X,…), and their numbers", list.Guides},
		{"\nstep caches (--cache NAME:PARAMETER=X,…), and their numbers", list.Caches}} {
		fmt.Fprintf(t, "%s\n", section.title)
		for _, l := range section.rows {
			fmt.Fprintf(t, "  %s\t%s\n", l.Name, l.Description)
			if len(l.Parameters) > 0 {
				fmt.Fprintf(t, "  \twith %s\n", numbersText(l.Parameters))
			}
			if f.bool("aliases") && len(l.Aliases) > 0 {
				fmt.Fprintf(t, "  \tor %s\n", strings.Join(l.Aliases, ", "))
			}
		}
	}
	return t.Flush()
}
