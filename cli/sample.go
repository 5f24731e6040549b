package cli

import (
	"context"
	"fmt"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/cli/report"
	requests "github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/sd"
)

func sampleCommand() *command {
	after := map[string][]urfave.Flag{
		"class": {&urfave.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "out.png", Usage: "`FILE` the picture, a folder, or - (default: out.png)"}},
		"preview-noisy": {
			&urfave.StringFlag{Name: "trajectory", Usage: "`FILE` a sheet of how the noise became each picture, a row for each"},
			&urfave.IntFlag{Name: "trajectory-columns", Value: defaultColumns, Usage: fmt.Sprintf("`N` pictures a row of it (default: %d)", defaultColumns)},
		},
	}
	flags := drawFlags(requests.Sample, after)
	for _, f := range flags {
		if f, ok := f.(*urfave.StringFlag); ok && f.Name == "count" {
			f.Aliases = append(f.Aliases, "n") // which no negative prompt has here
		}
	}
	return &command{
		name:     "sample",
		usage:    "makes pictures with a model that takes no text",
		synopsis: "sample -m MODEL [--class CLASS] [flags]",
		flags:    flags,
		run:      runSample,
		events:   true,
		description: `
Examples:
  sdgo sample -m adm256.safetensors --class "golden retriever" -n 16 --grid 4 -o sheet.png
  sdgo sample -m adm64.pt --class 207 --sampler ddpm --schedule 250 --stages adm64-256-upsampler.pt -o dog.png
  sdgo sample -m ddpm-cifar10-32 -n 4 --trajectory back.png --trajectory-columns 10 -o cifar.png
  sdgo sample -m adm64-256-upsampler.pt -i small.png --class 207 -o large.png`,
	}
}

func runSample(ctx context.Context, p *program, f *flags) error {
	if err := f.arguments(0, ""); err != nil {
		return err
	}
	q, err := newRequest(f, requests.Sample, p.open)
	if err != nil {
		return err
	}
	d := drawing{}
	if d.options, err = drawOptions(p, f); err != nil {
		return err
	}
	if d.preview, err = setPreviews(p, f, &q); err != nil {
		return err
	}
	if d.trajectory, err = newTrajectory(p, f, &q); err != nil {
		return err
	}
	d.requests = []sd.Request{q}
	if err := d.setOutput(p, f, q.Class); err != nil {
		return err
	}
	if err := d.trajectory.checkPlace(f, d.to); err != nil {
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
	if n.model.TakesText() {
		return report.Usagef("%s draws from text: sdgo txt2img -m %s -p PROMPT", n.model.Name(), f.string("model"))
	}
	return requestError(f.field, d.draw(ctx, p, n, start))
}

// checkTakesText makes sure that a command that draws from text has a model that does.
func checkTakesText(f *flags, m *sd.Model) error {
	if m.TakesText() {
		return nil
	}
	class := ""
	if n, _ := m.Classes(); n > 0 {
		class = " --class CLASS"
	}
	return report.Usagef("%s takes no text: sdgo sample -m %s%s draws with it", m.Name(), f.string("model"), class)
}
