package cgo

// #include <stdlib.h>
// #include "sdgo.h"
import "C"

import (
	"context"
	"sync/atomic"
	"time"
	"unsafe"
)

// Load checks that all weights are bound and brings them to the device.
func (n *Net) Load() error { return n.LoadWith(context.Background(), Loading{}) }

// Loading says how weights are brought to a device that is not the CPU.
type Loading struct {
	// Memory, if not 0, is the most that the weights may take there, in bytes: they are
	// streamed in groups while the net runs, one while the device computes with another.
	Memory uint64

	// Keep makes Unload possible. Memory implies it.
	Keep bool

	// OnProgress, if not nil, receives the number of bytes that have been copied, some
	// times a second.
	OnProgress func(bytes uint64)
}

// LoadWith is Load with options; it ends early when ctx is done.
func (n *Net) LoadWith(ctx context.Context, l Loading) error {
	if err := n.acquire(ctx); err != nil {
		return err
	}
	defer n.release()
	// Allocated by C, because the net keeps their addresses.
	flags := (*struct {
		bytes  C.uint64_t
		cancel C.int32_t
	})(C.calloc(1, 16))
	defer C.free(unsafe.Pointer(flags))
	how := C.sdgo_load{memory: C.uint64_t(l.Memory), keep: C.bool(l.Keep || l.Memory > 0), uploaded: &flags.bytes, cancel: &flags.cancel}
	var e C.sdgo_error
	done := make(chan bool, 1)
	go func() { done <- bool(C.sdgo_net_load(n.c, &how, &e)) }()
	loading := true
	defer func() { // if OnProgress panicked: flags and the net are in use until the load ends
		if loading {
			atomic.StoreInt32((*int32)(unsafe.Pointer(&flags.cancel)), 1)
			<-done
		}
	}()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	cancelled := ctx.Done()
	for {
		select {
		case ok := <-done:
			loading = false
			if !ok {
				return newError(ctx, &e)
			}
			return n.intact()
		case <-cancelled:
			atomic.StoreInt32((*int32)(unsafe.Pointer(&flags.cancel)), 1)
			cancelled = nil
		case <-tick.C:
			if l.OnProgress != nil {
				l.OnProgress(atomic.LoadUint64((*uint64)(unsafe.Pointer(&flags.bytes))))
			}
		}
	}
}

// Unload frees what the net holds on a device that is not the CPU, if it was
// loaded with Keep. The next run brings the weights back.
func (n *Net) Unload() {
	if !n.hold() {
		return
	}
	defer n.release()
	C.sdgo_net_unload(n.c)
}
