package write

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/model"
)

func floatTensor(t *testing.T, values []float32, shape ...int64) model.Tensor {
	t.Helper()
	data := make([]byte, 4*len(values))
	require.NoError(t, dtype.Encode(dtype.F32, data, values))
	return model.Tensor{Name: "w", Type: dtype.F32, Shape: shape, Bytes: data}
}

// Pieces give what the whole would, whatever the rows are.
func TestRecode(t *testing.T) {
	for _, shape := range [][]int64{{3}, {5, 7}, {2, 3, 64, 1}, {7, 100_003}, {recodeElements + 1, 2}} {
		n := int64(1)
		for _, d := range shape {
			n *= d
		}
		values := make([]float32, n)
		for i := range values {
			values[i] = float32(i%2000) / 16
		}
		want := make([]byte, 2*n)
		require.NoError(t, dtype.Encode(dtype.F16, want, values))
		got, err := Recode(context.Background(), floatTensor(t, values, shape...), dtype.F16, nil)
		require.NoError(t, err)
		require.Equal(t, want, got, "%v", shape)
	}
}

// The blocks of a quantized convolution may lie across its rows.
func TestRecodeOfBlocksAcrossRows(t *testing.T) {
	const n = 32 * 3 * 1024 // more than one piece
	blocks := make([]byte, n/32*34)
	for i := range blocks {
		if blocks[i] = byte(i % 100); i%34 == 1 {
			blocks[i] = 0x28
		}
	}
	floats, want := make([]float32, n), make([]byte, 2*n)
	require.NoError(t, dtype.Float32(dtype.Q8_0, floats, blocks))
	require.NoError(t, dtype.Encode(dtype.F16, want, floats))
	got, err := Recode(context.Background(), model.Tensor{Name: "w", Type: dtype.Q8_0, Shape: []int64{32 * 1024, 3}, Bytes: blocks}, dtype.F16, nil)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func TestRecodeErrors(t *testing.T) {
	ctx := context.Background()
	_, err := Recode(ctx, floatTensor(t, []float32{1, 65536}, 1, 2), dtype.F16, nil)
	require.ErrorContains(t, err, `tensor "w": it has numbers that are too large for f16; bf16 and f32 hold them`)
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		_, err := Recode(ctx, floatTensor(t, []float32{1, float32(v)}, 2), dtype.F16, nil)
		var e *model.NotFiniteError
		require.ErrorAs(t, err, &e)
		require.Equal(t, "w", e.Tensor)
	}
	_, err = Recode(ctx, floatTensor(t, make([]float32, 33), 33), dtype.Q8_0, nil)
	require.ErrorContains(t, err, "rows of 33 elements do not divide into blocks of q8_0")
	cancelled, cancel := context.WithCancel(ctx)
	calls := 0
	_, err = Recode(cancelled, floatTensor(t, make([]float32, 64*recodeElements), 64, recodeElements), dtype.Q8_0,
		func(uint32, []byte, []float32, int, []float32) error {
			if calls++; calls == 2 {
				cancel()
			}
			return nil
		})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 2, calls, "it goes no further")
	// What a quantizer writes is looked at.
	_, err = Recode(ctx, floatTensor(t, make([]float32, 32), 32), dtype.Q8_0, func(_ uint32, dst []byte, _ []float32, _ int, _ []float32) error {
		dst[1] = 0x7c
		return nil
	})
	require.ErrorContains(t, err, "too large for q8_0")
}
