package cgo

// #include "sdgo.h"
import "C"

import "context"

// OpChoice chooses between operators where a device has more than one for a purpose.
type OpChoice struct {
	DirectConv     bool // direct convolutions, not matrix products of im2col
	FlashAttention bool // stores no scores; keys and values are float16
	Float32        bool // wherever there is a choice of precision
	Fast           bool // this library's kernels may multiply numbers of 8 bits

	// GradientSegments is the number of parts of the net whose tensors are computed a
	// second time for gradients, which takes less memory and a third more time. 0 and 1:
	// all tensors are kept.
	GradientSegments int
}

func (o OpChoice) c() C.sdgo_op_choice {
	return C.sdgo_op_choice{direct_conv: C.bool(o.DirectConv), flash_attention: C.bool(o.FlashAttention), float32: C.bool(o.Float32), fast: C.bool(o.Fast),
		gradient_segments: C.int(max(0, min(o.GradientSegments, 1<<12)))}
}

// Tune finds the faster operators of a device by timing them, which takes a GPU
// milliseconds.
func Tune(d DeviceInfo) (OpChoice, error) {
	side := 64
	if d.Software {
		side = 16
	}
	var o C.sdgo_op_choice
	var e C.sdgo_error
	if !C.sdgo_device_tune(C.size_t(d.Index), C.int(side), &o, &e) {
		return OpChoice{}, newError(context.Background(), &e)
	}
	return OpChoice{DirectConv: bool(o.direct_conv), FlashAttention: bool(o.flash_attention), Float32: bool(o.float32)}, nil
}

// Choose chooses the net's operators, where it computes with ggml's, and the precision of
// this library's kernels. Its graphs are built again.
func (n *Net) Choose(o OpChoice) {
	if !n.hold() {
		return
	}
	defer n.release()
	c := o.c()
	C.sdgo_net_choose(n.c, &c)
}
