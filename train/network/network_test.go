package network

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
)

// params are those of a small classifier, which is quickly computed.
func params() cgo.Params {
	return cgo.Params{"in_channels": {1}, "out_channels": {2}, "positions": {4}, "pool_heads": {1}, "channels": {8}, "attention": {1}, "num_res_blocks": {1},
		"heads": {1}, "head_dim": {0}, "time_channels": {8}, "embed_channels": {8}, "norm_groups": {2}}
}

func values(w cgo.Weight) ([]float32, error) {
	n := int64(1)
	for _, d := range w.Shape {
		n *= d
	}
	v := make([]float32, n)
	for i := range v {
		v[i] = float32((i*7)%11-5) / 20
	}
	return v, nil
}

func all(string) bool { return true }

// A change of weights is what the next run computes with; gradients are added to what is
// there.
func TestNetwork(t *testing.T) {
	ctx := context.Background()
	bias := func(name string) bool { return name == "out.2.c_proj.bias" }
	n, err := New(ctx, "pixel_classifier", params(), Options{Threads: 1}, values, bias)
	require.NoError(t, err)
	defer n.Close()
	require.Equal(t, []string{"out.2.c_proj.bias"}, n.Names())
	whole, trained := n.Elements()
	require.Equal(t, 2, trained)
	require.Greater(t, whole, 1000)

	in := []cgo.Input{{Name: "x", Shape: []int64{1, 1, 2, 2}, F32: []float32{1, 2, 3, 4}}, {Name: "timesteps", Shape: []int64{1}, F32: []float32{3}}}
	before, after, hash := make([]float32, 2), make([]float32, 2), n.Hash()
	require.NoError(t, n.Forward(ctx, in, cgo.Output{Name: "logits", Data: before}))
	require.NoError(t, n.Change(ctx, func() { n.Weights()[0][1] += 0.5 }))
	require.NotEqual(t, hash, n.Hash())
	require.NoError(t, n.Forward(ctx, in, cgo.Output{Name: "logits", Data: after}))
	require.InDelta(t, before[0], after[0], 1e-6)
	require.InDelta(t, before[1]+0.5, after[1], 1e-5)

	sum, again := [][]float32{{10, 20}}, make([]float32, 2)
	squared := append(slices.Clone(in), Squared("logits", []int64{1, 2}, []float32{1, 2}, []float32{3, 4})...)
	require.NoError(t, n.Step(ctx, squared, "logits", again, sum))
	require.Equal(t, after, again)
	require.InDelta(t, 10+3*(after[0]-1), sum[0][0], 1e-4)
	require.InDelta(t, 20+4*(after[1]-2), sum[0][1], 1e-4)
	sum = [][]float32{{10, 20}}
	require.NoError(t, n.Backward(ctx, append(slices.Clone(in), cgo.Input{Name: "d_logits", Shape: []int64{1, 2}, F32: []float32{3, 4}}), sum))
	require.Equal(t, [][]float32{{13, 24}}, sum)
	sum = [][]float32{{0, 0}}
	entropy := append(slices.Clone(in), Entropy("logits", []int64{1, 2}, []float32{0.25, 0.75}, []float32{0.5, 0.5})...)
	require.NoError(t, n.Step(ctx, entropy, "logits", again, sum))
	first := 1 / (1 + math.Exp(float64(after[1]-after[0])))
	require.InDelta(t, 0.5*(first-0.25), sum[0][0], 1e-5)
	require.InDelta(t, 0.5*(1-first-0.75), sum[0][1], 1e-5)
	bytes, err := n.Memory(ctx, squared, "logits", 3)
	require.NoError(t, err)
	require.Greater(t, bytes, uint64(1000))
	squared[2].Shape = []int64{2, 1}
	require.ErrorContains(t, n.Step(ctx, squared, "logits", again, sum), "must have the shape of logits, [1, 2], got [2, 1]")
}

func TestNetworkErrors(t *testing.T) {
	ctx := context.Background()
	mine := errors.New("mine")
	_, err := New(ctx, "pixel_classifier", params(), Options{}, func(cgo.Weight) ([]float32, error) { return nil, mine }, all)
	require.ErrorIs(t, err, mine)
	_, err = New(ctx, "pixel_classifier", params(), Options{}, func(w cgo.Weight) ([]float32, error) {
		v, err := values(w)
		return slices.Clip(v[1:]), err
	}, all)
	require.ErrorContains(t, err, "elements, got")
	_, err = New(ctx, "pixel_classifier", params(), Options{Backend: "abacus0"}, values, all)
	require.ErrorContains(t, err, "the backend must be one of cpu")
	_, err = New(ctx, "pixel_classifier", params(), Options{Kernels: "abacus"}, values, all)
	require.Error(t, err)
	_, err = New(ctx, "none", nil, Options{}, values, all)
	require.Error(t, err)
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = New(cancelled, "pixel_classifier", params(), Options{}, values, all)
	require.ErrorIs(t, err, context.Canceled)
}
