package mutate_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/checkpoint"
	"github.com/sdgo/sdgo/convert/gguf"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/internal/mutate"
)

var formats = map[string]struct {
	write func(*mutate.Model, *mutate.Script) []byte
	parse func([]byte) (tensors int, err error)
}{
	"safetensors": {(*mutate.Model).Safetensors, func(data []byte) (int, error) {
		f, err := safetensors.Parse(data)
		if err != nil {
			return 0, err
		}
		return len(f.Tensors), nil
	}},
	"gguf": {(*mutate.Model).GGUF, func(data []byte) (int, error) {
		f, err := gguf.Parse(data)
		if err != nil {
			return 0, err
		}
		return len(f.Tensors), nil
	}},
	"checkpoint": {(*mutate.Model).Checkpoint, func(data []byte) (int, error) {
		all, err := checkpoint.Parse(data)
		return len(all), err
	}},
}

// An empty script writes a valid file.
func TestNothingChanged(t *testing.T) {
	for name, format := range formats {
		n, err := format.parse(format.write(mutate.Small(), mutate.NewScript(nil)))
		require.NoError(t, err, name)
		require.Equal(t, 3, n, name)
	}
}

// A seed's script gives the same file each time. The files are refused for many
// reasons, and some are accepted.
func TestRandom(t *testing.T) {
	for name, format := range formats {
		good, errors := 0, map[string]bool{}
		for seed := range uint64(500) {
			data := format.write(mutate.Small(), mutate.Random(seed))
			require.True(t, bytes.Equal(data, format.write(mutate.Small(), mutate.Random(seed))), "%s, seed %d", name, seed)
			if _, err := format.parse(data); err != nil {
				errors[err.Error()] = true
			} else {
				good++
			}
		}
		require.Greater(t, good, 25, name)
		require.Greater(t, len(errors), 50, name)
	}
}

// A folder's script changes its files; an empty one changes none.
func TestFolder(t *testing.T) {
	f := &mutate.Folder{Texts: map[string]string{"a.json": `{"x":[1,{"y":2}]}`}, Nets: map[string]*mutate.Model{"n.safetensors": mutate.Small()}}
	same := f.Files(mutate.NewScript(nil))
	require.Equal(t, f.Texts["a.json"], string(same["a.json"]))
	require.Equal(t, mutate.Small().Safetensors(mutate.NewScript(nil)), same["n.safetensors"])
	texts, nets, missing := map[string]bool{}, map[string]bool{}, 0
	for seed := range uint64(500) {
		files := f.Files(mutate.Random(seed))
		texts[string(files["a.json"])] = true
		nets[string(files["n.safetensors"])] = true
		missing += 2 - len(files)
	}
	require.Greater(t, len(texts), 50)
	require.Greater(t, len(nets), 100)
	require.Greater(t, missing, 10)
}
