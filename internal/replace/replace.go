// Package replace puts a finished file in another one's place.
package replace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"syscall"
	"time"
)

// patience is for programs that look into each new file on Windows, such as
// scanners for viruses: while they do, it cannot be renamed.
const patience = time.Second

// File renames the file from to to, in place of a file that is there. If that
// fails, both are what they were, and the error does not name from, which is
// some temporary file.
func File(from, to string) error {
	err := os.Rename(from, to)
	for begin := time.Now(); inUse(err) && time.Since(begin) < patience; err = os.Rename(from, to) {
		time.Sleep(patience / 20)
	}
	var link *os.LinkError
	if !errors.As(err, &link) {
		return err
	}
	if err = link.Err; inUse(err) {
		err = fmt.Errorf("%w: a file that is open, or only to be read, cannot be replaced", err)
	}
	return &fs.PathError{Op: "rename", Path: to, Err: err}
}

// inUse reports whether an error is what Windows says of a file that some
// program has open.
func inUse(err error) bool {
	const sharingViolation = syscall.Errno(32)
	return runtime.GOOS == "windows" && (errors.Is(err, fs.ErrPermission) || errors.Is(err, sharingViolation))
}
