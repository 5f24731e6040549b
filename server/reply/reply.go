// Package reply writes what the server answers: JSON, server-sent events, and replies
// that come late, which are kept alive meanwhile.
package reply

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sdgo/sdgo/server/loose"
)

// JSON writes a value. One that cannot be written is a mistake in the server.
func JSON(w http.ResponseWriter, status int, v any) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		status = http.StatusInternalServerError
		b.Reset()
		b.WriteString(`{"error":{"code":"internal","message":"the reply cannot be written"}}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

// TooLarge is the error of a body that is larger than the server takes.
type TooLarge struct{ Limit int64 }

func (e *TooLarge) Error() string {
	return fmt.Sprintf("the request must be at most %d MB", e.Limit>>20)
}

// Body reads a request's body, whose size was bounded before.
func Body(r *http.Request) ([]byte, error) {
	data, err := io.ReadAll(r.Body)
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return nil, &TooLarge{large.Limit}
	}
	if err != nil {
		return nil, errors.New("the request ended before its body did")
	}
	return data, nil
}

// Object reads a request's body as a JSON object.
func Object(r *http.Request) (*loose.Object, []byte, error) {
	data, err := Body(r)
	if err != nil {
		return nil, nil, err
	}
	o, err := loose.Parse(data)
	return o, data, err
}

// Keep says how a late reply is kept alive.
type Keep struct {
	Hold  time.Duration // nothing is sent for so long, so that early errors have their status; 0 is for ever
	Every time.Duration // then white space is sent so often, which JSON allows at its beginning
}

// Late writes the JSON value that work returns. If that takes longer than k.Hold, the
// reply begins with status 200 and spaces. An error that comes after that aborts the
// reply, so that the client does not take it for a result; write writes earlier ones.
func Late[T any](w http.ResponseWriter, r *http.Request, k Keep, work func(ctx context.Context) (T, error), write func(err error)) {
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		var out result
		defer func() {
			if v := recover(); v != nil {
				out.err = fmt.Errorf("an error of the server")
			}
			done <- out
		}()
		out.v, out.err = work(r.Context())
	}()
	var hold <-chan time.Time
	if k.Hold > 0 {
		t := time.NewTimer(k.Hold)
		defer t.Stop()
		hold = t.C
	}
	select {
	case out := <-done:
		if out.err != nil {
			write(out.err)
			return
		}
		JSON(w, http.StatusOK, out.v)
		return
	case <-hold:
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	tick := time.NewTicker(max(k.Every, time.Millisecond))
	defer tick.Stop()
	for {
		_, _ = w.Write([]byte(" "))
		_ = http.NewResponseController(w).Flush()
		select {
		case out := <-done:
			if out.err != nil {
				panic(http.ErrAbortHandler)
			}
			e := json.NewEncoder(w)
			e.SetEscapeHTML(false)
			if e.Encode(out.v) != nil {
				panic(http.ErrAbortHandler)
			}
			return
		case <-tick.C:
		}
	}
}

// Events is a stream of server-sent events.
type Events struct {
	w http.ResponseWriter
	c *http.ResponseController
}

// NewEvents begins a stream. Nothing is said of when it ends.
func NewEvents(w http.ResponseWriter) *Events {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx
	w.WriteHeader(http.StatusOK)
	e := &Events{w, http.NewResponseController(w)}
	_ = e.c.Flush()
	return e
}

// Send sends an event; name and id may be empty.
func (e *Events) Send(name, id string, v any) error {
	var b bytes.Buffer
	if id != "" {
		fmt.Fprintf(&b, "id: %s\n", id)
	}
	if name != "" {
		fmt.Fprintf(&b, "event: %s\n", name)
	}
	b.WriteString("data: ")
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	b.WriteString("\n")
	return e.write(b.Bytes())
}

// Text sends data as it is, in one line.
func (e *Events) Text(data string) error {
	return e.write([]byte("data: " + strings.ReplaceAll(data, "\n", " ") + "\n\n"))
}

// Alive sends a comment, which clients pass over.
func (e *Events) Alive() error { return e.write([]byte(": keep-alive\n\n")) }

func (e *Events) write(b []byte) error {
	if _, err := e.w.Write(b); err != nil {
		return err
	}
	return e.c.Flush()
}
