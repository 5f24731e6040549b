// Package cgo is the thin binding of sdgo's C++ core: devices, nets, values.
//
// It converts Go values to C ones and C errors to Go errors, and does nothing else:
// package sd knows what a net is for. Bytes bound to a net on the CPU are used in
// place, so they must not change until [Net.Close].
package cgo

// #cgo CPPFLAGS: -I${SRCDIR}/../csrc
// #include <stdlib.h>
// #include "sdgo.h"
import "C"

import (
	"context"
	"fmt"

	_ "github.com/sdgo/sdgo/csrc" // the core itself
)

// Error is a failure of the core.
type Error struct {
	Code    Code
	Needed  uint64 // bytes, with NoMemory; 0 if unknown
	Left    uint64 // bytes that were left, where the host's memory ran out; 0 if unknown
	Message string // one line
}

// Code says what kind of failure an [Error] is.
type Code int

// The kinds of failure, as in sdgo.h.
const (
	Invalid  Code = C.SDGO_INVALID   // an argument the caller could have checked
	NoMemory Code = C.SDGO_NO_MEMORY // host or device memory ran out
	Device   Code = C.SDGO_DEVICE    // the device failed
)

func (e *Error) Error() string { return e.Message }

// newError converts a C error to a Go error. A cancelled run's becomes the context's
// own error.
func newError(ctx context.Context, e *C.sdgo_error) error {
	if e.code == C.SDGO_CANCELLED && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return &Error{Code: Code(e.code), Needed: uint64(e.needed), Message: C.GoString(&e.message[0])}
}

func invalid(format string, args ...any) error {
	return &Error{Code: Invalid, Message: fmt.Sprintf(format, args...)}
}
