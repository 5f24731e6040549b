package engine

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/dtype"
)

func tensorOf(name string, typ dtype.Type, shape []int64, x []float32) convert.Tensor {
	bytes := make([]byte, map[dtype.Type]int{dtype.F32: 4, dtype.F16: 2, dtype.BF16: 2}[typ]*len(x))
	if err := dtype.Encode(typ, bytes, x); err != nil {
		panic(err)
	}
	return convert.Tensor{Name: name, Type: typ, Shape: shape, Bytes: bytes}
}

// product is up·diag(scale)·down of a change.
func product(c cgo.Change, rows, in int) []float64 {
	number := func(b []byte, i int) float64 {
		x := make([]float32, 1)
		typ, size := dtype.F32, 4
		if c.Float16 {
			typ, size = dtype.F16, 2
		}
		t := convert.Tensor{Type: typ, Shape: []int64{1}, Bytes: b[i*size:][:size]}
		if err := t.Float32(x); err != nil {
			panic(err)
		}
		return float64(x[0])
	}
	out, rank := make([]float64, rows*in), len(c.Scale)
	for o := range rows {
		for r := range rank {
			factor := number(c.Up, o*rank+r) * float64(c.Scale[r])
			for k := range in {
				out[o*in+k] += factor * number(c.Down, r*in+k)
			}
		}
	}
	return out
}

// Factors of any size become float16 that loses no more than float16 does of numbers in its
// range: 5e-4 of a product of two rounded factors, of whatever size. Factors of float16 in files stay what
// they are.
func TestFactorsAreRounded(t *testing.T) {
	const rows, in, rank = 24, 40, 3
	r := rand.New(rand.NewPCG(1, 2))
	w := cgo.Weight{Name: "w", Shape: []int64{rows, in}}
	random := func(n int, size float64) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(r.NormFloat64() * size)
		}
		return x
	}
	for _, sizes := range [][2]float64{{1, 1}, {1e-3, 1e-5}, {1e-9, 1e-7}, {1e5, 1e-12}, {1e30, 1e-30}, {1e-38, 1}} {
		for _, typ := range []dtype.Type{dtype.F32, dtype.BF16} {
			l := LowRank{Down: tensorOf("down", typ, []int64{rank, in}, random(rank*in, sizes[0])), Up: tensorOf("up", typ, []int64{rows, rank}, random(rows*rank, sizes[1])), Rank: rank, Scale: 0.7}
			exact, err := join(0, w, []LowRank{l, l}, full)
			require.NoError(t, err)
			require.False(t, exact.Float16)
			half, err := join(0, w, []LowRank{l, l}, rounded)
			require.NoError(t, err)
			require.True(t, half.Float16)
			kept, err := join(0, w, []LowRank{l, l}, asInFile)
			require.NoError(t, err)
			require.Equal(t, exact, kept)
			want, got := product(exact, rows, in), product(half, rows, in)
			error, size := 0.0, 0.0
			for i := range want {
				require.False(t, math.IsNaN(got[i]))
				error, size = error+(got[i]-want[i])*(got[i]-want[i]), size+want[i]*want[i]
			}
			require.Less(t, math.Sqrt(error/size), 5e-4, "%v of %v", sizes, typ)
		}
	}
	zero := LowRank{Down: tensorOf("down", dtype.F32, []int64{1, in}, make([]float32, in)), Up: tensorOf("up", dtype.F16, []int64{rows, 1}, random(rows, 1)), Rank: 1, Scale: 1}
	half, err := join(0, w, []LowRank{zero}, rounded)
	require.NoError(t, err)
	require.Equal(t, []float32{1}, half.Scale)

	own := LowRank{Down: tensorOf("down", dtype.F16, []int64{1, in}, random(in, 1e-6)), Up: tensorOf("up", dtype.F16, []int64{rows, 1}, random(rows, 1)), Rank: 1, Scale: 1}
	for _, p := range []precision{rounded, asInFile} {
		kept, err := join(0, w, []LowRank{own}, p)
		require.NoError(t, err)
		require.True(t, kept.Float16)
		require.Equal(t, own.Down.Bytes, kept.Down)
		require.Equal(t, binary.LittleEndian.Uint16(own.Up.Bytes), binary.LittleEndian.Uint16(kept.Up))
	}
}
