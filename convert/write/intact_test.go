//go:build cgo && unix

package write

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/read"
	"github.com/sdgo/sdgo/internal/fixture"
	"github.com/sdgo/sdgo/internal/mmap"
)

// A file that becomes shorter while it is converted is an error that says so, and
// leaves no file.
func TestShorterWhileConverted(t *testing.T) {
	folder := t.TempDir()
	path := fixture.Save(t, filepath.Join(folder, "model.safetensors"), nil, fixture.Fill(fixture.Weights(fixture.Tiny()), "F16"))
	m, err := read.Load(path)
	require.NoError(t, err)
	defer m.Close()
	require.NoError(t, m.Intact())
	out := filepath.Join(folder, "out.gguf")
	err = Convert(t.Context(), m, out, Options{Type: dtype.F32, Progress: func(int64, int64) {
		require.NoError(t, os.Truncate(path, 4096))
	}})
	require.ErrorIs(t, err, mmap.ErrChanged)
	require.ErrorContains(t, err, "model.safetensors: the file became shorter")
	require.ErrorIs(t, m.Intact(), mmap.ErrChanged)
	require.ErrorIs(t, CheckFinite(t.Context(), m, ""), mmap.ErrChanged)
	left, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Len(t, left, 1)
}
