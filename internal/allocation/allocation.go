// Package allocation bounds in tests what readers of untrusted bytes allocate.
package allocation

import (
	"runtime/metrics"
	"testing"
)

// fixed is what a reader may allocate however little it is given, in bytes.
const fixed = 1 << 20

// Bound fails a test if read allocates more than factor bytes for each byte of
// an input of that size, garbage included. Tests that run beside it count, too.
func Bound(t testing.TB, size, factor int, read func()) {
	t.Helper()
	before := allocated()
	read()
	if n := allocated() - before; n > uint64(factor)*uint64(size)+fixed {
		t.Fatalf("%d bytes allocated for an input of %d, at most %d for each are wanted", n, size, factor)
	}
}

// allocated is the number of bytes that the program has allocated so far. It does
// not stop the program as runtime.ReadMemStats does, so that fuzz targets are fast.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
