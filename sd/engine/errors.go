package engine

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sdgo/sdgo/cgo"
)

// ErrClosed is the error of a call to a closed model, and of a request that uses one.
var ErrClosed = errors.New("the model is closed")

// MemoryError says that a device ran out of memory, or, on the CPU, that the work
// would need more than this process may still use: of the machine's memory, its
// control group's or its resource limits'. The model remains usable, and a smaller
// request may fit. On a GPU [Options.Offload], a smaller [Options.Type] or another
// [Options.Backend] can help.
type MemoryError struct {
	Device string // as in Options.Backend; "" if unknown
	Needed uint64 // bytes; 0 if unknown
	Left   uint64 // bytes that were available; 0 if unknown
	err    error
}

func (e *MemoryError) Error() string {
	if e.Device == "" {
		return e.err.Error()
	}
	return fmt.Sprintf("%s: %v", e.Device, e.err)
}

func (e *MemoryError) Unwrap() error { return e.err }

// inMemory turns a device's out-of-memory error into a MemoryError.
func inMemory(err error, device cgo.DeviceInfo) error {
	var e *cgo.Error
	var known *MemoryError
	if !errors.As(err, &e) || e.Code != cgo.NoMemory || errors.As(err, &known) {
		return err
	}
	return &MemoryError{strings.ToLower(device.Name), e.Needed, e.Left, err}
}

// NotFiniteError says that a network computed NaN or infinity although its weights are
// finite. The error of damaged weights is a [convert.NotFiniteError].
type NotFiniteError struct {
	Network string // "the UNet", …
}

func (e *NotFiniteError) Error() string {
	return e.Network + " computed NaN or infinite values, although its weights are finite"
}

// ErrNilContext is the error of a call whose context is nil.
var ErrNilContext = errors.New("ctx must not be nil: use context.Background() if there is no other")
