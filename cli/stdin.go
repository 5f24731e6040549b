package cli

import (
	"context"
	"errors"
	"io"

	"github.com/sdgo/sdgo/internal/guard"
)

// stdin is standard input that Ctrl-C ends: a read that waits goes on without
// the program.
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
