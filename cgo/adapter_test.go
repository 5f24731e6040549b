package cgo

import (
	"context"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/internal/checked"
)

// factors are a random low-rank change of a weight, and what it adds to that.
func factors(r *rand.Rand, i int, w Weight, rank int64, tucker bool) (Change, []float32) {
	normal := func(n int64, size float64) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(r.NormFloat64() * size)
		}
		return x
	}
	out, in, kernel := w.Shape[0], w.Shape[1], elements(w.Shape)/w.Shape[0]/w.Shape[1]
	up, scale := normal(out*rank, 0.3), normal(rank, 1)
	c := Change{Weight: i, Up: bytesOf(up), Scale: scale}
	rows := normal(rank*in*kernel, 0.3) // what up is multiplied by
	c.Down = bytesOf(rows)
	if tucker && len(w.Shape) == 4 {
		down, mid := normal(rank*in, 0.3), normal(rank*rank*kernel, 0.5)
		c.Down, c.Mid = bytesOf(down), bytesOf(mid)
		for a := range rank {
			for k := range in {
				for p := range kernel {
					sum := 0.0
					for b := range rank {
						sum += float64(mid[(a*rank+b)*kernel+p]) * float64(down[b*in+k])
					}
					rows[(a*in+k)*kernel+p] = float32(sum)
				}
			}
		}
	}
	delta := make([]float32, elements(w.Shape))
	for o := range out {
		for k := range in * kernel {
			sum := 0.0
			for a := range rank {
				sum += float64(up[o*rank+a]) * float64(scale[a]) * float64(rows[a*in*kernel+k])
			}
			delta[o*in*kernel+k] = float32(sum)
		}
	}
	return c, delta
}

// adapted is a net with an adapter of low rank on all of its matrices and
// convolutions but embeddings, and one that has their sums in place of the weights.
func adapted(t *testing.T, net *Net, tucker bool) (low, whole *Adapter) {
	t.Helper()
	r := rand.New(rand.NewPCG(5, 6))
	var changes, wholes []Change
	for i, w := range net.Weights() {
		if len(w.Shape) < 2 || w.Name == "text_model.embeddings.token_embedding.weight" || w.Name == "text_model.embeddings.position_embedding.weight" {
			continue
		}
		sum := append([]float32(nil), floatsOf(net.bound[i])...)
		for rank := int64(2); rank < 4; rank++ { // two at once
			c, delta := factors(r, i, w, rank, tucker)
			changes = append(changes, c)
			for k, v := range delta {
				sum[k] += v
			}
		}
		wholes = append(wholes, Change{Weight: i, Whole: bytesOf(sum)})
	}
	low, err := net.NewAdapter(changes)
	require.NoError(t, err)
	whole, err = net.NewAdapter(wholes)
	require.NoError(t, err)
	return low, whole
}

func clipParams() Params {
	return Params{"vocabulary": {10}, "width": {32}, "heads": {2}, "layers": {2}, "ffn": {64}, "context_length": {5}, "activation": {0}, "eps": {1e-5}}
}

func distance(a, b []float32) float64 {
	difference, size := 0.0, 0.0
	for i := range a {
		difference += float64(a[i]-b[i]) * float64(a[i]-b[i])
		size += float64(b[i]) * float64(b[i])
	}
	return math.Sqrt(difference / size)
}

// What is low-rank, beside the weights, gives what their sum in place of them gives.
func TestAdaptersAddUp(t *testing.T) {
	nets := []struct {
		arch   string
		params Params
		inputs []Input
		output string
		n      int
	}{
		{"unet", unetParams(), unetInputs(6), "out", 4 * 36},
		{"clip_text", clipParams(), []Input{{Name: "tokens", Shape: []int64{1, 5}, I32: []int32{0, 1, 2, 3, 9}}}, "hidden.2", 5 * 32},
	}
	for _, kernels := range checked.Few(KernelNames()) {
		for _, tucker := range []bool{false, true} {
			for _, n := range nets {
				net := randomNet(t, n.arch, n.params, Config{Threads: 2, Kernels: kernels})
				run := func(uses ...AdapterUse) []float32 {
					out := make([]float32, n.n)
					require.NoError(t, net.Run(context.Background(), n.inputs, []Output{{Name: n.output, Data: out}}, uses...))
					return out
				}
				plain := run()
				low, whole := adapted(t, net, tucker)
				got, want := run(AdapterUse{low, 1}), run(AdapterUse{whole, 1})
				require.Less(t, distance(got, want), 2e-5, "%s %s", kernels, n.arch)
				require.Greater(t, distance(want, plain), 0.01, "%s %s: the adapter changes nothing", kernels, n.arch)
				half := run(AdapterUse{low, 0.5})
				require.Greater(t, distance(half, got), 0.01)
				require.Equal(t, got, run(AdapterUse{low, 1}), "a strength lasts for one run")
				require.Equal(t, plain, run(AdapterUse{low, 0}))
				require.Equal(t, plain, run())
			}
		}
	}
}

