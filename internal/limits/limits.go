// Package limits finds how much memory, and how many processors and threads, this
// process may use. In a container or under ulimit that is less than the machine has.
// It asks the system in each call and caches nothing.
//
// On Linux that is /proc, the process's control groups (cgroup, versions 1 and
// 2, at every level up to the root) and its resource limits; on other Unix
// systems the resource limits; on Windows the free memory and the limits of the
// process's job. A value that can't be read is no limit.
package limits

import (
	"math"
	"runtime"

	"github.com/klauspost/cpuid/v2"
)

// Unlimited is an amount without a limit.
const Unlimited = math.MaxUint64

// Bound is an amount and what it comes from, such as "free memory" or "control
// group".
type Bound struct {
	Amount uint64
	By     string
}

// The sources of memory limits.
const (
	ByHost    = "the machine's free memory"
	ByGroup   = "the control group's memory limit"
	ByAddress = "the limit of address space (ulimit -v)"
	ByData    = "the limit of data (ulimit -d)"
	ByJob     = "the job's memory limit"
)

// Memory is what the process may still allocate, in bytes. Pages of files count as
// free, because the system can reclaim them.
func Memory() Bound { return this.memory(func(string) uint64 { return 0 }) }

// Threads is the number of threads that the process may still create.
func Threads() uint64 { return this.threads() }

// CPUs is the number of threads that can compute at once: one for each physical core
// that the process may run on, and no more than its control groups' CPU quota, rounded
// up.
func CPUs() int {
	n := runtime.NumCPU()
	if c := cpuid.CPU; c.PhysicalCores > 0 && c.ThreadsPerCore > 1 {
		n = max(1, n/c.ThreadsPerCore)
	}
	return max(1, min(n, int(min(this.quota(), math.MaxInt32))))
}

// minus is a - b, not below 0; nothing is taken from what is unlimited.
func minus(a, b uint64) uint64 {
	if a == Unlimited {
		return a
	}
	return a - min(a, b)
}
