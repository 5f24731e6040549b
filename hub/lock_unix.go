//go:build unix

package hub

import (
	"os"

	"golang.org/x/sys/unix"
)

// lock marks a part as being written by this program; it is false if another one does.
func lock(f *os.File) bool {
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != unix.EWOULDBLOCK
}

// rename gives a part its name while it is locked.
func rename(f *os.File, to string) error { return os.Rename(f.Name(), to) }
