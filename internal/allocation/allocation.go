// Package allocation bounds in tests what readers of untrusted bytes allocate.
package allocation

import (
	"runtime"
	"runtime/metrics"
	"testing"
)

// fixed is what a reader may allocate however little it is given, in bytes.
const fixed = 1 << 20

// Bound fails a test if read allocates more than factor bytes for each byte of
// an input of that size, garbage included. Tests that run beside it count, too.
// It may call read twice, which must do the same again.
func Bound(t testing.TB, size, factor int, read func()) {
	t.Helper()
	limit := uint64(factor)*uint64(size) + fixed
	if measure(read, allocated) <= limit {
		return
	}
	// Small things that were allocated before may have been counted only now.
	if n := measure(read, allocatedExactly); n > limit {
		t.Fatalf("%d bytes allocated for an input of %d, at most %d for each are wanted", n, size, factor)
	}
}

func measure(read func(), allocated func() uint64) uint64 {
	before := allocated()
	read()
	return allocated() - before
}

// allocated is the number of bytes that the program has allocated so far, but for
// what its processors have not handed in. It does not stop the program as
// allocatedExactly does, so that fuzz targets are fast.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

func allocatedExactly() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}
