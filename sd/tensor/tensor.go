// Package tensor has arrays of numbers with shapes: cropping and resampling, tiles for
// what is too large to be computed at once, and conversions between pictures and
// numbers. It knows no network.
package tensor

import "fmt"

// Tensor is an array of float32 in row-major order: the last axis is contiguous.
// Pictures and latents are [channels, height, width]; those with further axes
// between channels and height, as in [channels, frames, height, width], are cut and
// resampled frame by frame. The zero value is empty.
type Tensor struct {
	Data  []float32
	Shape []int
}

// New is a tensor of zeros. The shape has at least one axis, none of them negative.
func New(shape ...int) Tensor {
	return Tensor{make([]float32, Size(shape)), append([]int(nil), shape...)}
}

// Of is a tensor of data, which it shares. It panics unless the shape has as many
// elements.
func Of(data []float32, shape ...int) Tensor {
	if n := Size(shape); n != len(data) {
		panic(fmt.Sprintf("tensor: %d elements for the shape %v, which has %d", len(data), shape, n))
	}
	return Tensor{data, append([]int(nil), shape...)}
}

// Size is a shape's number of elements.
func Size(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// Channels is the length of the first axis.
func (t Tensor) Channels() int { return t.Shape[0] }

// Height is the length of the last axis but one.
func (t Tensor) Height() int { return t.Shape[len(t.Shape)-2] }

// Width is the length of the last axis.
func (t Tensor) Width() int { return t.Shape[len(t.Shape)-1] }

// planes is the number of [height, width] arrays.
func (t Tensor) planes() int { return Size(t.Shape[:len(t.Shape)-2]) }

// sized is a tensor of zeros of t's shape but for its last two axes.
func (t Tensor) sized(height, width int) Tensor {
	shape := append(append([]int(nil), t.Shape[:len(t.Shape)-2]...), height, width)
	return Tensor{make([]float32, Size(shape)), shape}
}

// Like is a tensor of zeros of t's shape.
func (t Tensor) Like() Tensor { return New(t.Shape...) }

// Batch is the shape of a batch of n such tensors.
func (t Tensor) Batch(n int) []int64 { return Batch(n, t.Shape) }

// Batch is the shape of a batch of n tensors of one shape.
func Batch(n int, shape []int) []int64 {
	out := make([]int64, 0, len(shape)+1)
	out = append(out, int64(n))
	for _, d := range shape {
		out = append(out, int64(d))
	}
	return out
}

// Finite reports whether no element is NaN or infinite. It adds up products with
// zero, which NaN and infinities turn into NaN, so that the loop has no branch.
func Finite(x []float32) bool {
	var s float32
	for _, v := range x {
		s += v * 0
	}
	return s == 0
}
