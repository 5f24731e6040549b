package cgo

// #include "sdgo.h"
import "C"

import "context"

// Ways says how a device computes what it can compute in several ways.
type Ways struct {
	Direct  bool // convolutions as such, not as matrix products
	Flash   bool // attention that keeps no scores, with float16 keys and values
	Precise bool // float32 wherever there is a choice
}

func (w Ways) c() C.sdgo_op_choice {
	return C.sdgo_op_choice{direct_conv: C.bool(w.Direct), flash_attention: C.bool(w.Flash), float32: C.bool(w.Precise)}
}

// TryWays finds the faster ways on a device by trying them, in milliseconds on
// a GPU.
func TryWays(d DeviceInfo) (Ways, error) {
	side := 64
	if d.Software {
		side = 16
	}
	var w C.sdgo_op_choice
	var e C.sdgo_error
	if !C.sdgo_device_tune(C.size_t(d.Index), C.int(side), &w, &e) {
		return Ways{}, newError(context.Background(), &e)
	}
	return Ways{Direct: bool(w.direct_conv), Flash: bool(w.flash_attention), Precise: bool(w.float32)}, nil
}

// Choose decides how the net computes where it does so with ggml's operators.
func (n *Net) Choose(w Ways) {
	if !n.hold() {
		return
	}
	defer n.release()
	c := w.c()
	C.sdgo_net_choose(n.c, &c)
}
