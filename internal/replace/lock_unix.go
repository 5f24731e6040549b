//go:build unix

package replace

import (
	"errors"
	"io/fs"
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

// renameNew gives a file a name that nothing has: a second link, which no system makes
// where something is. FAT and some network file systems have no links.
func renameNew(from, to string) error {
	err := os.Link(from, to)
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrExist):
		if !sameFile(from, to) { // it is where the answer of a file server was lost
			return err
		}
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EMLINK):
		return claim(from, to)
	default:
		return err
	}
	os.Remove(from) // what remains, Sweep removes
	return nil
}

func sameFile(a, b string) bool {
	one, err := os.Lstat(a)
	other, err2 := os.Lstat(b)
	return err == nil && err2 == nil && os.SameFile(one, other)
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
