package main

// void sdgo_started(void);
import "C"

import (
	"runtime"
	"runtime/debug"

	"github.com/sdgo/sdgo/internal/limits"
)

// init limits Go's runtime where the process may have little: it ends the process
// when it can't get a thread or memory.
func init() {
	C.sdgo_started()
	if threads := limits.Threads(); threads < 8*uint64(runtime.GOMAXPROCS(0)) {
		runtime.GOMAXPROCS(max(1, int(threads/8)))
	}
	if free := limits.Memory(); free.By != limits.ByHost {
		debug.SetMemoryLimit(int64(free.Amount / 4)) // garbage is collected earlier
	}
}
