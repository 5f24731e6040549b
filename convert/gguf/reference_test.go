package gguf

import (
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/dtype"
)

// reference.gguf is written by ggml-org's Python package; the values here are
// those of testdata/convert/reference.py.
const reference = "../../testdata/convert/reference.gguf"

var referenceMeta = []KV{
	{"general.architecture", "sd1"}, {"general.alignment", uint32(64)},
	{"u8", uint8(200)}, {"i8", int8(-3)}, {"u16", uint16(60000)}, {"i16", int16(-9)}, {"u32", uint32(1 << 31)}, {"i32", int32(-1)},
	{"u64", uint64(1 << 63)}, {"i64", int64(-1 << 62)}, {"f32", float32(0.5)}, {"f64", 0.1}, {"yes", true}, {"no", false}, {"text", "ü"},
	{"ints", []int32{3, -4, 5}}, {"floats", []float32{1.5, -2}}, {"bools", []bool{true, false}}, {"texts", []string{"a b", "c"}},
}

func TestReference(t *testing.T) {
	data, err := os.ReadFile(reference)
	require.NoError(t, err)
	f, err := Parse(data)
	require.NoError(t, err)
	require.Equal(t, referenceMeta, f.Meta)
	require.EqualValues(t, 64, f.Alignment)

	// Every tensor of floats is cut out of rows of 64 that go up by 1 from -100.
	ramp := func(i int) float64 { return float64(i - 100) }
	all := []struct {
		name  string
		typ   dtype.Type
		shape []int64
		bytes int
		value func(i int) float64
		tol   float64 // half a step of the coarsest block
	}{
		{"plain.f32", dtype.F32, []int64{3, 5}, 60, func(i int) float64 { return ramp(i/5*64 + i%5) }, 0},
		{"plain.f16", dtype.F16, []int64{2, 3, 2, 2}, 48, func(i int) float64 { return ramp(i/12*64 + i%12) }, 0},
		{"coded.bf16", dtype.BF16, []int64{3, 64}, 384, ramp, 0},
		{"coded.q8_0", dtype.Q8_0, []int64{3, 64}, 204, ramp, 0.5},
		{"coded.q4_0", dtype.Q4_0, []int64{3, 64}, 108, ramp, 6.5},
		{"last.i32", dtype.I32, []int64{7}, 28, nil, 0},
	}
	require.Len(t, f.Tensors, len(all))
	for i, want := range all {
		got := f.Tensors[i]
		require.Equal(t, want.name, got.Name)
		require.Equal(t, want.typ, got.Type)
		require.Equal(t, want.shape, got.Shape)
		require.Len(t, got.Data, want.bytes)
		if want.value == nil {
			require.Equal(t, []byte{0, 0, 0, 0, 1, 0, 0, 0, 2}, got.Data[:9])
			continue
		}
		n := 1
		for _, d := range got.Shape {
			n *= int(d)
		}
		floats := make([]float32, n)
		require.NoError(t, dtype.Float32(got.Type, floats, got.Data))
		for j, x := range floats {
			if diff := math.Abs(float64(x) - want.value(j)); !(diff <= want.tol) {
				t.Fatalf("%s: element %d is %v, expected %v", got.Name, j, x, want.value(j))
			}
		}
	}
}
