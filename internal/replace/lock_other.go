//go:build !unix

package replace

import (
	"os"
	"time"
)

// renamedOpen: on Windows a file has to be closed before it gets another name.
const renamedOpen = false

// lock: Windows removes no file that is open.
func lock(*os.File) bool { return true }

// left is how old a file must be to have been left: one that is about to get its
// name is closed for a moment.
const left = time.Minute

func removeUnlocked(path string) {
	if info, err := os.Stat(path); err == nil && time.Since(info.ModTime()) > left {
		os.Remove(path)
	}
}

// syncFolder: names are on the disk with their files.
func syncFolder(string) {}
