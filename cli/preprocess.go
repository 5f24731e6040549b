package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/cli/report"
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
			&urfave.IntFlag{Name: "resolution", Usage: fmt.Sprintf("`PIXELS` scale the shorter side to this first, %d to %d (default: as it is)", preprocess.MinResolution, preprocess.MaxResolution)},
		}, formatFlags()...),
		run: runPreprocess,
		description: `
Names, and their numbers with the defaults:
` + preprocessors() + `
AUTOMATIC1111's names of these work as well. A picture that needs a network, such
as depth or a pose, is made by another program and given as it is.

Examples:
  sdgo preprocess canny -i photo.png -o edges.png
  sdgo preprocess canny:low=50,high=120 --resolution 512 -i photo.png -o edges.png`,
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

func runPreprocess(_ context.Context, p *program, f *flags) error {
	if err := f.arguments(1, "the preprocessor's name"); err != nil {
		return err
	}
	with, err := preprocess.Parse(f.args[0])
	if err != nil {
		return usageErrors(err)
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
	made, err := with.Apply(img, f.int("resolution"))
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

// usageErrors are errors of the command line, one of each line.
func usageErrors(err error) error {
	var all []error
	for line := range strings.SplitSeq(err.Error(), "\n") {
		all = append(all, report.Usagef("%s", line))
	}
	return errors.Join(all...)
}
