//go:build unix

package replace

import (
	"os"

	"golang.org/x/sys/unix"
)

// renamedOpen says that a file is renamed while it is open and locked.
const renamedOpen = true

// lock marks a file as being written by a running program. It fails if another program
// has locked the file. On file systems without locks it succeeds, and Sweep, which
// can't lock there, removes nothing.
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

// syncFolder writes a folder's new name to the disk, if the file system can.
func syncFolder(path string) {
	if f, err := os.Open(path); err == nil {
		_ = f.Sync()
		f.Close()
	}
}
