package limits

import (
	"golang.org/x/sys/unix"
)

// macOS reports the machine's memory. Free memory is not well defined there, and
// address space has no limit.
var this = system{
	rlimits: func() rlimits { return rlimits{Unlimited, Unlimited, Unlimited} },
	more: func(least func(amount uint64, by string)) {
		if n, err := unix.SysctlUint64("hw.memsize"); err == nil {
			least(n, ByHost)
		}
	},
}
