//go:build unix

package replace

import (
	"os"

	"golang.org/x/sys/unix"
)

// renamedOpen says that a file gets its name while it is open, and locked.
const renamedOpen = true

// lock marks a file as one that a running program writes, and fails where another
// program has locked it. Where the file system has no locks, Sweep can't lock it
// either, and leaves it alone.
func lock(f *os.File) bool {
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != unix.EWOULDBLOCK
}

func removeUnlocked(path string) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer f.Close()
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		os.Remove(path)
	}
}

// syncFolder brings a new name in a folder to the disk, as far as the file system
// can.
func syncFolder(path string) {
	if f, err := os.Open(path); err == nil {
		_ = f.Sync()
		f.Close()
	}
}
