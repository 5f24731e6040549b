// Package cli is the command line of sdgo. Each command has a file of its own: it
// reads flags into a request, calls the library, and hands what comes back to
// packages output (files) and report (progress, events, errors).
//
// [Run] does everything that the program does, without touching the process:
// main passes it the arguments and streams and exits with what it returns.
package cli

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/sdgo/sdgo/cli/report"
)

// Exit codes of the program.
const (
	ExitOK          = report.ExitOK
	ExitFailure     = report.ExitFailure     // the command was right, but something went wrong
	ExitUsage       = report.ExitUsage       // the command line is wrong
	ExitInterrupted = report.ExitInterrupted // as shells report a program ended by Ctrl-C
)

// commands are all commands, in the order of the help.
func commands() []*command {
	return []*command{
		txt2imgCommand(),
		sampleCommand(),
		forwardCommand(),
		img2imgCommand(),
		inpaintCommand(),
		interpolateCommand(),
		directionCommand(),
		upscaleCommand(),
		preprocessCommand(),
		purifyCommand(),
		batchCommand(),
		serveCommand(),
		modelsCommand(),
		pullCommand(),
		convertCommand(),
		trainUNetCommand(),
		trainClassifierCommand(),
		trainLoRACommand(),
		trainAdapterCommand(),
		trainEmbeddingCommand(),
		infoCommand(),
		samplersCommand(),
		sigmasCommand(),
		benchCommand(),
		devicesCommand(),
		workerCommand(),
		versionCommand(),
	}
}

// Run runs the command line args, which don't include the program's name, and
// returns the exit code. Cancelling ctx is Ctrl-C. Results go to stdout;
// progress and errors go to stderr, each error in one line.
func Run(ctx context.Context, args []string, in io.Reader, stdout, stderr io.Writer) int {
	log := report.Log{Stderr: stderr}
	if ctx == nil {
		return log.Finish(context.Background(), errors.New("ctx must not be nil; context.Background() is the least"), "")
	}
	p := newProgram(ctx, in, stdout, stderr)
	c, f, err := parse(commands(), args)
	if err == nil {
		log = p.log(f)
		findModels(p, f)
		run := func() error { return c.run(ctx, p, f) }
		if c.patient {
			err = run()
		} else {
			err = abandonable(ctx, run)
		}
	}
	if err == nil {
		err = p.stdout.err
	}
	return log.Finish(ctx, err, memoryHint(err))
}

// patience is how long a command may continue after ctx is done, to put away what
// it has: computing stops in milliseconds. One that waits longer for a file, such
// as a pipe that nobody writes to or a network share that is gone, is left behind.
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
