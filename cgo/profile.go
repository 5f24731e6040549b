package cgo

// #include "sdgo.h"
import "C"

// Work is what one kind of operator did.
type Work struct {
	Op      string // "conv 3x3", "linear", …; "" is a net's whole runs
	Calls   int
	FLOP    float64 // floating-point operations of the plain algorithm
	Seconds float64 // of wall time
}

// Profile returns what the net's operators did since the last call, and starts counting
// again. Only this library's CPU kernels report kinds of operators; elsewhere there are
// whole runs alone. It waits for a run in progress.
func (n *Net) Profile() []Work {
	if !n.hold() {
		return nil
	}
	defer n.release()
	var work [32]C.sdgo_work
	count := min(int(C.sdgo_net_profile(n.c, &work[0], C.size_t(len(work)))), len(work))
	out := make([]Work, count)
	for i, w := range work[:count] {
		out[i] = Work{Op: C.GoString(&w.op[0]), Calls: int(w.calls), FLOP: float64(w.flop), Seconds: float64(w.seconds)}
	}
	return out
}
