// Package optim has what turns gradients into changes of weights: optimizers, clipping,
// averages of weights, schedules of learning rates.
//
// Weights, gradients and states are float32 slices, one for each tensor, in an order that
// stays. The arithmetic is that of PyTorch's implementations. Results do not depend on the
// number of threads: sums are of blocks of a fixed size, added in their order.
package optim

import (
	"fmt"
	"math"
)

// Optimizer changes weights by their gradients. It keeps a state for each weight, made by
// its first step.
type Optimizer interface {
	// Step changes weights by gradients of the same lengths; rate is the learning rate.
	// It may change the gradients.
	Step(rate float64, weights, gradients [][]float32) error

	// State is what a checkpoint keeps. Its slices are the optimizer's own.
	State() State

	// Restore continues from a checkpoint of an optimizer with the same weights.
	Restore(State) error
}

// State is an optimizer's state: numbers, and slices as long as the weights, by name.
type State struct {
	Numbers map[string]float64
	Slices  map[string][][]float32
}

// restore copies named slices of a state to dst, which has their lengths.
func (s State) restore(name string, dst [][]float32) error {
	src := s.Slices[name]
	if err := sameLengths(name, dst, src); err != nil {
		return err
	}
	for i := range dst {
		copy(dst[i], src[i])
	}
	return nil
}

// like makes slices of zeros of the same lengths.
func like(all [][]float32) [][]float32 {
	out := make([][]float32, len(all))
	for i, s := range all {
		out[i] = make([]float32, len(s))
	}
	return out
}

func sameLengths(what string, weights, other [][]float32) error {
	if len(weights) != len(other) {
		return fmt.Errorf("%s must be %d slices, got %d", what, len(weights), len(other))
	}
	for i := range weights {
		if len(weights[i]) != len(other[i]) {
			return fmt.Errorf("%s[%d] must have %d elements, got %d", what, i, len(weights[i]), len(other[i]))
		}
	}
	return nil
}

// within returns an error unless low <= v < high; NaN is an error, too.
func within(name string, v, low, high float64) error {
	if !(v >= low && v < high) {
		return fmt.Errorf("%s must be at least %g and below %g, got %g", name, low, high, v)
	}
	return nil
}

// Norm is the square root of the sum of all squares: the global norm of gradients.
func Norm(all [][]float32) float64 {
	return math.Sqrt(sum(all, func(i, from, to int) float64 {
		s := 0.0
		for _, v := range all[i][from:to] {
			s += float64(v) * float64(v)
		}
		return s
	}))
}

// Clip scales gradients so that their global norm is at most limit, as
// torch.nn.utils.clip_grad_norm_ does, and returns the norm that they had. With limit 0
// they stay. A norm that is not finite is an error, and changes nothing.
func Clip(gradients [][]float32, limit float64) (norm float64, err error) {
	norm = Norm(gradients)
	if math.IsNaN(norm) || math.IsInf(norm, 0) {
		return norm, fmt.Errorf("the gradients are not finite: their norm is %g", norm)
	}
	if factor := limit / (norm + 1e-6); limit > 0 && factor < 1 {
		Scale(gradients, factor)
	}
	return norm, nil
}

// Scale multiplies all elements by a factor.
func Scale(all [][]float32, factor float64) {
	f := float32(factor)
	each(all, func(i, from, to int) {
		for k, v := range all[i][from:to] {
			all[i][from+k] = v * f
		}
	})
}

// Add adds the elements of more to all, which has the same lengths.
func Add(all, more [][]float32) {
	each(all, func(i, from, to int) {
		dst, src := all[i][from:to], more[i][from:to]
		for k, v := range src {
			dst[k] += v
		}
	})
}
