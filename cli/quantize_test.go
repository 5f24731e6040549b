package cli

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/internal/checked"
)

// A converted tensor is what ggml's quantizer makes of the whole of it, though
// several processors convert pieces: in every type, without an importance
// matrix and with one.
func TestQuantizedBytes(t *testing.T) {
	folder := t.TempDir()
	random := func(name string, rows, columns int64) safetensors.Tensor {
		r := rand.New(rand.NewPCG(1, uint64(rows)))
		values := make([]float32, rows*columns)
		for i := range values {
			values[i] = float32(r.NormFloat64() * 0.05)
		}
		x := safetensors.Tensor{Name: name, DType: "F32", Shape: []int64{rows, columns}, Data: make([]byte, 4*len(values))}
		require.NoError(t, dtype.Encode(dtype.F32, x.Data, values))
		return x
	}
	// The second one has more elements than one piece of the work.
	tensors := []safetensors.Tensor{random("encoder.block.0.layer.0.SelfAttention.q.weight", 96, 512), random("encoder.block.0.layer.1.DenseReluDense.wo.weight", 8200, 512)}
	source := filepath.Join(folder, "t5.safetensors")
	f, err := os.Create(source)
	require.NoError(t, err)
	require.NoError(t, safetensors.Write(f, nil, tensors))
	require.NoError(t, f.Close())

	// llama.cpp's older format: a count; a name, the calls and the values of each.
	columns := make([]float32, 512)
	matrix := binary.LittleEndian.AppendUint32(nil, uint32(len(tensors)))
	for i := range columns {
		columns[i] = 0.5 + float32(i%7)
	}
	for _, x := range tensors {
		matrix = append(binary.LittleEndian.AppendUint32(matrix, uint32(len(x.Name))), x.Name...)
		matrix = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(matrix, 1), 512)
		values := make([]byte, 4*512)
		require.NoError(t, dtype.Encode(dtype.F32, values, columns))
		matrix = append(matrix, values...)
	}
	imatrix := filepath.Join(folder, "imatrix.dat")
	require.NoError(t, os.WriteFile(imatrix, matrix, 0o666))

	for _, name := range checked.Few([]string{"q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q2_K", "q3_K", "q4_K", "q5_K", "q6_K", "iq4_nl", "iq4_xs"}) {
		typ, err := dtype.Parse(name)
		require.NoError(t, err)
		for _, importance := range [][]float32{nil, columns} {
			out := filepath.Join(folder, "out.gguf")
			args := []string{"convert", "-q", "--force", "--type", name, "-o", out, source}
			if importance != nil {
				args = append([]string{"convert", "--imatrix", imatrix}, args[1:]...)
			}
			require.Equal(t, outcome{code: ExitOK}, sdgo(t, args...))
			m, err := convert.Load(out)
			require.NoError(t, err)
			for _, x := range tensors {
				got, ok := m.Tensor(x.Name)
				require.True(t, ok)
				require.Equal(t, typ, got.Type)
				values := make([]float32, len(x.Data)/4)
				require.NoError(t, dtype.Float32(dtype.F32, values, x.Data))
				want := make([]byte, len(got.Bytes))
				require.NoError(t, cgo.Quantize(uint32(typ), want, values, 512, importance))
				require.True(t, string(want) == string(got.Bytes), "%s %s", name, x.Name)
			}
			require.NoError(t, m.Close())
		}
	}
}
