package sd

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/safetensors"
)

// What the diffusers and transformers libraries compute, from testdata/nets
// and testdata/pipelines, whose READMEs say how it was made.

const (
	netsFolder      = "../testdata/nets"
	pipelinesFolder = "../testdata/pipelines"
)

// reference is a file of reference values.
type reference struct {
	t       *testing.T
	file    *safetensors.File
	tensors map[string]safetensors.Tensor
}

func readReference(t *testing.T, path ...string) reference {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	require.NoError(t, err)
	file, err := safetensors.Parse(data)
	require.NoError(t, err)
	r := reference{t, file, map[string]safetensors.Tensor{}}
	for _, tensor := range file.Tensors {
		r.tensors[tensor.Name] = tensor
	}
	return r
}

func (r reference) tensor(name, dtype string) safetensors.Tensor {
	r.t.Helper()
	tensor, ok := r.tensors[name]
	require.True(r.t, ok, "no reference %s", name)
	require.Equal(r.t, dtype, tensor.DType, name)
	return tensor
}

func (r reference) f32(name string) []float32 {
	r.t.Helper()
	b := r.tensor(name, "F32").Data
	out := make([]float32, len(b)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return out
}

func (r reference) i32(name string) []int32 {
	r.t.Helper()
	b := r.tensor(name, "I32").Data
	out := make([]int32, len(b)/4)
	for i := range out {
		out[i] = int32(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return out
}

func (r reference) shape(name string) []int64 {
	r.t.Helper()
	tensor, ok := r.tensors[name]
	require.True(r.t, ok, "no reference %s", name)
	return tensor.Shape
}

// relativeRMS is the root mean square of the difference, in proportion to
// that of the wanted values.
func relativeRMS(got, want []float32) float64 {
	if len(got) != len(want) {
		return math.NaN()
	}
	var difference, size float64
	for i := range want {
		d := float64(got[i]) - float64(want[i])
		difference += d * d
		size += float64(want[i]) * float64(want[i])
	}
	return math.Sqrt(difference / size)
}

// requireClose fails unless the relative RMS error is within a bound; NaN
// is not.
func requireClose(t *testing.T, got, want []float32, bound float64, what string) {
	t.Helper()
	e := relativeRMS(got, want)
	require.True(t, e <= bound, "%s: relative RMS error %.3g, at most %g wanted", what, e, bound)
}

// openTiny opens one of the tiny models.
func openTiny(t *testing.T, name string, o Options) *Model {
	t.Helper()
	return openFile(t, filepath.Join(netsFolder, name), o)
}

// openFile opens a model until the test ends.
func openFile(t *testing.T, path string, o Options) *Model {
	t.Helper()
	m, err := Open(path, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}
