package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	urfave "github.com/urfave/cli/v2"
)

// writeHelp writes what sdgo --help shows.
func writeHelp(w io.Writer, version string, all []*command) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "sdgo %s: pictures from text with Stable Diffusion models\n\n", version)
	for _, c := range all {
		fmt.Fprintf(t, "  sdgo %s\t%s\n", c.name, c.usage)
	}
	fmt.Fprint(t, "\nsdgo COMMAND --help shows a command's flags and examples.\n")
	return t.Flush()
}

// writeCommandHelp writes what sdgo COMMAND --help shows. A flag's usage has the
// placeholder of its value in backquotes, as in package flag.
func writeCommandHelp(w io.Writer, c *command) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "%s\n\n  sdgo %s\n\n", c.usage, c.synopsis)
	for _, f := range c.flags {
		long, short := "--"+f.Names()[0], "    "
		for _, alias := range f.Names()[1:] {
			if len(alias) == 1 {
				short = "-" + alias + ", "
			}
		}
		value, text := placeholder(f.(urfave.DocGenerationFlag).GetUsage())
		fmt.Fprintf(t, "  %s%s%s\t%s\n", short, long, value, text)
	}
	if c.description != "" {
		fmt.Fprintf(t, "\n%s\n", strings.TrimSpace(c.description))
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
