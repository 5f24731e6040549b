// Package limits says what this process may take of the machine, which in a
// container or under ulimit is less than the machine has: memory, processors
// and threads. It reads what the system says and keeps nothing, so answers are
// those of the moment.
//
// On Linux that is /proc, the process's control groups (cgroup, versions 1 and
// 2, at every level up to the root) and its resource limits; on other Unix
// systems the resource limits; on Windows the free memory and the limits of the
// process's job. What can't be read bounds nothing.
package limits

import (
	"math"
	"runtime"

	"github.com/klauspost/cpuid/v2"
)

// Unlimited is an amount that nothing bounds.
const Unlimited = math.MaxUint64

// Bound is an amount and what it comes from, such as "free memory" or "control
// group".
type Bound struct {
	Amount uint64
	By     string
}

// What bounds memory.
const (
	ByHost    = "the machine's free memory"
	ByGroup   = "the control group's memory limit"
	ByAddress = "the limit of address space (ulimit -v)"
	ByData    = "the limit of data (ulimit -d)"
	ByJob     = "the job's memory limit"
)

// Memory is what the process may still take, in bytes. Pages of files, which the
// system can take back, count as free.
func Memory() Bound { return this.memory(func(string) uint64 { return 0 }) }

// Threads is how many threads the process may still make.
func Threads() uint64 { return this.threads() }

// CPUs is how many threads can compute at once: one for each physical core that
// the process may run on, and no more than its control groups' share of time is
// worth, rounded up.
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
