package sampler

import (
	"errors"
	"fmt"
	"math"
)

// ErrNoNoise is returned by a stochastic sampler without [Noise].
var ErrNoNoise = errors.New("this sampler draws random numbers and got no noise; give it one, or set Eta and SChurn to 0")

// ErrStuck is returned by an adaptive sampler whose error estimate stays above
// the tolerance, however short the step.
var ErrStuck = errors.New("the adaptive sampler makes no progress; try a higher RTol or a sampler with fixed steps")

// StepsError reports a number of steps that no schedule has.
type StepsError struct{ Steps, Max int }

func (e *StepsError) Error() string {
	return fmt.Sprintf("steps must be 1 to %d, got %d", e.Max, e.Steps)
}

// SigmasError reports noise levels that no sampler can follow.
type SigmasError struct {
	Index  int // which of the noise levels; -1: the list as a whole
	Sigma  float64
	Reason string // what it must be, as in "must be 1 or less"
}

func (e *SigmasError) Error() string {
	if e.Index < 0 {
		return e.Reason
	}
	return fmt.Sprintf("sigma %d is %g, %s", e.Index, e.Sigma, e.Reason)
}

// NonFiniteError reports that a model gave NaN or an infinity.
type NonFiniteError struct {
	Step, Of int     // counted from 1; Of is 0 in adaptive samplers
	Sigma    float64 // the noise level of the evaluation
	Index    int     // of the first such element
	Value    float32
}

func (e *NonFiniteError) Error() string {
	return fmt.Sprintf("%s (sigma %.4g): the model gave %v at element %d; a higher precision may help",
		stepName(e.Step, e.Of), e.Sigma, e.Value, e.Index)
}

// OptionError reports a field of [Options], or a parameter of a function, out
// of its range.
type OptionError struct {
	Field string
	Value float64
	Range string // what it must be, as in "0 to 1"
}

func (e *OptionError) Error() string {
	return fmt.Sprintf("%s must be %s, got %g", e.Field, e.Range, e.Value)
}

// LengthError reports a slice of the wrong length.
type LengthError struct {
	What      string
	Got, Want int
}

func (e *LengthError) Error() string {
	return fmt.Sprintf("%s must have %d values, got %d", e.What, e.Want, e.Got)
}

func (o *Options) check() error {
	for _, f := range []struct {
		name  string
		value float64
	}{{"Eta", o.Eta}, {"SNoise", o.SNoise}, {"SChurn", o.SChurn}, {"RTol", o.RTol}, {"ATol", o.ATol}, {"SNR", o.SNR}} {
		if !(f.value >= 0) || math.IsInf(f.value, 1) {
			return &OptionError{f.name, f.value, "finite and 0 or more"}
		}
	}
	if o.Order < 0 {
		return &OptionError{"Order", float64(o.Order), "0, for the usual order, or more"}
	}
	if o.Corrections < 0 {
		return &OptionError{"Corrections", float64(o.Corrections), "0 or more"}
	}
	return nil
}
