package sd

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sdgo/sdgo/cgo"
)

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
	return &MemoryError{strings.ToLower(device.Name), e.Wanted, e.Left, err}
}
