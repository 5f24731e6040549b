// Package allocation bounds in tests what readers of untrusted bytes allocate.
package allocation

import (
	"runtime"
	"testing"
)

// fixed is what a reader may allocate however little it is given, in bytes.
const fixed = 1 << 20

// Bound fails a test if read allocates more than factor bytes for each byte of
// an input of that size, garbage included. Tests that run beside it count, too.
func Bound(t testing.TB, size, factor int, read func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	read()
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > uint64(factor)*uint64(size)+fixed {
		t.Fatalf("%d bytes allocated for an input of %d, at most %d for each are wanted", n, size, factor)
	}
}
