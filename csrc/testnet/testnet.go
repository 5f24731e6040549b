// Package testnet has networks of one operator each, for the tests of operators
// and of what the C interface does with shapes.
package testnet

// #cgo CPPFLAGS: -I${SRCDIR}/..
// #cgo CXXFLAGS: -std=c++17 -Wall -Wextra
// #cgo windows CPPFLAGS: -D__USE_MINGW_ANSI_STDIO=1
// #include "testnet/testnet.h"
// #include <stdlib.h>
import "C"

import (
	"errors"
	"runtime"
	"slices"
	"unsafe"

	_ "github.com/sdgo/sdgo/csrc" // the C interface
	_ "github.com/sdgo/sdgo/csrc/nets"
	_ "github.com/sdgo/sdgo/csrc/ops"
)

// Tensor is an input, an output or a weight: its elements in PyTorch's order.
type Tensor struct {
	Shape []int64
	Data  []float32
}

// Run computes what an operator of testnet.cpp makes of some inputs, with a set of
// CPU operators (as in cgo.Config) and two threads. weights are in the order in
// which the operator names them.
func Run(op, kernels string, inputs map[string]Tensor, weights ...Tensor) (Tensor, error) {
	cop, ckernels := C.CString(op), C.CString(kernels)
	defer C.free(unsafe.Pointer(cop))
	defer C.free(unsafe.Pointer(ckernels))
	var text [512]C.char
	net := C.sdgo_testnet_new(cop, 2, ckernels, &text[0], C.size_t(len(text)))
	if net == nil {
		return Tensor{}, errors.New(C.GoString(&text[0]))
	}
	defer C.sdgo_net_free(net)

	var pinner runtime.Pinner
	defer pinner.Unpin()
	var e C.sdgo_error
	failed := func() (Tensor, error) { return Tensor{}, errors.New(C.GoString(&e.message[0])) }
	for i, w := range weights {
		p := unsafe.SliceData(w.Data)
		pinner.Pin(p)
		if !C.sdgo_net_bind(net, C.size_t(i), 0, unsafe.Pointer(p), C.size_t(4*len(w.Data)), &e) {
			return failed()
		}
	}
	if !C.sdgo_net_load(net, &C.sdgo_load{}, &e) {
		return failed()
	}
	var in []C.sdgo_input
	for name, t := range inputs {
		c := C.sdgo_input{name: C.CString(name), n_dims: C.int(len(t.Shape))}
		defer C.free(unsafe.Pointer(c.name))
		for d, n := range t.Shape {
			c.shape[d] = C.int64_t(n)
		}
		p := unsafe.SliceData(t.Data)
		pinner.Pin(p)
		c.data = unsafe.Pointer(p)
		in = append(in, c)
	}
	out := []C.sdgo_output{{name: C.CString("out")}}
	defer C.free(unsafe.Pointer(out[0].name))
	if !C.sdgo_net_run(net, unsafe.SliceData(in), C.size_t(len(in)), &out[0], 1, nil, 0, nil, &e) {
		return failed()
	}
	defer C.sdgo_value_free(out[0].value)
	return read(out[0].value)
}

func read(v *C.sdgo_value) (Tensor, error) {
	var dims C.int
	var shape [C.SDGO_MAX_DIMS]C.int64_t
	C.sdgo_value_shape(v, &dims, &shape[0])
	t := Tensor{}
	n := int64(1)
	for _, d := range shape[:dims] {
		t.Shape = append(t.Shape, int64(d))
		n *= int64(d)
	}
	t.Data = slices.Repeat([]float32{0}, int(n))
	var e C.sdgo_error
	if !C.sdgo_value_read(v, (*C.float)(unsafe.SliceData(t.Data)), C.size_t(n), &e) {
		return Tensor{}, errors.New(C.GoString(&e.message[0]))
	}
	return t, nil
}
