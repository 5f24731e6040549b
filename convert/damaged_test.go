package convert

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/convert/safetensors"
)

// A model file that lacks one of its tensors, or has one of another shape, is a model
// or an error of the file, never a fault of what reads it: whatever is read after the
// first size that doesn't fit gets sizes that are zero.
func TestOneDamagedTensor(t *testing.T) {
	var paths []string
	for _, pattern := range []string{"*.safetensors", "*/*.safetensors"} {
		found, err := filepath.Glob(filepath.Join("..", "testdata", pattern))
		require.NoError(t, err)
		paths = append(paths, found...)
	}
	models, refused := 0, 0
	for _, path := range paths {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		m, err := OpenBytes("whole", data)
		if err != nil { // references of tests, and what is no model alone
			continue
		}
		require.NoError(t, m.Close())
		models++
		t.Run(path, func(t *testing.T) {
			parsed, err := safetensors.Parse(data)
			require.NoError(t, err)
			refused += requireNoFaults(t, parsed)
		})
	}
	require.Greater(t, models, 12)
	require.Greater(t, refused, 10*models)
}

// requireNoFaults returns how many damaged files were refused.
func requireNoFaults(t *testing.T, file *safetensors.File) (refused int) {
	whole := file.Tensors
	try := func(what string, tensors []safetensors.Tensor) {
		var b bytes.Buffer
		require.NoError(t, safetensors.Write(&b, file.Metadata, tensors))
		m, err := OpenBytes(what, b.Bytes())
		if err == nil {
			require.NoError(t, m.Close())
			return
		}
		refused++
		require.NotContains(t, err.Error(), "fault of the program", what)
	}
	every := len(whole)/20 + 1 // of large models not each tensor: seconds matter
	for i := 0; i < len(whole); i += every {
		x := whole[i]
		try(x.Name+" left out", slices.Delete(slices.Clone(whole), i, i+1))
		rest := slices.Clone(x.Shape[min(1, len(x.Shape)):])
		for _, shape := range [][]int64{{1}, append([]int64{1}, x.Shape...), append([]int64{0}, rest...), append(rest, 1)} {
			changed := slices.Clone(whole)
			changed[i].Shape, changed[i].Data = shape, sized(t, x.DType, shape)
			try(fmt.Sprint(x.Name, " of the shape ", shape), changed)
		}
	}
	return refused
}

// sized is data of a tensor of the type and shape.
func sized(t *testing.T, name string, shape []int64) []byte {
	typ, ok := model.TypeOf(name)
	require.True(t, ok, name)
	n := int64(1)
	for _, side := range shape {
		n *= side
	}
	size, ok := typ.Size(n, max(1, n))
	require.True(t, ok)
	return make([]byte, size)
}
