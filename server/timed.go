package server

import (
	"net/http"
	"time"
)

// timed gives clients a time to send a request's body, and to read each piece of a reply,
// which may take as long as its job. net/http takes the first deadline away when the
// body has been read.
func timed(limit time.Duration, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w) // tests' recorders have no deadlines
		_ = c.SetWriteDeadline(time.Time{})
		if r.Body != nil && r.Body != http.NoBody {
			_ = c.SetReadDeadline(time.Now().Add(limit))
		}
		next.ServeHTTP(&timedWriter{w, c}, r)
	})
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
