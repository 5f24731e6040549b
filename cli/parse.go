package cli

import (
	"context"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/cli/report"
	"github.com/sdgo/sdgo/sd"
)

// parse finds the command of a command line and reads its flags, which may stand
// among the arguments. Names, values and their types are checked. Where help is
// asked for, the command is one that shows it.
func parse(all []*command, args []string) (*command, *flags, error) {
	if len(args) == 0 {
		return helpOf(all)
	}
	name, rest := args[0], args[1:]
	switch name {
	case "-h", "-help", "--help":
		return helpOf(all)
	case "-v", "-version", "--version":
		name = "version"
	case "help":
		if len(rest) == 0 {
			return helpOf(all)
		}
		name, rest = rest[0], append(rest[1:len(rest):len(rest)], "--help")
	}
	if name == "" {
		return nil, nil, report.Usagef("the command is missing (sdgo help lists all)")
	}
	if strings.HasPrefix(name, "-") {
		return nil, nil, report.Usagef("%s comes before the command, which must be first: sdgo txt2img %s …", name, name)
	}
	if len(rest) > 0 { // of two words
		for _, c := range all {
			if c.name == name+" "+rest[0] {
				return parseCommand(c, rest[1:])
			}
		}
	}
	for _, c := range all {
		if c.name == name {
			return parseCommand(c, rest)
		}
	}
	if kinds := kindsOf(all, name); kinds != nil {
		return nil, nil, report.Usagef("%s: what to %s must be one of %s (sdgo help %s %s)", name, name, strings.Join(kinds, ", "), name, kinds[0])
	}
	return nil, nil, report.Usagef("unknown command %q; %s (sdgo help lists all)", name, didYouMean(all, name))
}

// kindsOf are the second words of commands of two.
func kindsOf(all []*command, name string) (kinds []string) {
	for _, c := range all {
		if kind, ok := strings.CutPrefix(c.name, name+" "); ok {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

// helpOf shows all commands.
func helpOf(all []*command) (*command, *flags, error) {
	c := &command{run: func(_ context.Context, p *program, _ *flags) error { return writeHelp(p.stdout, sd.Version, all) }}
	return c, &flags{command: c}, nil
}

// helpOfCommand shows one command.
func helpOfCommand(of *command) (*command, *flags, error) {
	c := &command{run: func(_ context.Context, p *program, _ *flags) error { return writeCommandHelp(p.stdout, of) }}
	return c, &flags{command: c}, nil
}

func didYouMean(all []*command, name string) string {
	var theirs []*urfave.Command
	for _, c := range all {
		theirs = append(theirs, &urfave.Command{Name: c.name})
	}
	s := urfave.SuggestCommand(theirs, name)
	return strings.ToLower(s[:1]) + s[1:]
}

func parseCommand(c *command, args []string) (*command, *flags, error) {
	typed := map[string]string{}
	var fields []field
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
		name := flagName(spelling)
		if name == "h" || name == "help" {
			return helpOfCommand(c)
		}
		f := c.flag(name)
		if f == nil {
			return nil, nil, report.Usagef("unknown flag %s; did you mean %s? (sdgo %s --help lists all)",
				spelling, urfave.SuggestFlag(c.flags, name, true), c.name)
		}
		if _, isBool := f.(*urfave.BoolFlag); isBool && !hasValue {
			value = "true"
		} else if !hasValue {
			// (A prompt that is just "-W" can be written as -p=-W.)
			if i++; i == len(args) || flagName(args[i]) != args[i] && c.flag(flagName(args[i])) != nil {
				return nil, nil, report.Usagef("%s: its value is missing", spelling)
			}
			value = args[i]
		}
		value, err := checkValue(f, spelling, value)
		if err != nil {
			return nil, nil, err
		}
		typed[f.Names()[0]] = spelling
		fields = append(fields, field{f.Names()[0], value})
	}
	f, err := newFlags(c, fields)
	if err != nil {
		return nil, nil, report.Usagef("%v", err) // all values were checked, so this should not happen
	}
	f.typed, f.args = typed, arguments
	return c, f, nil
}

// flagName takes the hyphens off a flag.
func flagName(arg string) string {
	return strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-")
}

// checkValue checks the type of a flag's value, and returns it as package flag
// reads it, for which whole numbers with a leading zero are octal.
func checkValue(f urfave.Flag, spelling, value string) (string, error) {
	var err error
	var want string
	text := value
	switch f.(type) {
	case *urfave.BoolFlag:
		_, err = strconv.ParseBool(value)
		want = "true or false"
	case *urfave.IntFlag, *urfave.Int64Flag:
		var n int64
		n, err = strconv.ParseInt(value, 10, 64)
		text, want = strconv.FormatInt(n, 10), "a whole number"
	case *urfave.Float64Flag:
		_, err = strconv.ParseFloat(value, 64)
		want = "a number"
	}
	if err != nil {
		return "", report.Usagef("%s: must be %s, got %q", spelling, want, value)
	}
	return text, nil
}
