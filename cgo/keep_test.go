package cgo

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/internal/checked"
)

// halfNet is randomNet with weights of float16, which kernels keep in their own forms, and
// channels enough for all of these.
func halfNet(t *testing.T, c Config) *Net {
	t.Helper()
	p := unetParams()
	p["model_channels"] = []float64{96}
	net, err := NewNet("unet", p, c)
	require.NoError(t, err)
	t.Cleanup(net.Close)
	r := rand.New(rand.NewPCG(1, 2))
	for i, w := range net.Weights() {
		n := int64(1)
		for _, d := range w.Shape {
			n *= d
		}
		if len(w.Shape) == 1 {
			data := make([]float32, n)
			for j := range data {
				data[j] = float32(r.NormFloat64()) / 4
			}
			require.NoError(t, net.Bind(i, 0, bytesOf(data)))
			continue
		}
		const f16 = 1
		data := make([]byte, 2*n) // signs and mantissas at random, exponents for about 1/√n
		exponent := uint16(15 - math.Round(math.Log2(float64(n/w.Shape[0]))/2) - 1)
		for j := range n {
			half := uint16(r.Uint32())&0x83ff | exponent<<10
			data[2*j], data[2*j+1] = byte(half), byte(half>>8)
		}
		require.NoError(t, net.Bind(i, f16, data))
	}
	require.NoError(t, net.Load())
	return net
}

// Weights that are kept from run to run give the same numbers, for pictures of sizes that
// keep them in different forms, after a cancelled run, and where memory is enough for some
// of them only.
func TestWeightsAreKept(t *testing.T) {
	sides := []int64{8, 16}
	for _, kernels := range checked.Few(KernelNames()) {
		if kernels == GGML { // which keeps nothing
			continue
		}
		plain := halfNet(t, Config{Threads: 1, Kernels: kernels})
		want := map[int64][]float32{}
		for _, side := range sides {
			want[side] = run(t, plain, side)
		}
		require.Zero(t, plain.Kept())
		for _, share := range []float64{1, 0.5} {
			var asked, allowed uint64
			net := halfNet(t, Config{Threads: 2, Kernels: kernels, Keep: func(bytes uint64) uint64 {
				asked, allowed = bytes, uint64(share*float64(bytes))
				return allowed
			}})
			for _, side := range []int64{8, 8, 8, 16, 16, 8, 8} {
				require.Equal(t, want[side], run(t, net, side), "%s, %d pixels, share %g", kernels, side, share)
			}
			if asked == 0 {
				continue // kernels that keep nothing
			}
			require.Positive(t, net.Kept())
			ctx, cancel := context.WithCancel(context.Background())
			go cancel()
			_ = net.Run(ctx, unetInputs(16), []Output{{Name: "out", Data: make([]float32, 4*16*16)}}) // done or cancelled
			net.Trim()
			require.Zero(t, net.Kept())
			require.Equal(t, want[16], run(t, net, 16))
		}
	}
}

// The first run of a graph keeps nothing, since it may be the only one; the second asks for
// all, and the third for nothing more.
func TestSecondRunKeeps(t *testing.T) {
	asked := []uint64{}
	net := halfNet(t, Config{Threads: 1, Keep: func(bytes uint64) uint64 {
		asked = append(asked, bytes)
		return bytes
	}})
	run(t, net, 16)
	require.Empty(t, asked)
	run(t, net, 16)
	if len(asked) == 0 {
		t.Skip("these kernels keep nothing")
	}
	require.GreaterOrEqual(t, net.Kept(), asked[0])
	run(t, net, 16)
	require.Len(t, asked, 1)
}

// The fast tier's error is bounded, where kernels have one, and choosing it changes numbers.
func TestFastTier(t *testing.T) {
	for _, kernels := range checked.Few(KernelNames()) {
		if kernels == GGML { // which has no tiers
			continue
		}
		exact, fast := halfNet(t, Config{Threads: 1, Kernels: kernels}), halfNet(t, Config{Threads: 2, Kernels: kernels})
		fast.Choose(OpChoice{DirectConv: true, Fast: true})
		for _, side := range []int64{8} {
			want, got := run(t, exact, side), run(t, fast, side)
			var squares, errors float64
			for i := range want {
				squares += float64(want[i]) * float64(want[i])
				errors += float64(got[i]-want[i]) * float64(got[i]-want[i])
			}
			relative := math.Sqrt(errors / squares)
			t.Logf("%s, %d: relative RMS error %.2g", kernels, side, relative)
			if kernels == "avx512-vnni" || kernels == "avx-vnni" {
				require.Greater(t, relative, 1e-4, kernels)
				require.Less(t, relative, 2e-2, kernels)
			} else {
				require.LessOrEqual(t, relative, 2e-3, kernels)
			}
		}
		fast.Choose(OpChoice{DirectConv: true})
		require.Equal(t, run(t, exact, 8), run(t, fast, 8), kernels)
	}
}
