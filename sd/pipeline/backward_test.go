package pipeline_test

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/autoencoder"
	"github.com/sdgo/sdgo/sd/classifier"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/family/pixel"
	"github.com/sdgo/sdgo/sd/family/stablediffusion"
	"github.com/sdgo/sdgo/sd/pipeline"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/sd/tensor"
)

const (
	sdFile         = "../../testdata/nets/sd1.safetensors"
	emojiFile      = "../../builtin/emoji.safetensors"
	classifierFile = "../../builtin/emoji-classifier.safetensors"
)

func openAs(t *testing.T, path string, open pipeline.Family) *pipeline.Pipeline {
	t.Helper()
	h, err := engine.Open("model", engine.Options{Backend: "cpu", Kernels: "generic", Type: "f32"}, func() (*convert.Model, error) { return convert.Open(path) })
	require.NoError(t, err)
	t.Cleanup(func() { h.Close() })
	p, err := open(h, pipeline.Options{})
	require.NoError(t, err)
	return p
}

// differences are the central differences of <f, v> along u, for a step h.
func differences(t *testing.T, f func(x []float32) []float32, x, u, v []float32, h float64) float64 {
	t.Helper()
	along := func(by float64) float64 {
		moved := make([]float32, len(x))
		for i := range x {
			moved[i] = x[i] + float32(by)*u[i]
		}
		return dot(f(moved), v)
	}
	return (along(h) - along(-h)) / (2 * h)
}

func dot(a, b []float32) (sum float64) {
	for i, v := range a {
		sum += float64(v) * float64(b[i])
	}
	return sum
}

func normal(n int, seed uint64, scale float64) []float32 {
	x := make([]float32, n)
	sampler.NewTorch(seed).Normal(x)
	for i := range x {
		x[i] *= float32(scale)
	}
	return x
}

// The derivative of a guided prediction: that of its central differences, where a part of it
// is limited, too.
func TestDerivativeOfPrediction(t *testing.T) {
	for _, c := range []struct {
		name, path string
		open       pipeline.Family
		request    request.Request
		sigma      float64
	}{
		{"latents, guided", sdFile, stablediffusion.Open, request.Request{Prompt: "a cat", NegativePrompt: "grey", Width: 64, Height: 64, Guidance: request.Float(4)}, 3},
		{"latents, outside the interval", sdFile, stablediffusion.Open, request.Request{Prompt: "a cat", Width: 64, Height: 64, GuiderOptions: map[string]float64{"sigma_max": 1}}, 3},
		{"pixels, by class", emojiFile, pixel.Open, request.Request{Class: "cat", Guidance: request.Float(2)}, 0.7},
	} {
		p := openAs(t, c.path, c.open)
		d, err := p.Resolve(c.request, pipeline.Attached{})
		require.NoError(t, err, c.name)
		denoise, pull, err := pipeline.Derivative(t.Context(), p, d)
		require.NoError(t, err)
		n := tensor.Size(p.Denoiser.Latent(d.Width, d.Height))
		x, u, v := normal(n, 1, math.Sqrt(1+c.sigma*c.sigma)), normal(n, 2, 1), normal(n, 3, 1)
		f := func(x []float32) []float32 {
			out := make([]float32, n)
			require.NoError(t, denoise(t.Context(), out, x, c.sigma))
			return out
		}
		want := differences(t, f, x, u, v, 1e-2)
		f(x)
		got := make([]float32, n)
		require.NoError(t, pull(t.Context(), got, v, x, c.sigma))
		t.Logf("%s: %.5g, by differences %.5g", c.name, dot(got, u), want)
		size := math.Sqrt(dot(got, got))
		require.InDelta(t, want, dot(got, u), 0.02*size, c.name)
		require.Greater(t, size, 0.1, c.name)
	}
}

// The derivatives of decoders.
func TestDerivativeOfDecoders(t *testing.T) {
	tiny, err := autoencoder.OpenTAESD("../../testdata/taesd/tiny.safetensors", engine.Options{Backend: "cpu", Kernels: "generic", Type: "f32"})
	require.NoError(t, err)
	t.Cleanup(func() { tiny.Close() })
	all := map[string]autoencoder.Autoencoder{"kl": openAs(t, sdFile, stablediffusion.Open).Autoencoder, "taesd": tiny}
	for name, a := range all {
		z := tensor.Of(normal(4*8*8, 1, 1), 4, 8, 8)
		decode := func(x []float32) []float32 {
			pixels, err := a.Decode(t.Context(), tensor.Of(x, 4, 8, 8), tensor.NoProgress)
			require.NoError(t, err)
			return pixels.Data
		}
		side := 8 * a.Factor()
		u, v := normal(len(z.Data), 2, 1), normal(3*side*side, 3, 1)
		step := map[string]float64{"kl": 1e-2, "taesd": 2e-4}[name] // ReLUs have kinks, which large steps cross
		want := differences(t, decode, z.Data, u, v, step)
		got, err := a.(autoencoder.Differentiable).Pullback(t.Context(), z, tensor.Of(v, 3, side, side))
		require.NoError(t, err)
		t.Logf("%s: %.5g, by differences %.5g", name, dot(got.Data, u), want)
		require.InDelta(t, want, dot(got.Data, u), 0.02*math.Sqrt(dot(got.Data, got.Data)), name)
	}
}

// The gradient of a classifier, at several noise levels.
func TestGradientOfClassifier(t *testing.T) {
	c, err := classifier.Open(classifierFile, engine.Options{Backend: "cpu", Kernels: "generic", Type: "f32"}, pixel.Process)
	require.NoError(t, err)
	defer c.Close()
	n, names := c.Classes()
	require.Len(t, names, n)
	require.Equal(t, 32, c.Size())
	cat, err := c.Class("cat")
	require.NoError(t, err)
	for _, sigma := range []float64{0, 0.3, 4} {
		x, u := normal(3*32*32, 1, math.Sqrt(0.25+sigma*sigma)), normal(3*32*32, 2, 1)
		f := func(x []float32) []float32 {
			p, err := c.Probabilities(t.Context(), x, sigma)
			require.NoError(t, err)
			return []float32{float32(math.Log(p[cat]))}
		}
		h := 1e-2 * math.Sqrt(1+sigma*sigma)
		want := differences(t, f, x, u, []float32{1}, h)
		got := make([]float32, len(x))
		value, err := c.LogProbability(t.Context(), got, x, sigma, cat)
		require.NoError(t, err)
		require.InDelta(t, f(x)[0], value, 1e-4)
		t.Logf("sigma %g: %.5g, by differences %.5g", sigma, dot(got, u), want)
		require.InDelta(t, want, dot(got, u), 0.03*math.Sqrt(dot(got, got))+1e-4)
	}
	_, err = c.LogProbability(t.Context(), make([]float32, 12), make([]float32, 12), 0, cat)
	require.ErrorContains(t, err, "must have 3072 values, got 12")
	_, err = c.LogProbability(t.Context(), nil, make([]float32, 3072), 0, 99)
	require.ErrorContains(t, err, "class must be 0 to 23, got 99")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.LogProbability(ctx, make([]float32, 3072), make([]float32, 3072), 0, cat)
	require.ErrorIs(t, err, context.Canceled)
	_, err = classifier.Open(emojiFile, engine.Options{Backend: "cpu"}, pixel.Process)
	require.ErrorContains(t, err, "must be a classifier of noisy pictures")
}
