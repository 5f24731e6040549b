// Package cli is the command line of sdgo: flags, files, progress and exit
// codes. Each command has a file of its own.
//
// [Run] does everything that the program does, without touching the process:
// main passes it the arguments and streams and exits with what it returns.
package cli

import (
	"context"
	"errors"
	"image"
	"io"
	"os"
	"time"

	urfave "github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/sdgo/sdgo/sd"
)

// Exit codes of the program.
const (
	ExitOK          = 0
	ExitFailure     = 1   // the command was right, but something went wrong
	ExitUsage       = 2   // the command line is wrong
	ExitInterrupted = 130 // as shells report a program ended by Ctrl-C
)

// Run runs the command line args, which don't include the program's name, and
// returns the exit code. Cancelling ctx is Ctrl-C. Results go to stdout;
// progress and errors go to stderr, each error in one line.
func Run(ctx context.Context, args []string, in io.Reader, stdout, stderr io.Writer) int {
	r := &run{in: &stdin{ctx, in}, out: &checkedWriter{w: stdout}, err: stderr}
	if ctx == nil {
		return r.finish(context.Background(), errors.New("ctx must not be nil; context.Background() is the least"))
	}
	app := r.app()
	args, err := r.arrange(app, args)
	if err == nil {
		err = abandonable(ctx, func() error { return app.RunContext(ctx, args) })
	}
	if err == nil && r.out.err != nil {
		err = r.out.err
	}
	return r.finish(ctx, err)
}

// patience is how long a command may go on after ctx is done, to put away what it
// has: computing stops in milliseconds. One that waits for a file for longer, a pipe
// that nobody writes to or a network share that is gone, is left to itself.
const patience = 1500 * time.Millisecond

func abandonable(ctx context.Context, command func() error) error {
	done := make(chan error, 1)
	go func() { done <- command() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		return context.Cause(ctx)
	}
}

// run is one run of the program.
type run struct {
	in    io.Reader
	out   *checkedWriter
	err   io.Writer
	typed map[string]string // a flag's name → as the user wrote it
	json  bool              // report the error as an event, too

	// open reads the picture in a file; nil is package picture's.
	open func(name string) (image.Image, error)
}

func (r *run) app() *urfave.App {
	return &urfave.App{
		Name:                      "sdgo",
		Usage:                     "pictures from text with Stable Diffusion models",
		Version:                   sd.Version,
		HideHelp:                  true, // help.go
		HideVersion:               true,
		Writer:                    r.out,
		ErrWriter:                 r.err,
		ExitErrHandler:            func(*urfave.Context, error) {}, // errors.go
		OnUsageError:              usageFromFlags,
		DisableSliceFlagSeparator: true, // commas belong to regular expressions
		Action:                    func(c *urfave.Context) error { return writeAppHelp(r.out, c.App) },
		Commands: []*urfave.Command{
			r.txt2img(),
			r.img2img(),
			r.inpaint(),
			r.interpolate(),
			r.upscale(),
			r.batch(),
			r.convert(),
			r.info(),
			r.samplers(),
			r.sigmas(),
			r.bench(),
			r.devices(),
			r.version(),
		},
	}
}

// usageFromFlags takes over what urfave/cli says of flags that it can't parse.
// arrange has checked them all, so nothing should come here.
func usageFromFlags(_ *urfave.Context, err error, _ bool) error {
	return usagef("%v", err)
}

// isTerminal reports whether a stream is a terminal.
func isTerminal(stream any) bool {
	if c, ok := stream.(*checkedWriter); ok {
		stream = c.w
	}
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// checkedWriter remembers the first error, so that a full disk behind a
// redirected output is reported once, at the end.
type checkedWriter struct {
	w   io.Writer
	err error
}

func (c *checkedWriter) Write(b []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.w.Write(b)
	c.err = err
	return n, err
}
