package server

import (
	"io"
	"net/http"
	"time"
)

// timed gives clients a time to send a request's body, and to read a reply. When the
// body is read the connection has no deadline any more: http.Server's own would end the
// context of a request whose reply takes longer, and its job with it.
func timed(limit time.Duration, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w) // tests' recorders have no deadlines
		_ = c.SetWriteDeadline(time.Time{})
		if r.Body != nil && r.Body != http.NoBody {
			_ = c.SetReadDeadline(time.Now().Add(limit))
			r.Body = &timedBody{r.Body, c}
		}
		next.ServeHTTP(&timedWriter{w, c}, r)
	})
}

// timedBody takes the deadline away at its end.
type timedBody struct {
	io.ReadCloser
	c *http.ResponseController
}

func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		_ = b.c.SetReadDeadline(time.Time{})
	}
	return n, err
}

// How slowly a client may read.
const (
	writeTime = 30 * time.Second
	writeRate = 32 << 10 // bytes a second
)

// timedWriter gives each piece of a reply its time.
type timedWriter struct {
	http.ResponseWriter
	c *http.ResponseController
}

func (w *timedWriter) allow(bytes int) {
	_ = w.c.SetWriteDeadline(time.Now().Add(writeTime + time.Duration(bytes)*time.Second/writeRate))
}

func (w *timedWriter) WriteHeader(status int) {
	w.allow(0)
	w.ResponseWriter.WriteHeader(status)
}

func (w *timedWriter) Write(p []byte) (int, error) {
	w.allow(len(p))
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *timedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
