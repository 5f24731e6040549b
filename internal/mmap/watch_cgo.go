//go:build cgo && unix

package mmap

// #include "watch.h"
import "C"

import "unsafe"

// watch is a map that is registered with the SIGBUS handler.
type watch struct{ c *C.sdgo_watch }

// watchMap makes failing reads of a map return zeros. If there is no memory to register
// the map, they end the program as usual.
func watchMap(data []byte) *watch {
	return &watch{C.sdgo_watch_begin(unsafe.Pointer(unsafe.SliceData(data)), C.size_t(len(data)))}
}

func (w *watch) end() {
	if w != nil && w.c != nil {
		C.sdgo_watch_end(w.c)
	}
}

func (w *watch) faulted() bool {
	return w != nil && w.c != nil && bool(C.sdgo_watch_faulted(w.c))
}

// guarded says whether the program survives reading a file that became shorter.
const guarded = true
