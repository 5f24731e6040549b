package cli

import (
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/cli/report"
)

// command is one of the program's commands.
type command struct {
	name, usage, synopsis string // of the help
	description           string
	flags                 []urfave.Flag
	run                   func(ctx context.Context, p *program, f *flags) error
	events                bool // with --json it writes events, errors among them
	patient               bool // it ends by itself when ctx is done, however long that takes
}

// flag finds a flag by one of its names.
func (c *command) flag(name string) urfave.Flag {
	for _, f := range c.flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

// field is the name of a flag with its value as text: on a command line, or in a
// job.
type field struct{ name, value string }

// flags are the flags of a command with their values, and its arguments.
type flags struct {
	command *command
	values  *urfave.Context
	typed   map[string]string // a flag's name → as the user wrote it
	args    []string
}

// newFlags sets a command's flags to fields, whose values are known to be of the
// right type. Of several fields for one flag the last one counts, unless it takes
// several.
func newFlags(c *command, fields []field) (*flags, error) {
	set := flag.NewFlagSet(c.name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	for _, f := range c.flags {
		if err := f.Apply(set); err != nil {
			return nil, err
		}
	}
	for _, f := range fields {
		if err := set.Set(f.name, f.value); err != nil {
			return nil, err
		}
	}
	return &flags{command: c, values: urfave.NewContext(&urfave.App{}, set, nil), typed: map[string]string{}}, nil
}

func (f *flags) string(name string) string { return f.values.String(name) }
func (f *flags) bool(name string) bool     { return f.values.Bool(name) }
func (f *flags) int(name string) int       { return f.values.Int(name) }
func (f *flags) number(name string) float64 {
	return f.values.Float64(name)
}

// texts are the values of a flag that may be repeated.
func (f *flags) texts(name string) []string { return f.values.Value(name).([]string) }

// text is any flag's value as text.
func (f *flags) text(name string) string {
	if all, ok := f.values.Value(name).([]string); ok {
		return strings.Join(all, ",")
	}
	return fmt.Sprint(f.values.Value(name))
}

// has reports whether the command knows a flag.
func (f *flags) has(name string) bool { return f.command.flag(name) != nil }

// set reports whether a flag was given.
func (f *flags) set(name string) bool { return f.values.IsSet(name) }

// name is a flag as the user wrote it, else in its long form.
func (f *flags) name(flag string) string {
	if s, ok := f.typed[flag]; ok {
		return s
	}
	return "--" + flag
}

// events reports whether the command writes JSON events.
func (f *flags) events() bool { return f.command.events && f.bool("json") }

// arguments checks the number of arguments. want names them, such as "a file".
func (f *flags) arguments(n int, want string) error {
	switch {
	case len(f.args) < n:
		return report.Usagef("%s: %s is missing: sdgo %s", f.command.name, want, f.command.synopsis)
	case len(f.args) > n:
		hint := ""
		if f.has("prompt") {
			hint = "; put the prompt in quotes after -p"
		}
		return report.Usagef("%s: %q is one argument too many%s", f.command.name, f.args[n], hint)
	}
	return nil
}

// problems collects what is wrong with flags.
type problems struct {
	flags *flags
	all   []report.Problem
}

func (p *problems) add(flag, format string, args ...any) {
	p.all = append(p.all, report.Problem{Flag: p.flags.name(flag), Message: fmt.Sprintf(format, args...)})
}

// err is nil if there are none.
func (p *problems) err() error { return report.Usage(p.all...) }

// problem is what is wrong with one flag, as an error.
func (f *flags) problem(flag, format string, args ...any) error {
	p := problems{flags: f}
	p.add(flag, format, args...)
	return p.err()
}

// texts is the value of a flag that may be repeated. (urfave/cli's own splits
// values at commas, which are for regular expressions here.)
type texts []string

func (t *texts) Set(value string) error {
	*t = append(*t, strings.TrimSpace(value))
	return nil
}

func (t *texts) Get() any       { return []string(*t) }
func (t *texts) String() string { return strings.Join(*t, " ") }
