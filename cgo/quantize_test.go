package cgo

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/dtype"
)

// testdata/convert/quantize.py wrote the blocks with ggml-org's package for
// Python, which is none of ggml's C code.
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
