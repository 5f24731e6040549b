package cgo

// #include "sdgo.h"
import "C"

import "context"

// Change calls change, which may write to the bytes that were bound to some weights,
// while the net is loaded and not running; the next run uses the new values. The weights
// must be float32, and on a device that is not the CPU the net loaded with
// [Loading.Keep].
func (n *Net) Change(ctx context.Context, weights []int, change func()) error {
	if err := n.acquire(ctx); err != nil {
		return err
	}
	defer n.release()
	change()
	indices := make([]C.size_t, len(weights), len(weights)+1)
	for i, w := range weights {
		if w < 0 {
			return invalid("weight %d does not exist", w)
		}
		indices[i] = C.size_t(w)
	}
	var e C.sdgo_error
	if !C.sdgo_net_changed(n.c, &indices[:1][0], C.size_t(len(weights)), &e) {
		return newError(ctx, &e)
	}
	return nil
}
