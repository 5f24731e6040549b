package cli

import (
	"context"
	"io"
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
		n, err := s.in.Read(buffer)
		done <- result{n, err}
	}()
	select {
	case r := <-done:
		return copy(p, buffer[:r.n]), r.err
	case <-s.ctx.Done():
		return 0, context.Cause(s.ctx)
	}
}
