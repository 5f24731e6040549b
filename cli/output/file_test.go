package output

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A disk that is full leaves no part of a file, and what was there before stays.
func TestNoSpace(t *testing.T) {
	path := in(t, "out.png")
	full := func(w io.Writer) error {
		_, err := w.Write([]byte("half a picture"))
		return errors.Join(err, &os.PathError{Op: "write", Path: path + ".tmp", Err: syscall.ENOSPC})
	}
	require.EqualError(t, WriteFile(path, full), "writing "+path+": no space left on device")
	requireFiles(t, filepath.Dir(path))
	require.NoError(t, os.WriteFile(path, []byte("precious"), 0o666))
	require.Error(t, WriteFile(path, full))
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "precious", string(data))
	requireFiles(t, filepath.Dir(path), "out.png")
}

func TestCause(t *testing.T) {
	require.Equal(t, syscall.ENOENT, Cause(&os.PathError{Op: "open", Path: "x", Err: syscall.ENOENT}))
	require.Equal(t, syscall.EXDEV, Cause(&os.LinkError{Op: "rename", Old: "x", New: "y", Err: syscall.EXDEV}))
	require.Equal(t, io.EOF, Cause(io.EOF))
}
