package cgo

// #include "sdgo.h"
import "C"

import "unsafe"

// Adapter is a change to a net's weights that a run applies in addition to them, such as
// LoRA's product of two thin matrices: the weights themselves stay as they are bound,
// mapped and quantized.
//
// There is no way to make one yet. Runs take a list of adapters, so that their
// callers can pass it on, and fail with [Invalid] if it is not empty.
type Adapter struct{ c *C.sdgo_adapter }

// AdapterUse is an adapter in one run. A net's graphs are kept for the adapters
// that they were built with; a strength is no part of a graph.
type AdapterUse struct {
	Adapter  *Adapter
	Strength float32 // a factor of what the adapter adds
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
