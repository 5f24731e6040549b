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
	"syscall"
	"time"
)

// Temporary is a temporary file in the folder of the file that it will become.
type Temporary struct {
	*os.File
	to     string
	closed bool
	done   bool
}

// Temporary files are hidden. Their names owe nothing to the final name, which may be as
// long as the file system allows.
const ending = ".sdgo.tmp"

// temporaryName matches the names of earlier versions, too, which began with the
// beginning of the final name.
var temporaryName = regexp.MustCompile(`^\.(.*\.)?[0-9a-f]{8,16}` + regexp.QuoteMeta(ending) + `$`)

// Create creates a temporary file for a file at path, with the permissions that a
// new file there would get. Call Discard when done with it, whether Commit was called
// or not.
func Create(path string) (*Temporary, error) {
	for {
		name := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%016x%s", rand.Uint64(), ending))
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
func (t *Temporary) Commit() error { return t.commit(t.to, os.Rename) }

// CommitNew is Commit for a name in the same folder that nothing has. If something has
// it the error is an fs.ErrExist, and the file can be committed to another name: of
// several programs that want one name at the same moment, one gets it.
func (t *Temporary) CommitNew(path string) error { return t.commit(path, renameNew) }

func (t *Temporary) commit(path string, move func(from, to string) error) error {
	if !t.closed {
		if err := t.Sync(); err != nil {
			return withPath(err, path)
		}
	}
	if !renamedOpen && !t.closed {
		t.closed = true
		if err := t.Close(); err != nil {
			return withPath(err, path)
		}
	}
	if err := patiently(move, t.Name(), path); err != nil {
		return err
	}
	t.done = true
	t.Close() // and release its lock
	syncFolder(filepath.Dir(path))
	return nil
}

// claim creates an empty file, for systems that cannot rename without replacing, and
// replaces that.
func claim(from, to string) error {
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	f.Close()
	if err = os.Rename(from, to); err != nil {
		os.Remove(to)
	}
	return err
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

func patiently(move func(from, to string) error, from, to string) error {
	err := move(from, to)
	for begin := time.Now(); inUse(err) && time.Since(begin) < patience; err = move(from, to) {
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
