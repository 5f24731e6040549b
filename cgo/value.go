package cgo

// #include "sdgo.h"
import "C"

import (
	"context"
	"runtime"
	"unsafe"
)

// Value is a tensor on a device: one output of one run of a net. Its memory
// goes with [Value.Close], or when the Value is garbage.
type Value struct {
	c       *C.sdgo_value
	cleanup runtime.Cleanup
}

func newValue(c *C.sdgo_value) *Value {
	v := &Value{c: c}
	v.cleanup = runtime.AddCleanup(v, func(c *C.sdgo_value) { C.sdgo_value_free(c) }, c)
	return v
}

// Close frees the value. A closed value must not be used.
func (v *Value) Close() {
	v.cleanup.Stop()
	C.sdgo_value_free(v.c)
	v.c = nil
}

// Shape is the value's shape, in PyTorch's order.
func (v *Value) Shape() []int64 {
	var dims C.int
	var c [C.SDGO_MAX_DIMS]C.int64_t
	C.sdgo_value_shape(v.c, &dims, &c[0])
	runtime.KeepAlive(v)
	return shape(dims, c)
}

// Read copies the value's elements to dst, whose length must be theirs.
func (v *Value) Read(dst []float32) error {
	var e C.sdgo_error
	if !C.sdgo_value_read(v.c, (*C.float)(unsafe.SliceData(dst)), C.size_t(len(dst)), &e) {
		return newError(context.Background(), &e)
	}
	runtime.KeepAlive(v)
	return nil
}
