// Package guard runs a caller's code: callbacks, and methods of interface values. If
// such code panics or ends its goroutine, that becomes an error.
package guard

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
)

// Error says that a caller's code panicked or ended its goroutine.
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

// Unwrap is the panic's value, if that is an error.
func (e *Error) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// maxText is the largest part of a panic's value that the error quotes, in bytes.
const maxText = 1000

// Call runs f and returns its error, or an [Error] if it panics or ends its goroutine.
// f runs in its own goroutine while Call waits, because after runtime.Goexit nothing
// else of a goroutine runs.
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
