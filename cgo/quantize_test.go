package cgo

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/dtype"
)

// testdata/convert/quantize.py wrote the blocks with ggml-org's package for Python,
// which shares no code with ggml's C.
func TestQuantizedBytes(t *testing.T) {
	text, err := os.ReadFile("../testdata/convert/quantized.json")
	require.NoError(t, err)
	var want struct {
		Floats string
		Types  map[string]string
	}
	require.NoError(t, json.Unmarshal(text, &want))
	data, err := hex.DecodeString(want.Floats)
	require.NoError(t, err)
	floats := make([]float32, len(data)/4)
	for i := range floats {
		floats[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	require.Len(t, want.Types, 6)
	for name, blocks := range want.Types {
		typ, err := dtype.Parse(name)
		require.NoError(t, err)
		got := make([]byte, len(blocks)/2)
		if typ.Quantized() {
			require.NoError(t, Quantize(uint32(typ), got, floats, 64, nil))
		} else {
			require.NoError(t, dtype.Encode(typ, got, floats))
		}
		require.Equal(t, blocks, hex.EncodeToString(got), name)
	}
}

// For any numbers, quantizing ends with finite blocks or with an error that says what
// would be right, never in one of ggml's assertions.
func TestQuantizingExtremes(t *testing.T) {
	const row, rows = 256, 2
	numbers := []func(r *rand.Rand) float32{
		func(r *rand.Rand) float32 { return math.MaxFloat32 * (2*r.Float32() - 1) },
		func(r *rand.Rand) float32 { return 65504 * (2*r.Float32() - 1) },
		func(r *rand.Rand) float32 { return 1e19 * float32(r.NormFloat64()) },
		func(r *rand.Rand) float32 { return math.SmallestNonzeroFloat32 * float32(r.IntN(5)) },
		func(*rand.Rand) float32 { return 0 },
		func(r *rand.Rand) float32 { return float32(math.Exp(r.Float64()*170-85)) * float32(1-2*r.IntN(2)) },
		func(r *rand.Rand) float32 { return float32(math.Exp(r.Float64()*60-50)) * float32(1-2*r.IntN(2)) },
		func(r *rand.Rand) float32 { return float32(math.NaN()) },
		func(r *rand.Rand) float32 { return float32(r.NormFloat64()) * 0.02 },
	}
	done := 0
	for typ := range uint32(40) {
		to := dtype.Type(typ)
		size, ok := to.Size(rows*row, row)
		if !to.InGGML() || !to.Quantized() || !ok {
			continue
		}
		for seed := range uint64(30) {
			r := rand.New(rand.NewPCG(seed, uint64(typ)))
			usual, odd := numbers[r.IntN(len(numbers))], numbers[r.IntN(len(numbers))]
			src, dst, back := make([]float32, rows*row), make([]byte, size), make([]float32, rows*row)
			for i := range src {
				if src[i] = usual(r); r.IntN(30) == 0 {
					src[i] = odd(r)
				}
			}
			importance := make([]float32, row)
			for i := range importance {
				importance[i] = float32(math.Abs(float64(odd(r))))
			}
			if seed%3 == 0 && typ != uint32(dtype.IQ2_XXS) && typ != uint32(dtype.IQ2_XS) && typ != uint32(dtype.IQ1_S) && typ != uint32(dtype.IQ1_M) {
				importance = nil
			}
			if err := Quantize(typ, dst, src, row, importance); err != nil {
				require.Regexp(t, "numbers must be at most 65504 in size|must be a finite number|cannot be quantized to", err.Error())
				continue
			}
			require.NoError(t, Dequantize(typ, back, dst))
			for i, v := range back {
				require.False(t, dtype.Finite(to, dst) && (math.IsNaN(float64(v)) || math.IsInf(float64(v), 0)), "%s: %g became %g", to, src[i], v)
			}
			done++
		}
	}
	require.Greater(t, done, 150)
}
