package limits

import (
	"golang.org/x/sys/unix"
)

// macOS tells what the machine has; what is free there is a matter of opinion,
// and address space is not bounded.
var this = system{
	rlimits: func() rlimits { return rlimits{Unlimited, Unlimited, Unlimited} },
	more: func(least func(amount uint64, by string)) {
		if n, err := unix.SysctlUint64("hw.memsize"); err == nil {
			least(n, ByHost)
		}
	},
}
