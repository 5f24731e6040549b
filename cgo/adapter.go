package cgo

// #include "sdgo.h"
import "C"

import (
	"context"
	"runtime"
	"unsafe"

	"github.com/sdgo/sdgo/internal/limits"
)

// Adapter is a set of changes to a net's weights that runs of the net can apply in
// addition to them, such as LoRA's products of two thin matrices: the weights themselves
// stay as they are bound, mapped and quantized. The garbage collector frees one that is
// dropped.
type Adapter struct{ c *C.sdgo_adapter }

// Change is a change of one weight. Its arrays are in PyTorch's order, and all of the
// same type.
//
// With Whole, its elements take the place of the weight's; a vector's must be float32.
// Without it a layer adds Up·diag(Scale)·Down to its product with the weight [out, in]:
// Down is [rank, in], Up [out, rank]. Of a convolution's weight [out, in, k, k] Down is
// [rank, in, k, k], or [rank, in] with Mid, [rank, rank, k, k], between the two.
type Change struct {
	Weight  int // as in [Net.Weights]
	Float16 bool

	Whole         []byte
	Down, Mid, Up []byte
	Scale         []float32 // whose length is the rank
}

// Bytes is the memory that the change takes on the net's device.
func (c Change) Bytes() uint64 {
	return uint64(len(c.Whole) + len(c.Down) + len(c.Mid) + len(c.Up) + 4*len(c.Scale))
}

// NewAdapter copies changes to the net's device. A weight may have several low-rank
// changes, which add up.
func (n *Net) NewAdapter(changes []Change) (*Adapter, error) {
	if !n.hold() {
		return nil, invalid("the net is closed")
	}
	defer n.release()
	if err := n.check(changes); err != nil {
		return nil, err
	}
	var bytes uint64
	for _, c := range changes {
		bytes += c.Bytes()
	}
	release, left, ok := limits.Take(bytes)
	if !ok {
		return nil, NoRoom("an adapter", bytes, left)
	}
	defer release()

	var pinner runtime.Pinner
	defer pinner.Unpin()
	list := changesInC(changes, &pinner)
	var e C.sdgo_error
	made := C.sdgo_adapter_new(n.c, unsafe.SliceData(list), C.size_t(len(list)), &e)
	if made == nil {
		return nil, newError(context.Background(), &e)
	}
	a := &Adapter{made}
	runtime.AddCleanup(a, func(c *C.sdgo_adapter) { C.sdgo_adapter_free(c) }, made)
	return a, nil
}

// UpdateAdapter copies new numbers for an adapter's changes: as many, of the same weights,
// types and ranks, in the same order. It waits for a run in progress; the graphs of the net
// stay, which a new adapter would need again.
func (n *Net) UpdateAdapter(ctx context.Context, a *Adapter, changes []Change) error {
	if err := n.acquire(ctx); err != nil {
		return err
	}
	defer n.release()
	if err := n.check(changes); err != nil {
		return err
	}
	var pinner runtime.Pinner
	defer pinner.Unpin()
	list := changesInC(changes, &pinner)
	var e C.sdgo_error
	if !C.sdgo_adapter_update(n.c, a.c, unsafe.SliceData(list), C.size_t(len(list)), &e) {
		return newError(ctx, &e)
	}
	runtime.KeepAlive(a)
	return nil
}

func (n *Net) check(changes []Change) error {
	all := n.Weights()
	for _, c := range changes {
		if err := c.check(all); err != nil {
			return err
		}
	}
	return nil
}

// changesInC are changes as C takes them, whose arrays are pinned.
func changesInC(changes []Change, pinner *runtime.Pinner) []C.sdgo_change {
	pointer := func(b []byte) unsafe.Pointer {
		if len(b) == 0 {
			return nil
		}
		pinner.Pin(&b[0])
		return unsafe.Pointer(&b[0])
	}
	list := make([]C.sdgo_change, len(changes))
	for i, c := range changes {
		element := C.sdgo_element(C.SDGO_F32)
		if c.Float16 {
			element = C.SDGO_F16
		}
		list[i] = C.sdgo_change{weight: C.size_t(c.Weight), element: element, rank: C.int64_t(len(c.Scale))}
		list[i].whole, list[i].down, list[i].mid, list[i].up = pointer(c.Whole), pointer(c.Down), pointer(c.Mid), pointer(c.Up)
		if len(c.Scale) > 0 {
			pinner.Pin(&c.Scale[0])
			list[i].scale = (*C.float)(&c.Scale[0])
		}
	}
	return list
}

// check checks the lengths of a change's arrays, which C cannot.
func (c Change) check(all []Weight) error {
	if c.Weight < 0 || c.Weight >= len(all) {
		return invalid("weight %d does not exist: the net has %d", c.Weight, len(all))
	}
	w, size := all[c.Weight], int64(4)
	if c.Float16 {
		size = 2
	}
	elements := int64(1)
	for _, d := range w.Shape {
		elements *= d
	}
	want := func(what string, bytes []byte, n int64) error {
		if int64(len(bytes)) != n*size {
			return invalid("a change of weight %s: %s must have %d bytes, got %d", w.Name, what, n*size, len(bytes))
		}
		return nil
	}
	if c.Whole != nil {
		return want("the whole", c.Whole, elements)
	}
	if len(w.Shape) < 2 {
		return invalid("weight %s has the shape %v: a low-rank change takes a matrix or a convolution", w.Name, w.Shape)
	}
	r, out := int64(len(c.Scale)), w.Shape[0]
	row, kernel := elements/out, elements/out/w.Shape[1]
	down, mid := r*row, int64(0)
	if c.Mid != nil {
		down, mid = r*w.Shape[1], r*r*kernel
	}
	for _, f := range []struct {
		what  string
		bytes []byte
		n     int64
	}{{"down", c.Down, down}, {"mid", c.Mid, mid}, {"up", c.Up, out * r}} {
		if err := want(f.what, f.bytes, f.n); err != nil {
			return err
		}
	}
	return nil
}

// AdapterUse is an adapter in one run. A net's graphs are kept for the adapters
// that they were built with; a strength is no part of a graph.
type AdapterUse struct {
	Adapter  *Adapter
	Strength float32 // a factor of what low-rank changes add
}

func adapterUses(adapters []AdapterUse) (*C.sdgo_adapter_use, C.size_t) {
	uses := make([]C.sdgo_adapter_use, len(adapters))
	for i, a := range adapters {
		uses[i].strength = C.float(a.Strength)
		if a.Adapter != nil {
			uses[i].adapter = a.Adapter.c
		}
	}
	return unsafe.SliceData(uses), C.size_t(len(uses))
}
