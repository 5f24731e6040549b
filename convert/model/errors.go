package model

import (
	"errors"
	"fmt"
	"os"
)

// ErrUnrecognized is in the error for a file that could be read, but is no model
// of a supported kind.
var ErrUnrecognized = errors.New("not a supported model")

// NotFiniteError says that a tensor has elements that are NaN or infinite.
type NotFiniteError struct {
	Tensor string // its name
}

func (e *NotFiniteError) Error() string {
	return fmt.Sprintf("tensor %q has elements that are NaN or infinite: the file is damaged", e.Tensor)
}

// WithoutPath drops the path that errors of the operating system begin with: the
// caller adds the model's.
func WithoutPath(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// Recovered turns a panic while a file is read, which is a fault of this module,
// into an error of that file: what is in a file must not end the program. It is
// deferred where files come in.
func Recovered(path string, err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%s: reading it failed: %v; this is a fault of the program, please report it with the file", path, r)
	}
}
