package cgo

// #include "sdgo.h"
import "C"

import (
	"runtime"
	"unsafe"
)

// Input is a named tensor that goes into a net: exactly one of F32, I32 and
// Value is set.
type Input struct {
	Name  string
	Shape []int64 // PyTorch's order
	F32   []float32
	I32   []int32
	Value *Value // of a net on the same device
}

// Output is a named tensor that comes out of a net: into Data, whose length is
// the tensor's, or, where Data is nil, as a new Value. What a net returns is
// documented with its architecture, in csrc/nets: a UNet has "out", "perturbed" for
// perturbed-attention guidance, "deep" for DeepCache, "stem" and "first" for a
// first-block cache, and "h", its deepest features.
type Output struct {
	Name  string
	Data  []float32
	Value *Value
}

// name returns a C string that lives as long as the net.
func (n *Net) name(s string) *C.char {
	c, ok := n.names[s]
	if !ok {
		c = C.CString(s)
		n.names[s] = c
	}
	return c
}

// describe fills in an input's name and shape.
func (n *Net) describe(c *C.sdgo_input, in Input) error {
	if len(in.Shape) < 1 || len(in.Shape) > C.SDGO_MAX_DIMS {
		return invalid("input %s must have 1 to %d dimensions, got %d", in.Name, C.SDGO_MAX_DIMS, len(in.Shape))
	}
	c.name = n.name(in.Name)
	c.n_dims = C.int(len(in.Shape))
	for d, size := range in.Shape {
		c.shape[d] = C.int64_t(size)
	}
	return nil
}

func (n *Net) inputs(inputs []Input, pinner *runtime.Pinner) ([]C.sdgo_input, error) {
	cin := make([]C.sdgo_input, len(inputs))
	for i, in := range inputs {
		c := &cin[i]
		if err := n.describe(c, in); err != nil {
			return nil, err
		}
		elements := int64(1)
		for _, size := range in.Shape {
			elements *= size
		}
		var count int64
		switch {
		case in.Value != nil:
			c.value, count = in.Value.c, elements
		case in.I32 != nil:
			p := unsafe.SliceData(in.I32)
			pinner.Pin(p)
			c.element, c.data, count = C.SDGO_I32, unsafe.Pointer(p), int64(len(in.I32))
		case in.F32 != nil:
			p := unsafe.SliceData(in.F32)
			pinner.Pin(p)
			c.element, c.data, count = C.SDGO_F32, unsafe.Pointer(p), int64(len(in.F32))
		}
		if count != elements {
			return nil, invalid("input %s must have %d elements for its shape %v, got %d", in.Name, elements, in.Shape, count)
		}
	}
	return cin, nil
}

func (n *Net) outputs(outputs []Output, pinner *runtime.Pinner) []C.sdgo_output {
	cout := make([]C.sdgo_output, len(outputs))
	for i, out := range outputs {
		cout[i].name = n.name(out.Name)
		if len(out.Data) > 0 {
			p := unsafe.SliceData(out.Data)
			pinner.Pin(p)
			cout[i].data = (*C.float)(p)
			cout[i].count = C.size_t(len(out.Data))
		}
	}
	return cout
}

func shape(dims C.int, c [C.SDGO_MAX_DIMS]C.int64_t) []int64 {
	s := make([]int64, dims)
	for i := range s {
		s[i] = int64(c[i])
	}
	return s
}
