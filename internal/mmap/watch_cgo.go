//go:build cgo && unix

package mmap

// #include "watch.h"
import "C"

import "unsafe"

// watch is a map that the handler of SIGBUS knows.
type watch struct{ c *C.sdgo_watch }

// watchMap makes reads of a map that fail give zeros. Without memory for that, they
// end the program, as in any other.
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

// guarded says whether reads of a file that got shorter are survived.
const guarded = true
