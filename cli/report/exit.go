package report

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Exit codes of a program.
const (
	ExitOK          = 0
	ExitFailure     = 1   // the command was right, but something went wrong
	ExitUsage       = 2   // the command line is wrong
	ExitInterrupted = 130 // as shells report a program ended by Ctrl-C
)

// UsageError is a wrong command line.
type UsageError struct {
	Text     string
	Problems []Problem // of single flags, if known

	// NoEvent: the error is no event, because standard output is for something
	// else.
	NoEvent bool
}

// Problem is what is wrong with one flag.
type Problem struct {
	Flag    string `json:"flag"`
	Message string `json:"message"`
}

func (e *UsageError) Error() string { return e.Text }

// Usagef is a [UsageError] with a text.
func Usagef(format string, args ...any) error {
	return &UsageError{Text: fmt.Sprintf(format, args...)}
}

// Usage is a [UsageError] with the problems of flags; nil if there are none.
func Usage(problems ...Problem) error {
	if len(problems) == 0 {
		return nil
	}
	all := make([]string, len(problems))
	for i, p := range problems {
		all[i] = p.Flag + ": " + p.Message
	}
	return &UsageError{Text: strings.Join(all, "; "), Problems: problems}
}

// Interrupted is Ctrl-C, with what was done until then.
type Interrupted struct{ Done string }

func (e *Interrupted) Error() string { return strings.TrimSuffix("interrupted; "+e.Done, "; ") }

// Stopped makes an [Interrupted] of an error that comes from ctx's end, with the
// number of things that are finished. Other errors, and nil, stay as they are.
func Stopped(ctx context.Context, err error, finished, of int, noun string) error {
	if !ended(ctx, err) {
		return err
	}
	return &Interrupted{fmt.Sprintf("%d of %s finished", finished, Plural(of, noun))}
}

// ended reports whether err comes from ctx's end: libraries return its cause, which
// may be the signal that ended it, or ctx.Err.
func ended(ctx context.Context, err error) bool {
	return ctx.Err() != nil && (errors.Is(err, context.Cause(ctx)) || errors.Is(err, ctx.Err()))
}

// Log is where warnings and errors go.
type Log struct {
	Stderr io.Writer
	Events io.Writer // nil if there are no events
}

// Warning is a warning as an event.
type Warning struct {
	Message string `json:"message"`
}

// Failure is an error as an event.
type Failure struct {
	Message  string    `json:"message"`
	ExitCode int       `json:"exit_code"`
	Problems []Problem `json:"problems,omitempty"`
}

// maxMessage bounds the text of an error, which may quote names of a file, in
// bytes.
const maxMessage = 8000

// Warn shows what the user should know although nothing fails.
func (l Log) Warn(text string) {
	if l.Events != nil {
		Event(l.Events, "warning", Warning{text})
		return
	}
	fmt.Fprintln(l.Stderr, "sdgo: warning: "+Printable(text))
}

// Finish reports the error that a command ended with, if any, in one line, and
// returns the exit code. hint follows the error's text.
func (l Log) Finish(ctx context.Context, err error, hint string) int {
	if err == nil {
		return ExitOK
	}
	var usage *UsageError
	var stop *Interrupted
	f := Failure{ExitCode: ExitFailure}
	switch {
	case errors.As(err, &usage):
		f.ExitCode, f.Problems = ExitUsage, usage.Problems
	case errors.As(err, &stop):
		f.ExitCode = ExitInterrupted
	case ended(ctx, err):
		err, f.ExitCode = &Interrupted{}, ExitInterrupted
	}
	f.Message = Printable(Cut(err.Error(), maxMessage) + hint)
	if l.Events != nil && (usage == nil || !usage.NoEvent) {
		Event(l.Events, "error", f)
	}
	fmt.Fprintln(l.Stderr, "sdgo: "+f.Message)
	return f.ExitCode
}
