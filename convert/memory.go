package convert

import (
	"fmt"
	"runtime"

	"github.com/sdgo/sdgo/internal/limits"
)

// take asks for memory of this process, in bytes, that something is about to use.
func take(what string, bytes uint64) (release func(), err error) {
	release, left, ok := limits.Take(bytes)
	if !ok {
		return nil, fmt.Errorf("%s would take %d MB of memory, %d MB are left (%s)", what, (bytes+999999)/1000000, left.Amount/1000000, left.By)
	}
	return release, nil
}

// workers is how many of n pieces of work, each of which takes so many bytes, are
// done at once: one a processor, fewer where memory does not do.
func workers(n int, bytes uint64) (int, func(), error) {
	for w := min(n, runtime.GOMAXPROCS(0)); w > 1; w-- {
		if release, _, ok := limits.Take(uint64(w) * bytes); ok {
			return w, release, nil
		}
	}
	release, err := take("converting", bytes)
	return 1, release, err
}
