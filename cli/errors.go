package cli

import (
	"errors"
	"fmt"

	"github.com/sdgo/sdgo/cli/output"
	"github.com/sdgo/sdgo/cli/report"
	"github.com/sdgo/sdgo/sd"
)

// inFlag says which flag named the place of an [output.Error]; other errors stay
// as they are.
func inFlag(flag string, err error) error {
	var e *output.Error
	switch {
	case !errors.As(err, &e):
		return err
	case e.Name != "":
		flag += " "
	default:
		flag += ": "
	}
	if e.Wrong {
		return report.Usagef("%s%v", flag, err)
	}
	return fmt.Errorf("%s%w", flag, err)
}

// stdoutTaken means that a picture and events would both go to standard output.
// There is no event of it.
func stdoutTaken(f *flags) error {
	return &report.UsageError{NoEvent: true,
		Text: fmt.Sprintf("%s - and %s both write to standard output", f.name("output"), f.name("json"))}
}

// memoryHint says which flags help where a device's memory ran out.
func memoryHint(err error) string {
	var e *sd.MemoryError
	if !errors.As(err, &e) {
		return ""
	}
	if e.Device == "cpu" {
		return "; try a smaller picture, fewer at once, or more memory"
	}
	return "; try --offload, --max-memory, smaller weights (--type q8_0), a smaller picture or --backend cpu"
}
