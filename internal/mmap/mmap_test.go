package mmap

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

func write(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	return path
}

func TestOpen(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 1000)
	f, err := Open(write(t, data))
	require.NoError(t, err)
	require.Equal(t, data, f.Data)
	require.NoError(t, f.Intact())
	f.Release(f.Data[100:9000])
	f.Release(data) // other memory
	f.Release(nil)
	require.Equal(t, data, f.Data, "released pages come back")
	require.NoError(t, f.Close())
	require.NoError(t, f.Close())
	require.NoError(t, f.Intact())

	f, err = Open(write(t, nil))
	require.NoError(t, err)
	require.Empty(t, f.Data)
	require.NoError(t, f.Close())

	_, err = Open(filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = Open(t.TempDir())
	require.Error(t, err)
}

// If a file becomes shorter, reads return zeros and Intact an error, and the program
// continues. Other maps are not affected, nor is a later one at the same address.
func TestShorterWhileMapped(t *testing.T) {
	if runtime.GOOS == "windows" || !guarded {
		return // Windows does not allow shortening it
	}
	data := bytes.Repeat([]byte{7}, 1<<20)
	path := write(t, data)
	for range 3 {
		require.NoError(t, os.WriteFile(path, data, 0o600))
		f, err := Open(path)
		require.NoError(t, err)
		other, err := Open(write(t, data))
		require.NoError(t, err)
		require.NoError(t, os.Truncate(path, 5000))
		require.Equal(t, byte(7), f.Data[4999])
		require.NoError(t, f.Intact(), "the remaining part may be read")
		require.Equal(t, byte(0), f.Data[1<<20-1])
		require.Equal(t, make([]byte, 1<<20-8192), f.Data[8192:])
		require.ErrorIs(t, f.Intact(), ErrChanged)
		require.EqualError(t, f.Intact(), "file: the file became shorter, or could not be read, while it was in use")
		require.Equal(t, data, other.Data)
		require.NoError(t, other.Intact())
		require.NoError(t, f.Close())
		require.NoError(t, other.Close())
	}
}

// Other faults are not changed: they are a panic for Go code that asks for one.
func TestOtherFaults(t *testing.T) {
	f, err := Open(write(t, make([]byte, 100)))
	require.NoError(t, err)
	defer f.Close()
	var nothing *int
	require.Panics(t, func() { *nothing = 1 })
}
