package replace

import (
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
	path := filepath.Join(t.TempDir(), strings.Repeat("ä", 127)) // 254 bytes, 255 are possible
	require.NoError(t, create(t, path, "x").Commit())
	require.Equal(t, "x", read(t, path))
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
	require.Equal(t, []string{".0123abcd.sdgo.tmp.png", ".d.0123abcd.sdgo.tmp", filepath.Base(f.Name()), ".out.png.tmp", "out.png"}, names(t, folder))
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
