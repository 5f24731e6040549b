package fullsize

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert"
)

// The same options give the same bytes, and a file appears when it is complete.
func TestWrite(t *testing.T) {
	folder := t.TempDir()
	write := func(name string, o Options) []byte {
		path := filepath.Join(folder, name)
		require.NoError(t, Write(context.Background(), path, o))
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		return b
	}
	first := write("a.safetensors", Options{Arch: "tiny", Seed: 1})
	require.Equal(t, first, write("b.safetensors", Options{Arch: "tiny", Type: "f16", Seed: 1}))
	require.NotEqual(t, first, write("c.safetensors", Options{Arch: "tiny", Seed: 2}))
	m, err := convert.Load(filepath.Join(folder, "a.safetensors"))
	require.NoError(t, err)
	defer m.Close()
	bias, ok := m.Tensor("model.diffusion_model.out.0.weight")
	require.True(t, ok)
	values := make([]float32, bias.Elements())
	require.NoError(t, bias.Float32(values))
	for _, v := range values {
		require.InDelta(t, 1, v, 0.1001)
	}

	done, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, Write(done, filepath.Join(folder, "d.safetensors"), Options{Arch: "tiny"}), context.Canceled)
	require.ErrorContains(t, Write(context.Background(), filepath.Join(folder, "e"), Options{Arch: "sd9"}), "must be "+Kinds+", got sd9")
	require.ErrorContains(t, Write(context.Background(), filepath.Join(folder, "e"), Options{Type: "q8_0"}), "the type must be f16 or f32, got q8_0")
	left, err := filepath.Glob(filepath.Join(folder, "*"))
	require.NoError(t, err)
	require.Len(t, left, 3)
}
