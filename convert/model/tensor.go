package model

import (
	"slices"

	"github.com/sdgo/sdgo/convert/checkpoint"
	"github.com/sdgo/sdgo/convert/dtype"
)

// Tensor is a named array of weights.
type Tensor struct {
	Name  string // canonical
	Type  dtype.Type
	Shape []int64 // in PyTorch's order: the last dimension is contiguous

	// Bytes are the tensor's bytes in the file, not a copy, and must not be
	// changed. They are nil where Parts has them in pieces instead, whole rows
	// one after another: of fused layers that the file has separately.
	Bytes []byte
	Parts [][]byte

	// Scale is what the elements of some 8-bit types are multiplied by: one
	// number, or one for each row (of the first dimension). nil elsewhere.
	Scale []float32

	// strided is set instead of Bytes where the elements lie in another order
	// than the shape's, as those of convolutions that PyTorch trained with
	// channels last do. They are put in order piece by piece while they are
	// converted.
	strided *checkpoint.Tensor
}

// Stored is a tensor as a file has it, before it has a canonical name.
type Stored struct {
	Tensor
	DType string // the file's word for its type, also where Type is not Valid
}

// WithStrides is a tensor whose elements lie in the file in another order than
// that of its shape.
func (t Tensor) WithStrides(from checkpoint.Tensor) Tensor {
	t.Bytes, t.strided = nil, &from
	return t
}

// View is a part of the tensor, whose elements must be in Bytes: of a shape, with the distances of the next elements for
// each dimension, from element first on.
func (t Tensor) View(shape, strides []int64, first int64) Tensor {
	t = t.WithStrides(checkpoint.Tensor{Name: t.Name, Shape: shape, Strides: strides, Data: t.Bytes[first*t.Type.BlockBytes():]})
	t.Shape = shape
	return t
}

// Strided reports whether the elements lie in another order than that of the
// shape. Bytes and Parts are nil then.
func (t Tensor) Strided() bool { return t.strided != nil }

// Gather writes elements of a strided tensor to dst in the shape's order, as
// many as dst has room for, beginning with element first.
func (t Tensor) Gather(dst []byte, first int64) {
	t.strided.Gather(dst, t.Type.BlockBytes(), first)
}

// Whole reports whether all of the elements are in Bytes, in the shape's order.
func (t Tensor) Whole() bool { return t.strided == nil && t.Parts == nil }

// Joined is the tensor with its elements in Bytes, in the shape's order, copied to
// new memory if they were in several places or in another order.
func (t Tensor) Joined() Tensor {
	t = t.InOrder()
	if t.Parts != nil {
		t.Bytes, t.Parts = slices.Concat(t.Parts...), nil
	}
	return t
}

// InOrder is the tensor with its elements in the shape's order, copied to new
// memory if they were in another.
func (t Tensor) InOrder() Tensor {
	if t.strided != nil {
		bytes := make([]byte, t.Size())
		t.Gather(bytes, 0)
		t.Bytes, t.strided = bytes, nil
	}
	return t
}

// Native is the type to compute with: the tensor's own, or f32 for f64 and f16
// for 8-bit types.
func (t Tensor) Native() dtype.Type {
	if t.Scale != nil {
		return dtype.F16
	}
	return t.Type.Native()
}

// Runs are the tensor's bytes in the pieces that the file has; those of a
// strided tensor are in the file's order.
func (t Tensor) Runs() [][]byte {
	if t.Parts != nil {
		return t.Parts
	}
	if t.strided != nil {
		return [][]byte{t.strided.Data}
	}
	return [][]byte{t.Bytes}
}

// Size is the number of the tensor's bytes.
func (t Tensor) Size() (n int64) {
	if t.strided != nil {
		return t.Elements() * t.Type.BlockBytes()
	}
	for _, b := range t.Runs() {
		n += int64(len(b))
	}
	return n
}

// Elements is the number of elements.
func (t Tensor) Elements() int64 {
	n := int64(1)
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// SameShape compares shapes without their ones: a matrix and a 1x1 convolution
// hold the same numbers in the same order, and GGUF files leave out leading
// ones.
func SameShape(a, b []int64) bool {
	one := func(d int64) bool { return d == 1 }
	return slices.Equal(slices.DeleteFunc(slices.Clone(a), one), slices.DeleteFunc(slices.Clone(b), one))
}
