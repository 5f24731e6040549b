// Package guard runs code of others: callbacks, and values of interfaces that a
// caller hands in. What such code does becomes an error, and no more.
package guard

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
)

// Error says that code of others panicked, or ended its goroutine.
type Error struct {
	What  string // whose code it was: "OnEvent", "the picture"
	Value any    // of the panic; nil after runtime.Goexit
	text  string
	place string // of the panic: function, file and line
}

func (e *Error) Error() string {
	if e.text == "" {
		return e.What + " ended its goroutine (runtime.Goexit)"
	}
	return fmt.Sprintf("%s panicked: %s%s", e.What, e.text, e.place)
}

// Unwrap is the panic's value, where that is an error.
func (e *Error) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// maxText bounds what is told of a panic's value, in bytes.
const maxText = 1000

// Call runs f and returns its error, or an [Error] if it panics or ends its
// goroutine. It runs in a goroutine of its own, while the caller waits: nothing
// else could go on after runtime.Goexit.
func Call(what string, f func() error) error {
	var err error = &Error{What: what}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if v := recover(); v != nil {
				err = newError(what, v)
			}
		}()
		err = f()
	}()
	<-done
	return err
}

// newError describes a panic: called from the function that has recovered.
func newError(what string, value any) *Error {
	text := strings.ToValidUTF8(fmt.Sprint(value), "\uFFFD")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + " …"
	}
	return &Error{What: what, Value: value, text: text, place: place()}
}

// place is where the panic in progress began.
func place() string {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs[:])])
	panicked := false
	for {
		f, more := frames.Next()
		own := strings.HasPrefix(f.Function, "runtime.")
		if panicked && !own {
			return fmt.Sprintf(" (%s, %s:%d)", f.Function, filepath.Base(f.File), f.Line)
		}
		panicked = panicked || f.Function == "runtime.gopanic"
		if !more {
			return ""
		}
	}
}
