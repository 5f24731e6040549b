package output

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sdgo/sdgo/internal/replace"
)

// CheckFolder makes sure that a file can be created at path, by creating another
// one beside it for a moment.
func CheckFolder(path string) error {
	// Windows gives names like con.png to devices, and a:b.png to a stream of a.
	if name := filepath.Base(path); !filepath.IsLocal(name) {
		return &Error{Name: path, Text: name + " cannot be the name of a file on this system", Wrong: true}
	}
	folder := filepath.Dir(path)
	if info, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
		return &Error{Text: fmt.Sprintf("the folder %s does not exist", folder)}
	} else if err == nil && !info.IsDir() {
		return &Error{Text: folder + " is not a folder"}
	}
	if _, err := os.Lstat(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &Error{Name: path, Text: "cannot be the name of a file here", Err: Cause(err)} // it is too long
	}
	replace.Sweep(folder)
	f, err := replace.Create(path)
	if err != nil {
		return &Error{Text: "no file can be created in the folder " + folder, Err: Cause(err)}
	}
	f.Discard()
	return nil
}

// checkRegular makes sure that what is at path, if anything, is a file that can be
// replaced.
func checkRegular(path string) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return &Error{Name: path, Text: "not a regular file"}
	}
	return nil
}

// WriteFile creates the file at path with what write gives. There is never a part
// of a file at path: everything goes to a temporary file beside it, which is
// renamed when it is complete and on the disk, and removed when anything fails.
func WriteFile(path string, write func(io.Writer) error) error {
	return writeTo(path, write, (*replace.Temporary).Commit)
}

// writeNew is WriteFile for the first of several names in a folder, counted from 1,
// that nothing has: what other programs write at the same moment gets the next one.
func writeNew(name func(n int) string, write func(io.Writer) error) (n int, err error) {
	err = writeTo(name(1), write, func(f *replace.Temporary) (err error) {
		for n = 1; n <= maxNames; n++ {
			if err = f.CommitNew(name(n)); !errors.Is(err, fs.ErrExist) {
				return err
			}
		}
		return err
	})
	return n, err
}

// maxNames bounds how many pictures in a folder have one seed.
const maxNames = 1 << 20

// writeTo writes a temporary file beside path and has it committed.
func writeTo(path string, write func(io.Writer) error, commit func(*replace.Temporary) error) error {
	f, err := replace.Create(path)
	if err == nil {
		defer f.Discard()
		err = write(f)
	}
	if err == nil {
		err = commit(f)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, Cause(err))
	}
	return nil
}
