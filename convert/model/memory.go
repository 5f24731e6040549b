package model

import (
	"fmt"

	"github.com/sdgo/sdgo/internal/limits"
)

// TakeMemory reserves memory of this process, in bytes, that something is about
// to use. It fails where the process may not have as much.
func TakeMemory(what string, bytes uint64) (release func(), err error) {
	release, left, ok := limits.Take(bytes)
	if !ok {
		return nil, fmt.Errorf("%s would take %d MB of memory, %d MB are left (%s)", what, (bytes+999999)/1000000, left.Amount/1000000, left.By)
	}
	return release, nil
}
