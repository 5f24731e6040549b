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
	_ "github.com/sdgo/sdgo/csrc/core"
	_ "github.com/sdgo/sdgo/csrc/nets"
	_ "github.com/sdgo/sdgo/csrc/ops"
)

// Tensor is an input, an output or a weight: its elements in PyTorch's order.
type Tensor struct {
	Shape []int64
	Data  []float32
}

// Net is a network of one operator of testnet.cpp on the CPU.
type Net struct {
	c      *C.sdgo_net
	pinner runtime.Pinner
}

// Open makes the network of an operator, with a set of CPU operators (as in cgo.Config)
// and some threads. weights are in the order in which the operator names them; their
// memory is used until Close.
func Open(op, kernels string, threads int, weights ...Tensor) (*Net, error) {
	cop, ckernels := C.CString(op), C.CString(kernels)
	defer C.free(unsafe.Pointer(cop))
	defer C.free(unsafe.Pointer(ckernels))
	var text [512]C.char
	n := &Net{c: C.sdgo_testnet_new(cop, C.int(threads), ckernels, &text[0], C.size_t(len(text)))}
	if n.c == nil {
		return nil, errors.New(C.GoString(&text[0]))
	}
	var e C.sdgo_error
	for i, w := range weights {
		p := unsafe.SliceData(w.Data)
		n.pinner.Pin(p)
		if !C.sdgo_net_bind(n.c, C.size_t(i), 0, unsafe.Pointer(p), C.size_t(4*len(w.Data)), false, &e) {
			n.Close()
			return nil, failure(&e)
		}
	}
	if !C.sdgo_net_load(n.c, &C.sdgo_load{}, &e) {
		n.Close()
		return nil, failure(&e)
	}
	return n, nil
}

// Quantize quantizes src, rows of rowLen numbers, to ggml's type typ by ggml's own function.
func Quantize(typ uint32, dst []byte, src []float32, rowLen int) {
	C.sdgo_testnet_quantize(C.int(typ), (*C.float)(unsafe.SliceData(src)), unsafe.Pointer(unsafe.SliceData(dst)),
		C.int64_t(len(src)/rowLen), C.int64_t(rowLen))
}

// Close frees the network.
func (n *Net) Close() {
	C.sdgo_net_free(n.c)
	n.pinner.Unpin()
}

// Weights are the names of the network's weights, in their order.
func (n *Net) Weights() []string {
	var names []string
	for i := range C.sdgo_net_weight_count(n.c) {
		var w C.sdgo_weight
		C.sdgo_net_weight_at(n.c, i, &w)
		names = append(names, C.GoString(w.name))
	}
	return names
}

// Segment sets the number of parts whose tensors are computed twice for gradients.
func (n *Net) Segment(segments int) {
	C.sdgo_net_choose(n.c, &C.sdgo_op_choice{direct_conv: true, gradient_segments: C.int(segments)})
}

// Run computes outputs: "out", or gradients.
func (n *Net) Run(inputs map[string]Tensor, outputs ...string) (map[string]Tensor, error) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	var in []C.sdgo_input
	for name, t := range inputs {
		c := C.sdgo_input{name: C.CString(name), n_dims: C.int(len(t.Shape))}
		defer C.free(unsafe.Pointer(c.name))
		if name == "ids" {
			c.element = C.SDGO_I32
		}
		for d, n := range t.Shape {
			c.shape[d] = C.int64_t(n)
		}
		p := unsafe.SliceData(t.Data)
		pinner.Pin(p)
		c.data = unsafe.Pointer(p)
		in = append(in, c)
	}
	var out []C.sdgo_output
	for _, name := range outputs {
		out = append(out, C.sdgo_output{name: C.CString(name)})
		defer C.free(unsafe.Pointer(out[len(out)-1].name))
	}
	var e C.sdgo_error
	if !C.sdgo_net_run(n.c, unsafe.SliceData(in), C.size_t(len(in)), unsafe.SliceData(out), C.size_t(len(out)), nil, 0, nil, &e) {
		return nil, failure(&e)
	}
	all := map[string]Tensor{}
	for i, name := range outputs {
		defer C.sdgo_value_free(out[i].value)
		t, err := read(out[i].value)
		if err != nil {
			return nil, err
		}
		all[name] = t
	}
	return all, nil
}

func failure(e *C.sdgo_error) error { return errors.New(C.GoString(&e.message[0])) }

// Run computes what an operator makes of some inputs with two threads: Open, Net.Run and
// Close.
func Run(op, kernels string, inputs map[string]Tensor, weights ...Tensor) (Tensor, error) {
	n, err := Open(op, kernels, 2, weights...)
	if err != nil {
		return Tensor{}, err
	}
	defer n.Close()
	out, err := n.Run(inputs, "out")
	return out["out"], err
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
		return Tensor{}, failure(&e)
	}
	return t, nil
}
