package request

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Error lists everything that is wrong with a request.
type Error struct {
	Problems []Problem
}

// Problem is an invalid field of a request.
type Problem struct {
	Field string // the field's name in [Request], such as "Hires[0].Scale"
	Text  string // what is wrong and what would be right
}

func (p Problem) String() string { return p.Field + ": " + p.Text }

func (e *Error) Error() string {
	all := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		all[i] = p.String()
	}
	return strings.Join(all, "; ")
}

// maxProblem is the largest size of a problem's text, in bytes.
const maxProblem = 2000

// Problemf is an error with one problem.
func Problemf(field, format string, args ...any) *Error {
	var e Error
	e.Add(field, format, args...)
	return &e
}

// Add adds a problem.
func (e *Error) Add(field, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if len(text) > maxProblem { // it may quote what is wrong
		text = strings.ToValidUTF8(text[:maxProblem], "") + "…"
	}
	e.Problems = append(e.Problems, Problem{field, text})
}

// Join adds the problems of an error, except for fields that already have one.
func (e *Error) Join(err error) {
	var other *Error
	switch {
	case err == nil:
	case errors.As(err, &other):
		known := e.Problems
		for _, p := range other.Problems {
			if !slices.ContainsFunc(known, func(k Problem) bool { return k.Field == p.Field }) {
				e.Problems = append(e.Problems, p)
			}
		}
	default:
		e.Add("Request", "%v", err)
	}
}

// Err is e, or nil if there are no problems.
func (e *Error) Err() error {
	if len(e.Problems) == 0 {
		return nil
	}
	return e
}

// Rename returns an error with the problems moved to another field.
func Rename(err error, field string) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	moved := &Error{Problems: slices.Clone(e.Problems)}
	for i := range moved.Problems {
		moved.Problems[i].Field = field
	}
	return moved
}

func checkRange(e *Error, field string, v, low, high int) {
	if v < low || v > high {
		e.Add(field, "must be %d to %d, got %d", low, high, v)
	}
}

// checkFloat checks a number; NaN is in no range.
func checkFloat(e *Error, field string, v, low, high float64) {
	if !(v >= low && v <= high) {
		e.Add(field, "must be %g to %g, got %g", low, high, v)
	}
}
