// Package replace writes files atomically: a file appears under its name, or replaces
// the old one, when it is complete, even if the program is killed.
package replace

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Temporary is a temporary file in the folder of the file that it will become.
type Temporary struct {
	*os.File
	to   string
	done bool
}

// Temporary files are hidden, and their names begin with the beginning of the final name.
const (
	ending  = ".sdgo.tmp"
	longest = 100 // bytes of that name
)

var temporaryName = regexp.MustCompile(`^\..*\.[0-9a-f]{8}` + regexp.QuoteMeta(ending) + `$`)

// Create creates a temporary file for a file at path, with the permissions that a
// new file there would get. Call Discard when done with it, whether Commit was called
// or not.
func Create(path string) (*Temporary, error) {
	base := filepath.Base(path)
	base = strings.ToValidUTF8(base[:min(len(base), longest)], "")
	for {
		name := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.%08x%s", base, rand.Uint32(), ending))
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		// Sweep removes files that nobody has locked. It may have removed this one
		// before the lock.
		if !lock(f) {
			f.Close()
			continue
		}
		if here, err := os.Lstat(name); err == nil {
			if ours, err := f.Stat(); err == nil && os.SameFile(here, ours) {
				return &Temporary{File: f, to: path}, nil
			}
		}
		f.Close()
	}
}

// Commit renames the file to its final name. When it returns nil, the file and its name
// are on the disk. On an error the old file is still there. Errors don't name the
// temporary file.
func (t *Temporary) Commit() error {
	if err := t.Sync(); err != nil {
		return withPath(err, t.to)
	}
	if !renamedOpen {
		if err := t.Close(); err != nil {
			return withPath(err, t.to)
		}
	}
	if err := rename(t.Name(), t.to); err != nil {
		return err
	}
	t.done = true
	t.Close() // and release its lock
	syncFolder(filepath.Dir(t.to))
	return nil
}

// Discard removes the file unless it was committed. It closes the file in the
// background, because a system may take long to drop data that was not written yet.
func (t *Temporary) Discard() {
	switch {
	case t.done:
	case renamedOpen: // so it can be removed while it is open
		t.Remove()
		go t.Close()
	default:
		t.Close()
		t.Remove()
	}
}

// Remove removes the temporary file's name, so that no file remains whenever the program
// ends. A later Commit fails. It may be called from any goroutine. (On Windows it has no
// effect on an open file; call Discard.)
func (t *Temporary) Remove() { os.Remove(t.Name()) }

// Sweep removes temporary files in a folder that killed programs left. Files of running
// programs stay, because these hold a lock on them.
func Sweep(folder string) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.Type().IsRegular() && temporaryName.MatchString(e.Name()) {
			removeUnlocked(filepath.Join(folder, e.Name()))
		}
	}
}

// patience is how long to retry a rename on Windows, where other programs that open
// each new file, such as virus scanners, prevent it.
const patience = time.Second

func rename(from, to string) error {
	err := os.Rename(from, to)
	for begin := time.Now(); inUse(err) && time.Since(begin) < patience; err = os.Rename(from, to) {
		time.Sleep(patience / 20)
	}
	return withPath(err, to)
}

// withPath replaces the path in a file's error.
func withPath(err error, path string) error {
	var link *os.LinkError
	var p *fs.PathError
	op := "write"
	switch {
	case errors.As(err, &link):
		op, err = "rename", link.Err
	case errors.As(err, &p):
		op, err = p.Op, p.Err
	}
	if err == nil {
		return nil
	}
	if inUse(err) {
		err = fmt.Errorf("%w: a file that is open or read-only cannot be replaced", err)
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}

// inUse reports whether an error is that of Windows for a file that some program has
// open.
func inUse(err error) bool {
	const sharingViolation = syscall.Errno(32)
	return runtime.GOOS == "windows" && (errors.Is(err, fs.ErrPermission) || errors.Is(err, sharingViolation))
}
