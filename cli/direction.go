package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/cli/report"
	requests "github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/sd"
)

func directionCommand() *command {
	after := map[string][]urfave.Flag{
		"negative": {&urfave.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "direction.safetensors", Usage: "`FILE` the direction (default: direction.safetensors)"}},
		"to-seed":  {&urfave.IntFlag{Name: "pictures", Value: 8, Usage: fmt.Sprintf("`N` pictures of each prompt, with seeds one after the other, 1 to %d (default: 8)", sd.MaxCount)}},
	}
	model := modelFlags()
	flags := append(model[:1:1], partFlags()...)
	flags = append(append(flags, adapterFlags()...), requestFlags(requests.Interpolate, after)...)
	return &command{
		name:     "direction",
		usage:    "finds the direction from one prompt or picture to another in the UNet's deepest features",
		synopsis: "direction -m MODEL -p PROMPT --to PROMPT [flags]",
		flags:    append(flags, model[1:]...),
		run:      runDirection,
		description: `
The file has the mean difference of what the UNet's middle block returns (h-space: Kwon et al. 2022) over pictures
of the two prompts, for each step. --direction FILE adds it when other pictures are drawn. With --pictures 1 it leads
from one picture to another: strengths from 0 to 1 are then on the way.

Examples:
  sdgo direction -m sd15.safetensors -p "a face" --to "a smiling face" --pictures 16 -o smile.safetensors
  sdgo txt2img -m sd15.safetensors -p "a portrait of a knight" --direction smile.safetensors,strength=1.5,end=0.6`,
	}
}

func runDirection(ctx context.Context, p *program, f *flags) error {
	if err := f.arguments(0, ""); err != nil {
		return err
	}
	if !f.set("to") && !f.set("to-seed") {
		return report.Usagef("direction: no other end: --to PROMPT or --to-seed N, or both, name it")
	}
	if n := f.int("pictures"); n < 1 || n > sd.MaxCount {
		return f.problem("pictures", "must be 1 to %d, got %d", sd.MaxCount, n)
	}
	file := f.string("output")
	if file == "-" || file == "" {
		return f.problem("output", "must be a file, got %q", file)
	}
	q, err := newRequest(f, requests.Interpolate, p.open)
	if err != nil {
		return err
	}
	options, err := drawOptions(p, f)
	if err != nil {
		return err
	}
	n, err := openNetworks(ctx, f, options)
	if err != nil {
		return err
	}
	defer n.close()
	from, to := ends(q, f.int("pictures"))
	for _, one := range []*sd.Request{&from, &to} {
		if err := n.attach(ctx, one, "", f.name("lora")); err != nil {
			return err
		}
	}
	name := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
	d, err := sd.FindDirection(ctx, n.model, name, from, to)
	if err != nil {
		return requestError(f.field, err)
	}
	if err := d.Write(file); err != nil {
		return fmt.Errorf("%s: %w", f.name("output"), err)
	}
	shape := d.Shape()
	fmt.Fprintf(p.stdout, "%s: features of %dx%dx%d at %d timesteps\n", file, shape[0], shape[1], shape[2], d.Timesteps())
	return nil
}

// ends are the requests for the two ends that an interpolation says.
func ends(q sd.Request, pictures int) (from, to sd.Request) {
	from = q
	from.Interpolate, from.Count = nil, pictures
	if from.Random() { // both have the same seeds
		from.Seed = 0
	}
	to = from
	if t := q.Interpolate; t != nil {
		if t.Prompt != nil {
			to.Prompt = *t.Prompt
		}
		if t.Seed != nil {
			to.Seed, to.UnsignedSeed = *t.Seed, t.UnsignedSeed
		}
	}
	return from, to
}
