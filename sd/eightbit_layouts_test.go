package sd

import (
	"math"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/internal/checked"
)

// Transformers of eight bits, as they are published: matrices are float8, without scales, with ComfyUI's ("scale_weight", and a mark), with a
// scale for each row under its newer name. They draw, to the bit, what files of the same numbers in float32 draw, also where a layer
// is put together of pieces of the diffusers library's.
func TestTransformersOfEightBits(t *testing.T) {
	zimage, z := zImageParts(t, Options{})
	qwenimage, q := qwenImageParts(t, Options{})
	f2 := Options{LLM: qwenFile(t, "flux2-text.safetensors", 16), VAE: filepath.Join(transformersFolder, "flux2-vae.safetensors")}
	for name, c := range map[string]struct {
		path   string // of the transformer
		o      Options
		folder string // of the model, without o
	}{
		"FLUX.1": {folder: "flux"}, "Chroma": {folder: "chroma"}, "SD 3.5": {folder: "sd35"},
		"Z-Image": {path: zimage, o: z}, "Qwen-Image": {path: qwenimage, o: q}, "FLUX.2": {path: filepath.Join(transformersFolder, "flux2.safetensors"), o: f2},
	} {
		const weights = "transformer/diffusion_pytorch_model.safetensors"
		r := Request{Prompt: "a red apple", Width: 64, Height: 64, Steps: 1, Seed: 5, Guidance: Float(1)}
		if c.o.Type = "f32"; c.folder != "" {
			r.Width, r.Height = 48, 32
			c.path = filepath.Join(fluxFolder, c.folder, weights)
		}
		for _, way := range checked.Few([]string{"plain", ".scale_weight", ".weight_scale"}) {
			draw := func(path string) []float32 {
				if c.folder != "" {
					whole := linked(t, c.folder, []string{"transformer"}, nil)
					require.NoError(t, os.Mkdir(filepath.Join(whole, "transformer"), 0o755))
					require.NoError(t, os.Rename(path, filepath.Join(whole, weights)))
					config, err := os.ReadFile(filepath.Join(fluxFolder, c.folder, "transformer/config.json"))
					require.NoError(t, err)
					require.NoError(t, os.WriteFile(filepath.Join(whole, "transformer/config.json"), config, 0o644))
					path = whole
				}
				return latentOf(t, openFile(t, path, c.o), r, nil).Data
			}
			eight, same := eightBits(t, c.path, way)
			require.Equal(t, draw(same), draw(eight), "%s, %s", name, way)
		}
	}
}

// nearestCode is the number of the value that is nearest, of codes whose first 127 rise from 0 and whose others are these with a minus.
func nearestCode(codes []float32, v float32) byte {
	size := float32(math.Abs(float64(v)))
	at := sort.Search(126, func(i int) bool { return codes[i] >= size }) // 126 is the largest, 448
	if at > 0 && size-codes[at-1] < codes[at]-size {
		at--
	}
	if v < 0 {
		at += 128
	}
	return byte(at)
}

// eightBits writes two files of one network: its matrices as float8 in one of the ways, and the same numbers in float32.
func eightBits(t *testing.T, path, way string) (eight, same string) {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	f, err := safetensors.Parse(data)
	require.NoError(t, err)
	var a, b []safetensors.Tensor
	floats := func(values ...float32) []byte {
		out := make([]byte, 4*len(values))
		require.NoError(t, dtype.Encode(dtype.F32, out, values))
		return out
	}
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	codes := make([]float32, 256)
	require.NoError(t, dtype.Float32(dtype.F8_E4M3, codes, all))
	matrices := 0
	for _, x := range f.Tensors {
		if len(x.Shape) != 2 || !strings.HasSuffix(x.Name, ".weight") || strings.Contains(x.Name, "embed") || strings.Contains(x.Name, "norm") {
			a, b = append(a, x), append(b, x)
			continue
		}
		matrices++
		typ, ok := model.TypeOf(x.DType)
		require.True(t, ok)
		values := make([]float32, elementsOf(x.Shape))
		require.NoError(t, dtype.Float32(typ, values, x.Data))
		rows, width := int(x.Shape[0]), int(x.Shape[1])
		scales := make([]float32, rows)
		for i := range scales {
			largest := 0.0
			for _, v := range values[i*width:][:width] {
				largest = max(largest, math.Abs(float64(v)))
			}
			switch way {
			case "plain":
				scales[i] = 1
			case ".scale_weight":
				scales[i] = 0.0078125 * 3
			default:
				scales[i] = float32(max(largest, 1e-3) / 448)
			}
		}
		for i := range values {
			values[i] /= scales[i/width]
		}
		bytes := make([]byte, len(values))
		for i, v := range values {
			bytes[i] = nearestCode(codes, v)
			values[i] = codes[bytes[i]] * scales[i/width]
		}
		a = append(a, safetensors.Tensor{Name: x.Name, DType: "F8_E4M3", Shape: x.Shape, Data: bytes})
		b = append(b, safetensors.Tensor{Name: x.Name, DType: "F32", Shape: x.Shape, Data: floats(values...)})
		layer := strings.TrimSuffix(x.Name, ".weight")
		switch way {
		case ".scale_weight":
			a = append(a, safetensors.Tensor{Name: layer + way, DType: "F32", Shape: []int64{}, Data: floats(scales[0])})
		case ".weight_scale":
			a = append(a, safetensors.Tensor{Name: layer + way, DType: "F32", Shape: []int64{int64(rows), 1}, Data: floats(scales...)})
		}
	}
	require.NotZero(t, matrices)
	if way == ".scale_weight" {
		a = append(a, safetensors.Tensor{Name: "scaled_fp8", DType: "F8_E4M3", Shape: []int64{0}})
	}
	write := func(name string, all []safetensors.Tensor) string {
		to := filepath.Join(t.TempDir(), name)
		out, err := os.Create(to)
		require.NoError(t, err)
		require.NoError(t, safetensors.Write(out, f.Metadata, all))
		require.NoError(t, out.Close())
		return to
	}
	return write("eight.safetensors", a), write("same.safetensors", b)
}
