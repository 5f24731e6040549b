package cli

import (
	"context"
	"errors"
	"fmt"
	"image"
	"strings"
	"text/tabwriter"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/cli/report"
	"github.com/sdgo/sdgo/sd"
	"github.com/sdgo/sdgo/sd/preprocess"
)

func preprocessCommand() *command {
	return &command{
		name:     "preprocess",
		usage:    "makes the picture that a ControlNet is given: edges, lines, colours",
		synopsis: "preprocess NAME[:PARAMETER=X,…] -i PICTURE [flags]",
		flags: append([]urfave.Flag{
			&urfave.StringFlag{Name: "input", Aliases: []string{"i"}, Usage: "`FILE` the picture; - is standard input"},
			&urfave.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "out.png", Usage: "`FILE` the new picture, or - (default: out.png)"},
			&urfave.StringFlag{Name: "model", Aliases: []string{"m"}, Usage: "`FILE` the network of hed: ControlNetHED.pth, or .safetensors with its names"},
			&urfave.IntFlag{Name: "resolution", Usage: fmt.Sprintf("`PIXELS` scale the shorter side to this first, %d to %d (default: as it is)", preprocess.MinResolution, preprocess.MaxResolution)},
		}, formatFlags()...),
		run: runPreprocess,
		description: `
Names, and their numbers with the defaults:
` + preprocessors() + `
AUTOMATIC1111's names of these work as well. Soft edges, hed, are made by a network, whose
file is named with -m. Other pictures that need one, such as depth or a pose, are made by
another program and given as they are.

Examples:
  sdgo preprocess canny -i photo.png -o edges.png
  sdgo preprocess canny:low=50,high=120 --resolution 512 -i photo.png -o edges.png
  sdgo preprocess hed -m ControlNetHED.pth -i photo.png -o edges.png`,
	}
}

// preprocessors lists them as a table.
func preprocessors() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, p := range preprocess.All() {
		var numbers []string
		for _, x := range p.Parameters {
			numbers = append(numbers, fmt.Sprintf("%s=%g", x.Name, x.Default))
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\n", p.Name, p.Description, strings.Join(numbers, ","))
	}
	w.Flush()
	return b.String()
}

func runPreprocess(ctx context.Context, p *program, f *flags) error {
	if err := f.arguments(1, "the preprocessor's name"); err != nil {
		return err
	}
	apply, err := preprocessor(ctx, p, f)
	if err != nil {
		return err
	}
	if !f.set("input") {
		return report.Usagef("no picture: -i FILE names it")
	}
	if n := f.int("resolution"); f.set("resolution") && (n < preprocess.MinResolution || n > preprocess.MaxResolution) {
		return report.Usagef("%s: must be %d to %d, got %d", f.name("resolution"), preprocess.MinResolution, preprocess.MaxResolution, n)
	}
	to, err := newTarget(p, f.name("output"), f.string("output"), 1)
	if err != nil {
		return err
	}
	if to.Folder() {
		return report.Usagef("%s must name a file, got the folder %s", f.name("output"), f.string("output"))
	}
	if err := setFormat(f, to); err != nil {
		return err
	}
	if err := checkPlaces(f, to, nil); err != nil {
		return err
	}
	img, err := p.open(f.string("input"))
	if err != nil {
		return fmt.Errorf("%s %w", f.name("input"), err)
	}
	made, err := apply(img)
	if err != nil {
		return fmt.Errorf("%s: %w", f.string("input"), err)
	}
	path := to.Path(1, 0)
	if err := to.Save(path, made, ""); err != nil || path == "-" {
		return err
	}
	fmt.Fprintln(p.names(f), path)
	return nil
}

// hedName is the preprocessor that is a network.
const hedName = "hed"

// preprocessor is the one that is named: a network's, whose file is named, too, or one without.
func preprocessor(ctx context.Context, p *program, f *flags) (apply func(image.Image) (*image.NRGBA, error), err error) {
	if f.args[0] != hedName {
		if f.set("model") {
			return nil, report.Usagef("%s goes with %s, which is a network, got %.40q", f.name("model"), hedName, f.args[0])
		}
		with, err := preprocess.Parse(f.args[0])
		if err != nil {
			return nil, usageErrors(err)
		}
		return func(img image.Image) (*image.NRGBA, error) { return with.Apply(img, f.int("resolution")) }, nil
	}
	if !f.set("model") {
		return nil, report.Usagef("%s needs a network: %s FILE names it", hedName, f.name("model"))
	}
	return func(img image.Image) (*image.NRGBA, error) {
		if f.set("resolution") {
			scaled, err := preprocess.Scale(img, f.int("resolution"))
			if err != nil {
				return nil, err
			}
			img = scaled
		}
		net, err := sd.OpenHED(f.string("model"), sd.Options{Warn: p.log(f).Warn})
		if err != nil {
			return nil, err
		}
		defer net.Close()
		return net.Apply(ctx, img)
	}, nil
}

// usageErrors are errors of the command line, one of each line.
func usageErrors(err error) error {
	var all []error
	for line := range strings.SplitSeq(err.Error(), "\n") {
		all = append(all, report.Usagef("%s", line))
	}
	return errors.Join(all...)
}
