package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	urfave "github.com/urfave/cli/v2"
)

// writeAppHelp writes what sdgo --help shows.
func writeAppHelp(w io.Writer, app *urfave.App) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "sdgo %s: %s\n\n", app.Version, app.Usage)
	for _, c := range app.Commands {
		fmt.Fprintf(t, "  sdgo %s\t%s\n", c.Name, c.Usage)
	}
	fmt.Fprint(t, "\nsdgo COMMAND --help shows a command's flags and examples.\n")
	return t.Flush()
}

// writeCommandHelp writes what sdgo COMMAND --help shows. A flag's usage has
// the placeholder of its value in backquotes, as in package flag.
func writeCommandHelp(w io.Writer, c *urfave.Command) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "%s\n\n  sdgo %s\n\n", c.Usage, c.UsageText)
	for _, f := range c.Flags {
		long, short := "--"+f.Names()[0], "    "
		for _, alias := range f.Names()[1:] {
			if len(alias) == 1 {
				short = "-" + alias + ", "
			}
		}
		value, text := placeholder(f.(urfave.DocGenerationFlag).GetUsage())
		fmt.Fprintf(t, "  %s%s%s\t%s\n", short, long, value, text)
	}
	if c.Description != "" {
		fmt.Fprintf(t, "\n%s\n", strings.TrimSpace(c.Description))
	}
	return t.Flush()
}

// placeholder cuts "`FILE` the model" into " FILE" and "the model".
func placeholder(usage string) (value, text string) {
	before, rest, _ := strings.Cut(usage, "`")
	value, after, ok := strings.Cut(rest, "`")
	if !ok {
		return "", usage
	}
	return " " + value, before + strings.TrimSpace(after)
}