// Sets that change leave nothing behind: neither in pictures nor in memory.
func TestAdaptersComeAndGo(t *testing.T) {
	net := randomNet(t, "unet", unetParams(), Config{Threads: 1})
	plain := run(t, net, 4)
	rounds := 200
	if checked.On {
		rounds = 40
	}
	for range rounds {
		low, _ := adapted(t, net, false)
		out := make([]float32, 64)
		require.NoError(t, net.Run(context.Background(), unetInputs(4), []Output{{Name: "out", Data: out}}, AdapterUse{low, 0.7}))
		runtime.GC()
	}
	require.Equal(t, plain, run(t, net, 4))
}

func TestAdaptersAreChecked(t *testing.T) {
	net, other := randomNet(t, "unet", unetParams(), Config{Threads: 1}), randomNet(t, "unet", unetParams(), Config{Threads: 1})
	conv, matrix, vector := -1, -1, -1
	for i, w := range net.Weights() {
		switch len(w.Shape) {
		case 4:
			conv = i
		case 2:
			matrix = i
		case 1:
			vector = i
		}
	}
	w := net.Weights()
	good, _ := factors(rand.New(rand.NewPCG(1, 1)), matrix, w[matrix], 2, false)
	for _, test := range []struct {
		change func(c Change) Change
		want   string
	}{
		{func(c Change) Change { c.Weight = len(w); return c }, "does not exist"},
		{func(c Change) Change { c.Weight = -1; return c }, "does not exist"},
		{func(c Change) Change { c.Weight = vector; return c }, "a low-rank change takes a matrix or a convolution"},
		{func(c Change) Change { c.Weight = conv; return c }, "must have"},
		{func(c Change) Change { c.Up = c.Up[4:]; return c }, "up must have"},
		{func(c Change) Change { c.Float16 = true; return c }, "down must have"},
		{func(c Change) Change { c.Scale = nil; return c }, "must have 0 bytes"},
		{func(c Change) Change { c.Scale, c.Down, c.Up = nil, nil, nil; return c }, "a rank of 1 to 16384, got 0"},
		{func(c Change) Change { return Change{Weight: matrix, Whole: make([]byte, 4)} }, "the whole must have"},
		{func(c Change) Change {
			return Change{Weight: vector, Float16: true, Whole: make([]byte, 2*w[vector].Shape[0])}
		}, "it is a vector"},
	} {
		_, err := net.NewAdapter([]Change{test.change(good)})
		require.ErrorContains(t, err, test.want)
		var e *Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, Invalid, e.Code)
	}
	a, err := net.NewAdapter([]Change{good})
	require.NoError(t, err)
	out := []Output{{Name: "out", Data: make([]float32, 256)}}
	for _, use := range []AdapterUse{{a, 1}, {nil, 1}} {
		require.ErrorContains(t, other.Run(context.Background(), unetInputs(8), out, use), "adapter 0 was not made for this net")
	}
	require.ErrorContains(t, net.Run(context.Background(), unetInputs(8), out, AdapterUse{a, float32(math.NaN())}), "strength must be a number")
	net.Close()
	_, err = net.NewAdapter([]Change{good})
	require.ErrorContains(t, err, "closed")
}

// Vectors in place of some tokens' embeddings give what a table with those vectors gives.
func TestTokensGetVectors(t *testing.T) {
	for _, kernels := range checked.Few(KernelNames()) {
		net := randomNet(t, "clip_text", clipParams(), Config{Threads: 1, Kernels: kernels})
		table := floatsOf(net.bound[0])
		run := func(inputs ...Input) []float32 {
			out := make([]float32, 5*32)
			require.NoError(t, net.Run(context.Background(), inputs, []Output{{Name: "hidden.2", Data: out}}))
			return out
		}
		want := run(Input{Name: "tokens", Shape: []int64{1, 5}, I32: []int32{0, 7, 4, 3, 9}})
		vectors := make([]float32, 5*32)
		copy(vectors[32:], table[7*32:8*32])
		copy(vectors[64:], table[4*32:5*32])
		got := run(Input{Name: "tokens", Shape: []int64{1, 5}, I32: []int32{0, 1, 1, 3, 9}},
			Input{Name: "keep", Shape: []int64{1, 5}, F32: []float32{1, 0, 0, 1, 1}}, Input{Name: "vectors", Shape: []int64{1, 5, 32}, F32: vectors})
		require.Equal(t, want, got)
		err := net.Run(context.Background(), []Input{{Name: "tokens", Shape: []int64{1, 5}, I32: make([]int32, 5)},
			{Name: "keep", Shape: []int64{1, 5}, F32: make([]float32, 5)}}, []Output{{Name: "hidden.2"}})
		require.ErrorContains(t, err, "keep and vectors go together")
	}
}

func floatsOf(b []byte) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4)
}
