// Package allocation limits, in tests, the memory that readers of untrusted bytes allocate.
package allocation

import (
	"runtime"
	"runtime/metrics"
	"testing"
)

// fixed is what a reader may allocate for any input, in bytes.
const fixed = 1 << 20

// Bound fails a test if read allocates more than factor bytes for each byte of an input
// of that size, garbage included. Tests that run in parallel count, too. It may call
// read twice; both calls must do the same.
func Bound(t testing.TB, size, factor int, read func()) {
	t.Helper()
	limit := uint64(factor)*uint64(size) + fixed
	if measure(read, allocated) <= limit {
		return
	}
	// Earlier small allocations may have been counted only now.
	if n := measure(read, allocatedExactly); n > limit {
		t.Fatalf("must allocate at most %d bytes for each byte of the input, got %d for %d", factor, n, size)
	}
}

func measure(read func(), allocated func() uint64) uint64 {
	before := allocated()
	read()
	return allocated() - before
}

// allocated is the number of bytes that the program has allocated so far, without those
// that its processors have not reported yet. Unlike allocatedExactly it does not stop
// the program, so that fuzz targets are fast.
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
