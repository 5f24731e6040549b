package cli

import (
	"slices"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"
)

// arrange checks the command line as far as names, values and their types go,
// and brings it into the order that urfave/cli wants: command, flags,
// arguments. It notes how each flag was written.
func (r *run) arrange(app *urfave.App, args []string) ([]string, error) {
	if len(args) == 0 {
		return []string{app.Name}, nil
	}
	name, rest := args[0], args[1:]
	switch name {
	case "-h", "-help", "--help":
		return []string{app.Name}, nil
	case "-v", "-version", "--version":
		name = "version"
	case "help":
		if len(rest) == 0 {
			return []string{app.Name}, nil
		}
		name, rest = rest[0], []string{"--help"}
	}
	if name == "" {
		return nil, usagef("the command is missing (sdgo help lists all)")
	}
	if strings.HasPrefix(name, "-") {
		return nil, usagef("%s stands before the command, which comes first: sdgo txt2img %s …", name, name)
	}
	for _, c := range app.Commands {
		if c.Name == name {
			return r.arrangeCommand(app, c, rest)
		}
	}
	return nil, usagef("unknown command %q; %s (sdgo help lists all)", name, didYouMean(app.Commands, name))
}

func didYouMean(commands []*urfave.Command, name string) string {
	s := urfave.SuggestCommand(commands, name)
	return strings.ToLower(s[:1]) + s[1:]
}

func (r *run) arrangeCommand(app *urfave.App, c *urfave.Command, args []string) ([]string, error) {
	r.typed = map[string]string{}
	out := []string{app.Name, c.Name}
	var arguments []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			arguments = append(arguments, args[i+1:]...)
			break
		}
		if len(arg) < 2 || arg[0] != '-' {
			arguments = append(arguments, arg)
			continue
		}
		spelling, value, hasValue := strings.Cut(arg, "=")
		name := strings.TrimPrefix(strings.TrimPrefix(spelling, "-"), "-")
		if name == "h" || name == "help" {
			c.Action = func(c *urfave.Context) error { return writeCommandHelp(r.out, c.Command) }
			return []string{app.Name, c.Name}, nil
		}
		f := findFlag(c, name)
		if f == nil {
			return nil, usagef("unknown flag %s; did you mean %s? (sdgo %s --help lists all)",
				spelling, urfave.SuggestFlag(c.Flags, name, true), c.Name)
		}
		if _, isBool := f.(*urfave.BoolFlag); !isBool && !hasValue {
			if i++; i == len(args) || isFlagOf(c, args[i]) {
				return nil, usagef("%s: its value is missing", spelling)
			}
			value, hasValue = args[i], true
		}
		value, err := checkValue(f, spelling, value, hasValue)
		if err != nil {
			return nil, err
		}
		r.typed[f.Names()[0]] = spelling
		long := "--" + f.Names()[0] // urfave/cli refuses a mixture of forms
		if hasValue {
			long += "=" + value
		}
		out = append(out, long)
	}
	return append(append(out, "--"), arguments...), nil
}

func findFlag(c *urfave.Command, name string) urfave.Flag {
	for _, f := range c.Flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

// isFlagOf reports whether arg is a flag rather than a value that begins with
// a hyphen. (A prompt that is just "-W" can be written as -p=-W.)
func isFlagOf(c *urfave.Command, arg string) bool {
	name := strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-")
	return name != arg && findFlag(c, name) != nil
}

// checkValue checks the type of a flag's value, and returns it as urfave/cli is
// to read it, for which whole numbers with a leading zero are octal.
func checkValue(f urfave.Flag, spelling, value string, hasValue bool) (string, error) {
	var err error
	var want string
	text := value
	switch f.(type) {
	case *urfave.BoolFlag:
		if hasValue {
			_, err = strconv.ParseBool(value)
			want = "true or false"
		}
	case *urfave.IntFlag, *urfave.Int64Flag:
		var n int64
		n, err = strconv.ParseInt(value, 10, 64)
		text, want = strconv.FormatInt(n, 10), "a whole number"
	case *urfave.Float64Flag:
		_, err = strconv.ParseFloat(value, 64)
		want = "a number"
	}
	if err != nil {
		return "", usagef("%s: %q, %s wanted", spelling, value, want)
	}
	return text, nil
}

// flagName is a flag as the user wrote it, else in its long form.
func (r *run) flagName(name string) string {
	if s, ok := r.typed[name]; ok {
		return s
	}
	return "--" + name
}

// arguments checks the number of a command's arguments. want names them, such
// as "a file".
func arguments(c *urfave.Context, n int, want string) error {
	switch {
	case c.NArg() < n:
		return usagef("%s: %s is missing: sdgo %s", c.Command.Name, want, c.Command.UsageText)
	case c.NArg() > n:
		hint := ""
		if findFlag(c.Command, "prompt") != nil {
			hint = "; put the prompt in quotes behind -p"
		}
		return usagef("%s: %q is one argument too many%s", c.Command.Name, c.Args().Get(n), hint)
	}
	return nil
}
