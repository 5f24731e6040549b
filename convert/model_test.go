package convert

import (
	"bytes"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/safetensors"
)

// tiny is a model of the SD 1 family that is as small as it can be.
func tiny() *Model {
	return &Model{
		Arch: SD1, What: "Stable Diffusion 1.x", Prediction: "epsilon", NativeSize: 512,
		Text: TextConfig{Prefix: TextPrefix, Vocabulary: 100, ContextLength: 77, Width: 64, Heads: 1, FFN: 128, Layers: 2, FinalLayer: 2, ClipSkip: 1, Activation: "quick_gelu", Eps: 1e-5},
		UNet: UNetConfig{InChannels: 4, OutChannels: 4, ModelChannels: 32, ChannelMult: []int{1, 2}, NumResBlocks: 1,
			TransformerDepth: []int{1, 0}, MiddleDepth: 1, ContextDim: 64, Heads: 8},
		VAE: VAEConfig{ImageChannels: 3, Channels: 32, ChannelMult: []int{1, 2}, NumResBlocks: 1, ZChannels: 4, EmbedDim: 4,
			QuantConv: true, HasEncoder: true, ScaleFactor: 0.18215},
	}
}

// tiny2 is one of the SD 2 family.
func tiny2() *Model {
	m := tiny()
	m.Arch, m.Prediction = SD2, ""
	m.Text.Activation, m.Text.ClipSkip, m.Text.Layers, m.Text.FinalLayer = "gelu", 2, 3, 3
	m.UNet = UNetConfig{InChannels: 4, OutChannels: 4, ModelChannels: 64, ChannelMult: []int{1, 2, 2}, NumResBlocks: 2,
		TransformerDepth: []int{0, 2, 1}, MiddleDepth: 1, ContextDim: 64, HeadDim: 64, LinearProjection: true}
	return m
}

func allWeights(m *Model) []Weight {
	return append(append(m.Text.Weights(), m.UNet.Weights()...), m.VAE.Weights()...)
}

// fill makes up a model's weights: the same for the same names.
func fill(all []Weight, typ string) []safetensors.Tensor {
	var tensors []safetensors.Tensor
	for _, w := range all {
		h := fnv.New64a()
		h.Write([]byte(w.Name))
		rng := rand.New(rand.NewPCG(h.Sum64(), 0))
		n := Tensor{Shape: w.Shape}.Elements()
		values := make([]float32, n)
		for i := range values {
			values[i] = float32(rng.NormFloat64()) / 8
		}
		t := types[typ]
		data := make([]byte, n*t.BlockBytes())
		if err := dtype.Encode(t, data, values); err != nil {
			panic(err)
		}
		tensors = append(tensors, safetensors.Tensor{Name: w.Name, DType: typ, Shape: w.Shape, Data: data})
	}
	return tensors
}

// save writes a safetensors file and returns its path.
func save(t testing.TB, path string, metadata map[string]string, tensors []safetensors.Tensor) string {
	var b bytes.Buffer
	require.NoError(t, safetensors.Write(&b, metadata, tensors))
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o666))
	return path
}

func open(t testing.TB, path string) *Model {
	m, err := Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { m.Close() })
	return m
}

// requireSame compares what two models are, and their weights.
func requireSame(t *testing.T, want, got *Model) {
	t.Helper()
	require.Equal(t, want.Arch, got.Arch)
	require.Equal(t, want.Prediction, got.Prediction)
	require.Equal(t, want.NativeSize, got.NativeSize)
	require.Equal(t, want.Guidance, got.Guidance)
	require.Equal(t, want.Text, got.Text)
	require.Equal(t, want.UNet, got.UNet)
	require.Equal(t, want.VAE, got.VAE)
	require.Equal(t, want.Merges, got.Merges)
	require.Equal(t, want.AlphasCumprod, got.AlphasCumprod)
	for _, a := range want.Tensors {
		b, ok := got.Tensor(a.Name)
		require.True(t, ok, a.Name)
		require.Equal(t, a.Shape, b.Shape, a.Name)
		require.Equal(t, a.Type, b.Type, a.Name)
		require.True(t, bytes.Equal(a.Bytes, b.Bytes), a.Name)
	}
}

func TestOpenSingleFile(t *testing.T) {
	for _, want := range []*Model{tiny(), tiny2()} {
		t.Run(want.Arch, func(t *testing.T) {
			tensors := fill(allWeights(want), "F16")
			tensors = append(tensors, surplus()...)
			got := open(t, save(t, filepath.Join(t.TempDir(), "x.bin"), map[string]string{"modelspec.title": "Tiny"}, tensors))
			require.Equal(t, "safetensors", got.Format)
			require.Equal(t, "Tiny", got.Metadata["modelspec.title"])
			want.AlphasCumprod = []float64{0.5, 0.25}
			requireSame(t, want, got)
			require.Contains(t, got.Ignored, "model_ema.decay")
			require.Equal(t, []string{"text encoder", "UNet", "VAE encoder", "VAE decoder"}, names(got.Parts()))
			for _, p := range got.Parts() {
				require.Equal(t, p.Elements*2, p.Bytes)
			}
		})
	}
}

func names(parts []Part) (all []string) {
	for _, p := range parts {
		all = append(all, p.Name)
	}
	return all
}

// surplus are tensors that original checkpoints carry beside the networks'.
func surplus() []safetensors.Tensor {
	vector := func(name string, values ...float32) safetensors.Tensor {
		data := make([]byte, 4*len(values))
		_ = dtype.Encode(dtype.F32, data, values)
		return safetensors.Tensor{Name: name, DType: "F32", Shape: []int64{int64(len(values))}, Data: data}
	}
	return []safetensors.Tensor{
		vector("alphas_cumprod", 0.5, 0.25), vector("betas", 1), vector("sqrt_alphas_cumprod", 1), vector("model_ema.decay", 1),
		vector("model_ema.diffusion_modelinput_blocks00weight", 1), vector("posterior_variance", 1), vector("logvar", 1),
		{Name: "cond_stage_model.transformer.text_model.embeddings.position_ids", DType: "I64", Shape: []int64{1, 1}, Data: make([]byte, 8)},
		{Name: "model_ema.num_updates", DType: "I32", Data: make([]byte, 4)},
	}
}

func TestPrefixes(t *testing.T) {
	for _, w := range allWeights(tiny()) {
		require.True(t, strings.HasPrefix(w.Name, TextPrefix) || strings.HasPrefix(w.Name, UNetPrefix) || strings.HasPrefix(w.Name, VAEPrefix))
		require.Less(t, partOf(w.Name), 6)
	}
}
