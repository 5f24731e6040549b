package cgo

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/internal/checked"
)

// Token merging against the authors' own: testdata/nets/merging.py. XL's tokens are those of
// its second level, the first that attends.
func TestMergingAgreesWithItsAuthors(t *testing.T) {
	const nets, base = "../testdata/nets/", "../testdata/xl/"
	reference := tensors(t, nets+"merging.safetensors")
	sd1 := Params{"in_channels": {4}, "out_channels": {4}, "model_channels": {32}, "channel_mult": {1, 1}, "num_res_blocks": {1},
		"transformer_depth": {1, 0}, "middle_depth": {1}, "context_dim": {64}, "adm_channels": {0}, "heads": {8}, "head_dim": {0}}
	xl := Params{"in_channels": {4}, "out_channels": {4}, "model_channels": {32}, "channel_mult": {1, 1}, "num_res_blocks": {1},
		"transformer_depth": {0, 2}, "middle_depth": {2}, "context_dim": {96}, "adm_channels": {112}, "heads": {0}, "head_dim": {16}}
	inputs := func(given map[string]Input, model, x string, names ...string) []Input {
		all := []Input{reference[x+".x"]}
		all[0].Name = "x"
		for _, name := range names {
			in := given[model+".unet."+name]
			in.Name = name
			all = append(all, in)
		}
		return all
	}
	for _, kernels := range checked.Few(KernelNames()) {
		compute := func(net *Net, in []Input, merged int) ([]float32, error) {
			if merged > 0 {
				in = append(in[:len(in):len(in)], Input{Name: "merged", Shape: []int64{int64(merged)}, F32: make([]float32, merged)})
			}
			out := make([]float32, len(in[0].F32))
			return out, net.Run(context.Background(), in, []Output{{Name: "out", Data: out}})
		}
		net := tinyUNet(t, tensors(t, nets+"sd1.safetensors"), sd1, kernels)
		in := inputs(tensors(t, nets+"reference.safetensors"), "sd1", "sd1", "t", "context")
		if kernels == "ggml" {
			_, err := compute(net, in, 10)
			require.ErrorContains(t, err, "tokens are merged by this library's kernels alone")
			continue
		}
		for name, merged := range map[string]int{"plain": 0, "0.3": 26, "0.5": 44, "0.75": 66} {
			out, err := compute(net, in, merged)
			require.NoError(t, err)
			requireClose(t, reference["sd1."+name].F32, out, 1e-4, kernels+" "+name)
		}
		for _, wrong := range []int{69, 88, 1000} {
			_, err := compute(net, in, wrong)
			require.ErrorContains(t, err, "merged must have one dimension of at most 68, for 88 tokens")
		}

		net = tinyUNet(t, tensors(t, base+"base.safetensors"), xl, kernels)
		out, err := compute(net, inputs(tensors(t, base+"reference.safetensors"), "base", "xl", "t", "context", "y"), 21)
		require.NoError(t, err)
		requireClose(t, reference["xl.0.5"].F32, out, 1e-4, kernels+" xl")
	}
}

// The middle's tokens attend to each other also where those of its level attend to the text alone.
func TestMiddleAttendsToItself(t *testing.T) {
	p := unetParams()
	p["self_attention"] = make([]float64, len(p["channel_mult"]))
	p["middle_depth"] = []float64{1}
	found := 0
	for _, w := range randomNet(t, "unet", p, Config{Threads: 1}).Weights() {
		if w.Name == "middle_block.1.transformer_blocks.0.attn1.to_k.weight" {
			require.Equal(t, w.Shape[0], w.Shape[1])
			require.NotEqual(t, int64(p["context_dim"][0]), w.Shape[1])
			found++
		}
	}
	require.Equal(t, 1, found)
}
