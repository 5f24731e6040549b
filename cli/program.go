package cli

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/sdgo/sdgo/cli/report"
	"github.com/sdgo/sdgo/internal/guard"
	"github.com/sdgo/sdgo/sd/picture"
)

// program is what commands see of the process that they run in.
type program struct {
	stdin  io.Reader
	stdout *checkedWriter
	stderr io.Writer

	stdoutIsTerminal, stderrIsTerminal bool

	getenv func(name string) string
	now    func() time.Time
}

func newProgram(ctx context.Context, in io.Reader, stdout, stderr io.Writer) *program {
	return &program{
		stdin:            &stdin{ctx, in},
		stdout:           &checkedWriter{w: stdout},
		stderr:           stderr,
		stdoutIsTerminal: isTerminal(stdout),
		stderrIsTerminal: isTerminal(stderr),
		getenv:           os.Getenv,
		now:              time.Now,
	}
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// log is where a command's warnings and errors go.
func (p *program) log(f *flags) report.Log {
	log := report.Log{Stderr: p.stderr}
	if f.events() {
		log.Events = p.stdout
	}
	return log
}

// style is how a command reports progress, and where.
func (p *program) style(f *flags) (report.Style, io.Writer) {
	switch {
	case f.events():
		return report.Events, p.stdout
	case f.bool("quiet"):
		return report.Silent, io.Discard
	case p.stderrIsTerminal:
		return report.Bars, p.stderr
	}
	return report.Lines, p.stderr
}

// reporter reports a command's progress.
func (p *program) reporter(f *flags) report.Reporter {
	style, w := p.style(f)
	return report.New(style, w, p.now)
}

// names is where a command writes the names of its files: standard output, for
// scripts. With events, or on a terminal, it is nowhere: the report names them.
func (p *program) names(f *flags) io.Writer {
	if f.events() || p.stdoutIsTerminal {
		return io.Discard
	}
	return p.stdout
}

// since is the time since start.
func (p *program) since(start time.Time) time.Duration { return p.now().Sub(start) }

// open reads a picture; "-" is standard input.
func (p *program) open(name string) (image.Image, error) {
	if name != "-" {
		return picture.Open(name)
	}
	img, err := picture.Read(p.stdin)
	if err != nil {
		return nil, fmt.Errorf("-: %w", err)
	}
	return img, nil
}

// checkedWriter remembers the first error, so that a full disk is reported once,
// at the end.
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

// stdin is standard input whose reads end with ctx; one that is blocked then is
// left behind.
type stdin struct {
	ctx context.Context
	in  io.Reader
}

func (s *stdin) Read(p []byte) (int, error) {
	if s.ctx.Err() != nil {
		return 0, context.Cause(s.ctx)
	}
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	buffer := make([]byte, min(len(p), 1<<16)) // its own: p is the caller's afterwards
	go func() {
		n := 0
		err := guard.Call("standard input", func() (err error) {
			n, err = s.in.Read(buffer)
			return err
		})
		if n < 0 || n > len(buffer) {
			n, err = 0, errors.New("standard input: a count of bytes that cannot be")
		}
		done <- result{n, err}
	}()
	select {
	case r := <-done:
		return copy(p, buffer[:r.n]), r.err
	case <-s.ctx.Done():
		return 0, context.Cause(s.ctx)
	}
}
