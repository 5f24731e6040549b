package sampler

import (
	"errors"
	"fmt"
	"math"
)

// ErrNoNoise is returned by a stochastic sampler that was given no [Noise].
var ErrNoNoise = errors.New("this sampler draws random numbers and was given no noise; give one or set Eta and SChurn to 0")

// StepsError reports a number of steps that no schedule can have.
type StepsError struct {
	Steps, Max int // Max is 0 where there is no upper bound
}

func (e *StepsError) Error() string {
	if e.Max > 0 {
		return fmt.Sprintf("%d steps, 1 to %d wanted", e.Steps, e.Max)
	}
	return fmt.Sprintf("%d steps, 1 or more wanted", e.Steps)
}

// SigmasError reports noise levels that no sampler can follow.
type SigmasError struct {
	Index  int // which of the sigmas; -1: the list as a whole
	Sigma  float64
	Reason string
}

func (e *SigmasError) Error() string {
	if e.Index < 0 {
		return e.Reason
	}
	return fmt.Sprintf("sigma %d is %g: %s", e.Index, e.Sigma, e.Reason)
}

// NonFiniteError reports that a model gave NaN or an infinity.
type NonFiniteError struct {
	Step, Of int     // counting from 1; Of is 0 in adaptive samplers
	Sigma    float64 // the noise level that the model was asked about
	Index    int     // the first bad element
	Value    float32
}

func (e *NonFiniteError) Error() string {
	return fmt.Sprintf("%s (sigma %.4g): the model gave %v at element %d; a higher precision may help",
		stepName(e.Step, e.Of), e.Sigma, e.Value, e.Index)
}

// OptionError reports an option out of its range.
type OptionError struct {
	Field string
	Value float64
	Want  string
}

func (e *OptionError) Error() string {
	return fmt.Sprintf("option %s is %g, %s wanted", e.Field, e.Value, e.Want)
}

// LengthError reports slices that should be as long as each other.
type LengthError struct {
	What      string
	Got, Want int
}

func (e *LengthError) Error() string {
	return fmt.Sprintf("%s has %d values, %d wanted", e.What, e.Got, e.Want)
}

// CheckSigmas returns a [*SigmasError] unless sigmas are at least two finite
// non-negative numbers that fall strictly.
func CheckSigmas(sigmas []float64) error {
	if len(sigmas) < 2 {
		return &SigmasError{Index: -1, Sigma: math.NaN(), Reason: fmt.Sprintf("%d noise levels, at least 2 wanted", len(sigmas))}
	}
	for i, s := range sigmas {
		switch {
		case !(s >= 0) || math.IsInf(s, 1):
			return &SigmasError{i, s, "a finite number, 0 or more, wanted"}
		case i > 0 && !(s < sigmas[i-1]):
			return &SigmasError{i, s, fmt.Sprintf("less than the one before, %g, wanted", sigmas[i-1])}
		}
	}
	return nil
}

func (o *Options) check() error {
	for _, f := range []struct {
		name  string
		value float64
	}{{"Eta", o.Eta}, {"SNoise", o.SNoise}, {"SChurn", o.SChurn}, {"RTol", o.RTol}, {"ATol", o.ATol}} {
		if !(f.value >= 0) || math.IsInf(f.value, 1) {
			return &OptionError{f.name, f.value, "a finite number, 0 or more,"}
		}
	}
	if o.Order < 0 {
		return &OptionError{"Order", float64(o.Order), "0 (the usual) or more"}
	}
	return nil
}
