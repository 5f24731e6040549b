//go:build !unix

package replace

import (
	"os"
	"time"
)

// renamedOpen is false because on Windows a file must be closed before it is renamed.
const renamedOpen = false

// lock does nothing: Windows does not remove open files.
func lock(*os.File) bool { return true }

// left is the age from which a temporary file counts as left over: a file that is about
// to be renamed is closed, and so unprotected, for a moment.
const left = time.Minute

func removeUnlocked(path string) {
	if info, err := os.Stat(path); err == nil && time.Since(info.ModTime()) > left {
		os.Remove(path)
	}
}

// syncFolder does nothing: names are on the disk with their files.
func syncFolder(string) {}
