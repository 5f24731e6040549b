package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/sdgo/sdgo/sd"
)

// usageError is a command line that cannot be.
type usageError struct {
	text     string
	problems []problem // of single flags, if known
}

// problem is what is wrong with one flag.
type problem struct {
	Flag    string `json:"flag"`
	Message string `json:"message"`
}

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error {
	return &usageError{text: fmt.Sprintf(format, args...)}
}

func usageProblems(problems []problem) error {
	all := make([]string, len(problems))
	for i, p := range problems {
		all[i] = p.Flag + ": " + p.Message
	}
	return &usageError{strings.Join(all, "; "), problems}
}

// inFlags puts a request's problems in terms of the flags that caused them.
func (r *run) inFlags(err error, flags map[string]string) error {
	var e *sd.RequestError
	if !errors.As(err, &e) {
		return err
	}
	problems := make([]problem, len(e.Problems))
	for i, p := range e.Problems {
		problems[i] = problem{p.Field, p.Text}
		name, ok := flags[p.Field]
		if !ok {
			name, ok = r.hiresFlag(p.Field)
		}
		if ok {
			problems[i].Flag = r.flagName(name)
		}
	}
	return usageProblems(problems)
}

// interrupted is Ctrl-C, with what was done until then.
type interrupted struct{ done string }

func (e *interrupted) Error() string { return strings.TrimSuffix("interrupted; "+e.done, "; ") }

// errorEvent is an error under --json.
type errorEvent struct {
	Event    string    `json:"event"` // "error"
	Message  string    `json:"message"`
	ExitCode int       `json:"exit_code"`
	Problems []problem `json:"problems,omitempty"`
}

// maxMessage bounds an error's text, which may quote names of a file, in bytes.
const maxMessage = 8000

// finish reports err, if any, and returns the exit code.
func (r *run) finish(ctx context.Context, err error) int {
	if err == nil {
		return ExitOK
	}
	var usage *usageError
	var stop *interrupted
	e := errorEvent{Event: "error", ExitCode: ExitFailure}
	switch {
	case errors.As(err, &usage):
		e.ExitCode, e.Problems = ExitUsage, usage.problems
	case errors.As(err, &stop):
		e.ExitCode = ExitInterrupted
	case ctx.Err() != nil && errors.Is(err, context.Cause(ctx)):
		err, e.ExitCode = &interrupted{}, ExitInterrupted
	}
	e.Message = printable(cut(err.Error(), maxMessage) + memoryHint(err))
	if r.json {
		writeEvent(r.out, e)
	}
	fmt.Fprintln(r.err, "sdgo: "+e.Message)
	return e.ExitCode
}

// printable makes one line of text that is safe to show: names in hostile
// files may hold newlines and terminal escapes.
func printable(s string) string {
	var b strings.Builder
	for _, line := range strings.FieldsFunc(s, func(c rune) bool { return c == '\n' || c == '\r' }) {
		if b.Len() > 0 {
			b.WriteString("; ")
		}
		for _, c := range line {
			switch {
			case unicode.IsPrint(c):
				b.WriteRune(c)
			case c == '\t':
				b.WriteByte(' ')
			default:
				quoted := strconv.QuoteRuneToASCII(c)
				b.WriteString(quoted[1 : len(quoted)-1])
			}
		}
	}
	return b.String()
}
