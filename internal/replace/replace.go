// Package replace writes files that appear under their name when they are complete,
// in place of what was there: never in part, whatever ends the program.
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

// Temporary is a file under another name, in the folder of the one that it will be.
type Temporary struct {
	*os.File
	to   string
	done bool
}

// Temporaries are hidden, and have the beginning of the name that they will get.
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
		// Sweep takes a file that nobody has locked for one that was left. It may have
		// come to this one first.
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

// Commit puts the file in its place: it is on the disk, and so is its name, when
// Commit returns without an error. Else what was there is there still. Errors don't
// name the temporary file.
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
	t.Close() // and its lock is gone
	syncFolder(filepath.Dir(t.to))
	return nil
}

// Discard removes the file unless it was committed. Its space is given back
// afterwards: a system may take long to forget what was on its way to the disk.
func (t *Temporary) Discard() {
	switch {
	case t.done:
	case renamedOpen: // and so removed while it is open
		t.Remove()
		go t.Close()
	default:
		t.Close()
		t.Remove()
	}
}

// Remove takes the temporary file's name away, so that nothing is left of it
// whenever the program ends; Commit fails then, unless it was faster. Another
// goroutine may call it. (On Windows Discard has to.)
func (t *Temporary) Remove() { os.Remove(t.Name()) }

// Sweep removes the temporary files that programs left in a folder that were ended
// while they wrote. Those of programs that run stay: they hold a lock on them.
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

// patience is for programs that look into each new file on Windows, such as
// scanners for viruses: while they do, it cannot be renamed.
const patience = time.Second

func rename(from, to string) error {
	err := os.Rename(from, to)
	for begin := time.Now(); inUse(err) && time.Since(begin) < patience; err = os.Rename(from, to) {
		time.Sleep(patience / 20)
	}
	return withPath(err, to)
}

// withPath is a file's error with another name.
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
		err = fmt.Errorf("%w: a file that is open, or only to be read, cannot be replaced", err)
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}

// inUse reports whether an error is what Windows says of a file that some
// program has open.
func inUse(err error) bool {
	const sharingViolation = syscall.Errno(32)
	return runtime.GOOS == "windows" && (errors.Is(err, fs.ErrPermission) || errors.Is(err, sharingViolation))
}
