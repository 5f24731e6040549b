package adapter

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/model"
)

// What a file is, is found without its numbers as with them; numbers that are none are
// not noticed, and what is missing is.
func TestLook(t *testing.T) {
	files, err := filepath.Glob("../../testdata/adapters/*")
	require.NoError(t, err)
	looked := 0
	for _, path := range files {
		s, err := Look(path)
		f, openErr := Open(path)
		if openErr != nil {
			require.Error(t, err, path)
			continue
		}
		looked++
		require.NoError(t, err, path)
		require.Equal(t, f.Info(), s.Info, path)
		require.Equal(t, f.Alias, s.Alias, path)
		require.Equal(t, f.Metadata, s.Metadata, path)
		require.Len(t, s.Words, len(f.Embeddings), path)
		require.NoError(t, f.Close())
	}
	require.Greater(t, looked, 20)

	data, err := os.ReadFile("../../testdata/adapters/locon.safetensors")
	require.NoError(t, err)
	for i := len(data) - 64; i < len(data); i++ {
		data[i] = 0xff
	}
	path := filepath.Join(t.TempDir(), "a.safetensors")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	_, err = Open(path)
	require.ErrorContains(t, err, "NaN")
	_, err = Look(path)
	require.NoError(t, err)

	half := strings.Replace(string(data), "lora_up.weight", "lora_qq.weight", 1)
	require.NoError(t, os.WriteFile(path, []byte(half), 0o600))
	_, err = Look(path)
	require.ErrorContains(t, err, "no known kind")
	_, err = Look("../../testdata/nets/sd1.safetensors")
	require.ErrorIs(t, err, model.ErrUnrecognized)
	_, err = Look(filepath.Join(t.TempDir(), "none"))
	require.Error(t, err)
}
