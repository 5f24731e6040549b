package lora

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/train/latent"
	"github.com/sdgo/sdgo/train/optim"
)

// A slider's targets, its losses over some steps and what it becomes are PyTorch's and PEFT's
// (testdata/gradients/slider.py).
func TestSlidersArePyTorchs(t *testing.T) {
	t.Setenv("SDGO_KERNELS", "generic") // in float32
	r, ctx := readReference(t, "slider.safetensors"), context.Background()
	made := taskOf(t, tiny, Options{Rank: 2, Alpha: 3, Layers: Transformer, Caption: "a thing", Slider: &Slider{Positive: "a green bird", Negative: "an old house", Eta: 2},
		Options: latent.Options{Batch: 2, Draw: options().Draw}})
	for _, text := range r.captions { // which are not the set's
		e, err := made.m.Encode(ctx, text)
		require.NoError(t, err)
		made.captions.Add(text, e)
	}
	require.NoError(t, made.Change(ctx, func() {
		for i, factor := range made.names {
			require.Len(t, r.tensors[factor], len(made.weights[i]), factor)
			copy(made.weights[i], r.tensors[factor])
		}
	}))
	numbers := optim.DefaultAdamW()
	numbers.WeightDecay = 0
	o, err := optim.NewAdamW(numbers)
	require.NoError(t, err)
	losses, size := r.tensors["losses"], 2*4*8*8
	for k, want := range losses {
		b, err := latent.NewBatch(latent.Batch{X: r.tensors["x"][k*size : (k+1)*size], Target: make([]float32, size), Times: r.tensors["t"][2*k : 2*k+2], Weights: r.weights, Shape: []int{4, 8, 8}})
		require.NoError(t, err)
		sum := zeros(made)
		loss, err := made.gradients(ctx, b, r.captions, sum)
		require.NoError(t, err)
		require.InEpsilon(t, want, loss, 1e-3, "step %d", k)
		if k == 0 {
			require.LessOrEqual(t, distance(b.Target, r.tensors["target"]), 1e-3*optim.Norm([][]float32{r.tensors["target"]}))
		}
		require.NoError(t, made.Change(ctx, func() { require.NoError(t, o.Step(3e-3, made.weights, sum)) }))
	}
	first, last, got := make([][]float32, len(made.names)), make([][]float32, len(made.names)), 0.0
	for i, factor := range made.names {
		first[i] = r.tensors[factor]
		last[i] = r.tensors["last:"+factor]
		got += distance(made.weights[i], last[i]) * distance(made.weights[i], last[i])
	}
	moved := 0.0
	for i := range first {
		moved += distance(first[i], last[i]) * distance(first[i], last[i])
	}
	require.Greater(t, moved, 0.0)
	require.Less(t, got, 1e-3*moved, "what it became, of how far it went (squares)")
}

func TestSlidersAreChecked(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"two prompts that differ, got \"a\"": func(o *Options) { o.Slider.Negative = "a " },
		"eta must be above 0, at most 100":   func(o *Options) { o.Slider.Eta = 0 },
		"does not change the text encoders":  func(o *Options) { o.Text = true },
		"the share without one must be 0":    func(o *Options) { o.CaptionDrop = 0.1 },
	} {
		o := options()
		o.CaptionDrop, o.Slider = 0, &Slider{Positive: "a", Negative: "b", Eta: 1}
		require.NoError(t, o.Check())
		change(&o)
		require.ErrorContains(t, o.Check(), want)
	}
}
