package testnet

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert/dtype"
)

// awkward are rows of 256 numbers that weights rarely are: scales of zero, equal numbers, one
// sign, sizes from denormal to the largest, few that differ.
func awkward(r *rand.Rand) []float32 {
	x := make([]float32, 256)
	kind, size := r.IntN(12), math.Pow(10, r.Float64()*12-8)
	for i := range x {
		v := r.NormFloat64() * size
		switch kind {
		case 0:
			v = 0
		case 1:
			v = size
		case 2:
			v = -size
		case 3:
			v = math.Abs(v)
		case 4:
			v = -math.Abs(v)
		case 5: // parts of very different sizes
			v *= math.Pow(10, float64(-(i/16)%9))
		case 6: // mostly zeros
			if r.IntN(20) > 0 {
				v = 0
			}
		case 7: // levels, with ties between them
			v = math.Round(v/size*4) / 8 * size
		case 8: // one that is larger than all
			if i == 77 {
				v *= 1e4
			}
		}
		x[i] = float32(max(-65504, min(65504, v)))
		if math.Abs(float64(x[i])) < 1e-12 {
			x[i] = 0 // as Quantize does
		}
	}
	return x
}

var kQuants = []dtype.Type{dtype.Q2_K, dtype.Q3_K, dtype.Q4_K, dtype.Q5_K, dtype.Q6_K}

// Our quantizers write ggml's bytes, in any number of blocks.
func TestKQuants(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, typ := range kQuants {
		for _, blocks := range []int{1, 2, 7, 600} {
			var x []float32
			for range blocks {
				x = append(x, awkward(r)...)
			}
			want := make([]byte, int64(len(x))/typ.BlockSize()*typ.BlockBytes())
			got := make([]byte, len(want))
			Quantize(uint32(typ), want, x, len(x))
			require.NoError(t, cgo.Quantize(uint32(typ), got, x, len(x), nil))
			block := len(want) / blocks
			for i := range blocks {
				require.Equal(t, want[i*block:(i+1)*block], got[i*block:(i+1)*block], "%v block %d: %v", typ, i, x[i*256:(i+1)*256])
			}
		}
	}
}

// BenchmarkKQuants measures ggml's functions and ours, in bytes of what is written.
func BenchmarkKQuants(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, 1<<18)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	for _, typ := range kQuants {
		to := make([]byte, int64(len(x))/typ.BlockSize()*typ.BlockBytes())
		b.Run(typ.String()+"/ggml", func(b *testing.B) {
			b.SetBytes(int64(len(to)))
			for b.Loop() {
				Quantize(uint32(typ), to, x, 4096)
			}
		})
		b.Run(typ.String()+"/sdgo", func(b *testing.B) {
			b.SetBytes(int64(len(to)))
			for b.Loop() {
				require.NoError(b, cgo.Quantize(uint32(typ), to, x, 4096, nil))
			}
		})
	}
}
