package cli

import (
	"context"
	"fmt"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/cli/report"
	requests "github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/sd"
)

const sampleName = "sample"

func sampleCommand() *command {
	after := map[string][]urfave.Flag{
		"class": {&urfave.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "out.png", Usage: "`FILE` the picture, a folder, or - (default: out.png)"}},
		"preview-noisy": {
			&urfave.StringFlag{Name: "trajectory", Usage: "`FILE` a sheet of how the noise became each picture, a row for each"},
			&urfave.IntFlag{Name: "trajectory-columns", Value: defaultColumns, Usage: fmt.Sprintf("`N` pictures a row of it (default: %d)", defaultColumns)},
		},
	}
	flags := drawFlags(requests.Sample, after)
	for i, f := range flags {
		switch f, ok := f.(*urfave.StringFlag); {
		case ok && f.Name == "count":
			f.Aliases = append(f.Aliases, "n") // which no negative prompt has here
		case ok && f.Name == "class":
			flags[i] = &urfave.GenericFlag{Name: f.Name, Value: &texts{}, Usage: f.Usage + "; may be repeated, or a list such as cat,dog"}
		}
	}
	return &command{
		name:     sampleName,
		usage:    "makes pictures with a model that takes no text",
		synopsis: "sample [-m MODEL] [--class CLASS] [flags]",
		flags:    flags,
		run:      runSample,
		events:   true,
		description: `
Without -m the model is the one that comes with sdgo, of emoji in 32x32 pixels. With several classes each
is drawn as often as --count says.

Examples:
  sdgo sample --class cat,dog,fox,panda -n 4 --grid 4 -o sheet.png
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
	classes, err := readClasses(f)
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
	if d.trajectory, err = newTrajectory(p, f, &q, len(classes)*picturesOf(q)); err != nil {
		return err
	}
	for _, class := range classes {
		q.Class = class
		d.requests = append(d.requests, q)
	}
	if err := d.setOutput(p, f, longest(classes)); err != nil {
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
	switch {
	case n.model.TakesText() && n.model.Enlarges():
		return enlargesByText(f, n.model)
	case n.model.TakesText():
		return report.Usagef("%s draws from text: sdgo txt2img%s -p PROMPT", n.model.Name(), modelFlag(f))
	}
	return requestError(f.field, d.draw(ctx, p, n, start))
}

// enlargesByText says which command is for a model that enlarges pictures as a text says.
func enlargesByText(f *flags, m *sd.Model) error {
	return report.Usagef("%s enlarges pictures as a text says: sdgo img2img%s -i FILE -p PROMPT", m.Name(), modelFlag(f))
}

// checkTakesText makes sure that a command that draws from text has a model that does.
func checkTakesText(f *flags, m *sd.Model, c requests.Command) error {
	switch {
	case m.TakesText() && m.Enlarges() && c == requests.Txt2Img:
		return enlargesByText(f, m)
	case m.TakesText():
		return nil
	}
	class := ""
	if n, _ := m.Classes(); n > 0 {
		class = " --class CLASS"
	}
	return report.Usagef("%s takes no text: sdgo sample%s%s draws with it", m.Name(), modelFlag(f), class)
}

// modelFlag is the flag that names the model, if there is one.
func modelFlag(f *flags) string {
	if f.string("model") == "" {
		return ""
	}
	return " -m " + f.string("model")
}

// readClasses are the classes of --class, at least one, which may be none. A comma with
// no space after it is between two: the names of ImageNet's classes have others.
func readClasses(f *flags) ([]string, error) {
	var all []string
	for _, list := range f.texts("class") {
		from := 0
		for i := range list {
			if list[i] == ',' && (i+1 == len(list) || list[i+1] != ' ') {
				all, from = append(all, list[from:i]), i+1
			}
		}
		all = append(all, list[from:])
	}
	if !f.set("class") {
		return []string{""}, nil
	}
	for i, class := range all {
		if all[i] = strings.TrimSpace(class); all[i] == "" {
			return nil, f.problem("class", "a class must not be empty")
		}
		var q sd.Request
		if err := requests.Set(&q, "class", all[i]); err != nil {
			return nil, f.problem("class", "%v", err)
		}
	}
	if len(all) > sd.MaxCount {
		return nil, f.problem("class", "must be at most %d classes, got %d", sd.MaxCount, len(all))
	}
	return all, nil
}
