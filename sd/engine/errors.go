package engine

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sdgo/sdgo/cgo"
)

// ErrClosed is what calls of a closed model return, and requests that use one.
var ErrClosed = errors.New("the model is closed")

// MemoryError says that a device's memory ran out, or on the CPU that what was to
// be done would take more than this process may still have: of the machine, its
// control group or its resource limits. The model can be used on: a smaller
// request may fit. On a GPU [Options.Offload], a smaller [Options.Type] and
// another [Options.Backend] help.
type MemoryError struct {
	Device string // as in Options.Backend; "" if it is not known which
	Wanted uint64 // bytes; 0 if it is not known how many
	Left   uint64 // bytes that there were; 0 if it is not known how many
	err    error
}

func (e *MemoryError) Error() string {
	if e.Device == "" {
		return e.err.Error()
	}
	return fmt.Sprintf("%s: %v", e.Device, e.err)
}

func (e *MemoryError) Unwrap() error { return e.err }

// inMemory turns a device's failure to find memory into a MemoryError.
func inMemory(err error, device cgo.DeviceInfo) error {
	var e *cgo.Error
	var known *MemoryError
	if !errors.As(err, &e) || e.Code != cgo.NoMemory || errors.As(err, &known) {
		return err
	}
	return &MemoryError{strings.ToLower(device.Name), e.Needed, e.Left, err}
}

// NotFiniteError says that a network whose weights are finite computed NaN or
// infinity. Damaged weights are a [convert.NotFiniteError].
type NotFiniteError struct {
	Network string // "the UNet", …
}

func (e *NotFiniteError) Error() string {
	return e.Network + " computed NaN or infinite values, although its weights are finite"
}

// ErrNilContext is what calls without a context return.
var ErrNilContext = errors.New("ctx must not be nil; context.Background() is the least")
