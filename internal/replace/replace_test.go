package replace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

func create(t *testing.T, path, text string) *Temporary {
	t.Helper()
	f, err := Create(path)
	require.NoError(t, err)
	t.Cleanup(f.Discard)
	_, err = f.WriteString(text)
	require.NoError(t, err)
	return f
}

func names(t *testing.T, folder string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestCommit(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "a")
	f := create(t, path, "new")
	require.NoFileExists(t, path)
	require.NoError(t, f.Commit())
	f.Discard()
	require.Equal(t, "new", read(t, path))

	// An open file is replaced, except on Windows, where both files stay.
	f = create(t, path, "newer")
	open, err := os.Open(path)
	require.NoError(t, err)
	defer open.Close()
	err = f.Commit()
	f.Discard()
	require.Equal(t, []string{"a"}, names(t, folder))
	if runtime.GOOS != "windows" {
		require.NoError(t, err)
		require.Equal(t, "newer", read(t, path))
		return
	}
	require.ErrorContains(t, err, path)
	require.ErrorContains(t, err, "a file that is open")
	require.NotContains(t, err.Error(), ending)
	require.Equal(t, "new", read(t, path))
}

func TestDiscard(t *testing.T) {
	folder := t.TempDir()
	f := create(t, filepath.Join(folder, "a"), "half")
	f.Discard()
	f.Discard()
	require.Empty(t, names(t, folder))
	_, err := Create(filepath.Join(folder, "none", "a"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestLongNames(t *testing.T) {
	for _, name := range []string{strings.Repeat("a", 255), strings.Repeat("ä", 127) + "a", strings.Repeat("画", 85), strings.Repeat("😀", 63) + "abc"} {
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, create(t, path, "x").Commit())
		require.Equal(t, "x", read(t, path))
		require.ErrorIs(t, create(t, path, "y").CommitNew(path), fs.ErrExist)
		require.Less(t, len(filepath.Base(create(t, path, "z").Name())), 32)
	}
}

// Of all that commit to one name at the same moment one gets it; the others go on to the
// next, and nothing is lost.
func TestCommitNew(t *testing.T) {
	const programs, files = 8, 4
	for range 4 {
		folder := t.TempDir()
		done := make(chan error)
		for p := range programs {
			go func() {
				for i := range files {
					if err := putNew(folder, fmt.Sprint(p, " ", i)); err != nil {
						done <- err
						return
					}
				}
				done <- nil
			}()
		}
		for range programs {
			require.NoError(t, <-done)
		}
		texts := map[string]bool{}
		for _, name := range names(t, folder) {
			texts[read(t, filepath.Join(folder, name))] = true
		}
		require.Len(t, names(t, folder), programs*files)
		require.Len(t, texts, programs*files)
	}
}

// putNew writes a file under the first free name.
func putNew(folder, text string) error {
	f, err := Create(filepath.Join(folder, "1"))
	if err != nil {
		return err
	}
	defer f.Discard()
	if _, err := f.WriteString(text); err != nil {
		return err
	}
	for i := 1; ; i++ {
		if err := f.CommitNew(filepath.Join(folder, fmt.Sprint(i))); !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
}

// Where there are no links a name is claimed with an empty file, and given back if it
// cannot be used.
func TestClaim(t *testing.T) {
	folder := t.TempDir()
	a, b := filepath.Join(folder, "a"), filepath.Join(folder, "b")
	require.NoError(t, os.WriteFile(a, []byte("x"), 0o600))
	require.NoError(t, claim(a, b))
	require.Equal(t, "x", read(t, b))
	require.ErrorIs(t, claim(b, b), fs.ErrExist)
	require.ErrorIs(t, claim(filepath.Join(folder, "none"), a), fs.ErrNotExist)
	require.Equal(t, []string{"b"}, names(t, folder))
}

func TestFolderInTheWay(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "a")
	require.NoError(t, os.Mkdir(path, 0o777))
	f := create(t, path, "x")
	err := f.Commit()
	require.ErrorContains(t, err, path)
	require.NotContains(t, err.Error(), ending)
	f.Discard()
	require.Equal(t, []string{"a"}, names(t, folder))
}

// Files that a killed program left are removed. Files that a program is writing, and
// files with other names, stay.
func TestSweep(t *testing.T) {
	folder := t.TempDir()
	write := func(name string) { require.NoError(t, os.WriteFile(filepath.Join(folder, name), nil, 0o600)) }
	write(".out.png.0123abcd.sdgo.tmp")
	write("out.png")
	write(".out.png.tmp")
	write(".0123abcd.sdgo.tmp.png")
	require.NoError(t, os.Mkdir(filepath.Join(folder, ".d.0123abcd.sdgo.tmp"), 0o777))
	old := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(filepath.Join(folder, ".out.png.0123abcd.sdgo.tmp"), old, old))
	f := create(t, filepath.Join(folder, "out.png"), "x")
	Sweep(folder)
	require.ElementsMatch(t, []string{".0123abcd.sdgo.tmp.png", ".d.0123abcd.sdgo.tmp", filepath.Base(f.Name()), ".out.png.tmp", "out.png"}, names(t, folder))
	require.NoError(t, f.Commit())
	require.Equal(t, "x", read(t, filepath.Join(folder, "out.png")))
	Sweep(filepath.Join(folder, "none"))
}

// Programs that write and sweep at the same time lose no file.
func TestSweepWhileOthersWrite(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "a")
	done := make(chan error)
	for range 4 {
		go func() {
			for range 50 {
				f, err := Create(path)
				if err == nil {
					err = f.Commit()
					f.Discard()
				}
				if err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for finished := 0; finished < 4; {
		Sweep(folder)
		select {
		case err := <-done:
			require.NoError(t, err)
			finished++
		default:
		}
	}
	require.Equal(t, []string{"a"}, names(t, folder))
}
