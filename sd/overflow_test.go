package sd

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/sd/tensor"
)

// loudModel is a tiny model whose autoencoder passes float16's 65504 inside,
// like that of Stable Diffusion XL: its first layers give numbers that are so
// many times as large, which later norms take back.
func loudModel(t *testing.T, factor float32, names ...string) string {
	data, err := os.ReadFile(filepath.Join(netsFolder, "sd1.safetensors"))
	require.NoError(t, err)
	file, err := safetensors.Parse(data)
	require.NoError(t, err)
	for i, tensor := range file.Tensors {
		name, kind, _ := strings.Cut(strings.TrimPrefix(tensor.Name, "first_stage_model."), "conv_in.")
		if !strings.Contains(strings.Join(names, " "), name+"conv_in") || kind == "" || !strings.HasPrefix(tensor.Name, "first_stage_model.") {
			continue
		}
		require.Equal(t, "F16", tensor.DType)
		values := make([]float32, len(tensor.Data)/2)
		require.NoError(t, dtype.Float32(dtype.F16, values, tensor.Data))
		for k := range values {
			values[k] *= factor
		}
		file.Tensors[i].Data = make([]byte, len(tensor.Data))
		require.NoError(t, dtype.Encode(dtype.F16, file.Tensors[i].Data, values))
	}
	path := filepath.Join(t.TempDir(), "loud.safetensors")
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, safetensors.Write(f, file.Metadata, file.Tensors))
	require.NoError(t, f.Close())
	return path
}

// Where ggml's operators overflow in float16, the picture is computed again in
// float32, with one warning; this library's kernels don't overflow.
func TestOverflowIsComputedAgain(t *testing.T) {
	path := loudModel(t, 1<<15, "decoder.conv_in", "encoder.conv_in")
	draw := func(o Options) ([]byte, []string) {
		var warnings []string
		o.Warn = func(text string) { warnings = append(warnings, text) }
		m, err := Open(path, o)
		require.NoError(t, err)
		defer m.Close()
		r := Request{Image: slopes(16, 16), Width: 16, Height: 16, Steps: 1, Count: 2, Guidance: Float(1), Sampler: "euler", Seed: 1}
		result, err := m.Generate(context.Background(), r)
		require.NoError(t, err)
		require.Len(t, result.Images, 2)
		return result.Images[1].Image.Pix, warnings
	}
	want, warnings := draw(Options{Type: "f32", Kernels: "ggml"})
	require.Empty(t, warnings)
	again, warnings := draw(Options{Kernels: "ggml"})
	require.Equal(t, []string{"the autoencoder's encoder overflowed in float16 and continues in float32",
		"the autoencoder overflowed in float16 and continues in float32"}, warnings)
	ours, warnings := draw(Options{})
	require.Empty(t, warnings)
	spread := map[byte]bool{}
	sum, sumOurs := 0.0, 0.0
	for i, w := range want {
		spread[w] = true
		sum += math.Abs(float64(w) - float64(again[i]))
		sumOurs += math.Abs(float64(w) - float64(ours[i]))
	}
	require.Greater(t, len(spread), 20, "a picture")
	require.LessOrEqual(t, sum/float64(len(want)), 1.0, "the UNet's weights stay float16")
	require.LessOrEqual(t, sumOurs/float64(len(want)), 0.01)
}

// What float32 can't hold either is an error, never a black picture.
func TestOverflowBeyondFloat32(t *testing.T) {
	path := loudModel(t, 1, "decoder.conv_in")
	warned := 0
	m, err := Open(path, Options{Kernels: "ggml", Warn: func(string) { warned++ }})
	require.NoError(t, err)
	defer m.Close()
	latent := tensor.New(4, 4, 4)
	for i := range latent.Data {
		latent.Data[i] = 1e38
	}
	_, err = m.pipeline.Autoencoder.Decode(context.Background(), latent, tensor.NoProgress)
	require.ErrorContains(t, err, "the autoencoder computed NaN or infinite values, although its weights are finite")
	require.Equal(t, 1, warned)
}
