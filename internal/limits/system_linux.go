package limits

import (
	"os"

	"golang.org/x/sys/unix"
)

var this = system{
	root:     os.DirFS("/"),
	rlimits:  readRlimits,
	pageSize: uint64(os.Getpagesize()),
	user:     os.Getuid(),
	exempt:   os.Getuid() == 0,
}

func readRlimits() rlimits {
	get := func(which int) uint64 {
		var r unix.Rlimit
		if unix.Getrlimit(which, &r) != nil {
			return Unlimited
		}
		return r.Cur // RLIM_INFINITY is Unlimited
	}
	return rlimits{get(unix.RLIMIT_AS), get(unix.RLIMIT_DATA), get(unix.RLIMIT_NPROC)}
}
