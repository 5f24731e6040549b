package cgo

// #include "sdgo.h"
import "C"

import (
	"context"
	"unsafe"
)

// Quantize converts src, rows of rowLen elements, to ggml type typ in dst with
// ggml's own quantizers. dst must have exactly the size of the result.
// importance is nil or has one weight for each column.
func Quantize(typ uint32, dst []byte, src []float32, rowLen int, importance []float32) error {
	if rowLen < 1 || len(src)%rowLen != 0 {
		return invalid("%d elements do not divide into rows of %d", len(src), rowLen)
	}
	if importance != nil && len(importance) != rowLen {
		return invalid("the importance matrix must have %d columns, got %d", rowLen, len(importance))
	}
	var e C.sdgo_error
	if !C.sdgo_quantize(C.int(typ), (*C.float)(unsafe.SliceData(src)), unsafe.Pointer(unsafe.SliceData(dst)),
		C.size_t(len(dst)), C.int64_t(len(src)/rowLen), C.int64_t(rowLen), (*C.float)(unsafe.SliceData(importance)),
		&e) {
		return newError(context.Background(), &e)
	}
	return nil
}

// Dequantize converts src, of ggml type typ, to floats: as many as dst holds.
func Dequantize(typ uint32, dst []float32, src []byte) error {
	var e C.sdgo_error
	if !C.sdgo_dequantize(C.int(typ), unsafe.Pointer(unsafe.SliceData(src)), C.size_t(len(src)),
		(*C.float)(unsafe.SliceData(dst)), C.int64_t(len(dst)), &e) {
		return newError(context.Background(), &e)
	}
	return nil
}
