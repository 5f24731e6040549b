package replace

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFile(t *testing.T) {
	folder := t.TempDir()
	from, to := filepath.Join(folder, "a.tmp"), filepath.Join(folder, "a")
	write := func(path, text string) { require.NoError(t, os.WriteFile(path, []byte(text), 0o666)) }
	read := func(path string) string {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		return string(text)
	}
	write(from, "new")
	require.NoError(t, File(from, to))
	require.Equal(t, "new", read(to))
	require.NoFileExists(t, from)

	// A file that is open: elsewhere it is replaced, on Windows both stay.
	write(from, "newer")
	f, err := os.Open(to)
	require.NoError(t, err)
	defer f.Close()
	err = File(from, to)
	if runtime.GOOS != "windows" {
		require.NoError(t, err)
		require.Equal(t, "newer", read(to))
		return
	}
	require.ErrorContains(t, err, to)
	require.ErrorContains(t, err, "a file that is open")
	require.NotContains(t, err.Error(), from)
	require.Equal(t, "new", read(to))
	require.Equal(t, "newer", read(from))
}

func TestFolderInTheWay(t *testing.T) {
	folder := t.TempDir()
	from, to := filepath.Join(folder, "a.tmp"), filepath.Join(folder, "a")
	require.NoError(t, os.WriteFile(from, nil, 0o666))
	require.NoError(t, os.Mkdir(to, 0o777))
	err := File(from, to)
	require.ErrorContains(t, err, to)
	require.NotContains(t, err.Error(), from)
	require.FileExists(t, from)
}
