package write

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/family"
	"github.com/sdgo/sdgo/convert/gguf"
	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/convert/read"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/internal/fixture"
)

// converted converts a model and opens the result.
func converted(t *testing.T, m *model.Model, inSafetensors bool) *model.Model {
	t.Helper()
	path := filepath.Join(t.TempDir(), "out")
	require.NoError(t, Convert(t.Context(), m, path, Options{Keep: true, Safetensors: inSafetensors}))
	return load(t, path)
}

// load opens a file or folder that need not be one that can be run.
func load(t *testing.T, path string) *model.Model {
	t.Helper()
	m, err := read.Load(path)
	require.NoError(t, err)
	t.Cleanup(func() { m.Close() })
	return m
}

// What a file says about itself under its own keys goes through every format and back.
func TestMetadataIsKept(t *testing.T) {
	own := map[string]string{
		"ss_tag_frequency": `{"1_cat": {"a cat": 12}}`, "ss_network_dim": "32", "ss_zero_terminal_snr": "False", "modelspec.architecture": "stable-diffusion-v1",
		"modelspec.title": "Tiny", "modelspec.trigger_phrase": "sks cat, ß 🚀\nsecond line", "modelspec.hash_sha256": "0x12", "trigger words": "sks",
		"modelspec.prediction_type": "v", "empty": "", "x.y": strings.Repeat("z", 100_000),
	}
	m := open(t, fixture.SaveNew(t, own, fixture.Fill(fixture.Weights(fixture.Tiny()), "F16")))
	for _, inSafetensors := range []bool{false, true, false, true, true} {
		m = converted(t, m, inSafetensors)
		for key, value := range own {
			got, ok := m.Metadata[key]
			require.True(t, ok, "%s in safetensors %v", key, inSafetensors)
			require.Equal(t, value, got, key)
		}
		require.Equal(t, "Tiny", m.Metadata["general.name"])
		require.Equal(t, "v", m.Prediction)
	}
	require.NotContains(t, m.Metadata, "sdgo.betas")
}

// Numbers and lists of a GGUF file keep their types.
func TestTypedMetadataIsKept(t *testing.T) {
	source := open(t, fixture.SaveNew(t, nil, fixture.Fill(fixture.Weights(fixture.Tiny()), "F16")))
	first := filepath.Join(t.TempDir(), "first")
	require.NoError(t, Convert(t.Context(), source, first, Options{Type: dtype.F16}))
	data, err := os.ReadFile(first)
	require.NoError(t, err)
	file, err := gguf.Parse(data)
	require.NoError(t, err)
	long := make([]uint32, 2000)
	file.Meta = append(file.Meta, gguf.KV{Key: "x.count", Value: uint32(7)}, gguf.KV{Key: "x.list", Value: []float32{1, 2.5}},
		gguf.KV{Key: "x.names", Value: []string{"a", "b"}}, gguf.KV{Key: "x.long", Value: long}, gguf.KV{Key: "x.on", Value: true})
	second := filepath.Join(t.TempDir(), "second")
	l, err := gguf.NewLayout(file.Meta, file.Tensors)
	require.NoError(t, err)
	bytes := append(l.Header, make([]byte, l.Size-int64(len(l.Header)))...)
	for i, x := range file.Tensors {
		copy(bytes[l.Offsets[i]:], x.Data)
	}
	require.NoError(t, os.WriteFile(second, bytes, 0o666))

	third := filepath.Join(t.TempDir(), "third")
	require.NoError(t, Convert(t.Context(), open(t, second), third, Options{Type: dtype.F16}))
	data, err = os.ReadFile(third)
	require.NoError(t, err)
	got, err := gguf.Parse(data)
	require.NoError(t, err)
	require.Equal(t, uint32(7), got.Get("x.count"))
	require.Equal(t, []float32{1, 2.5}, got.Get("x.list"))
	require.Equal(t, []string{"a", "b"}, got.Get("x.names"))
	require.Equal(t, true, got.Get("x.on"))
	require.Nil(t, got.Get("x.long"), "of long lists only the beginning is read")
	require.Equal(t, "7", converted(t, open(t, third), true).Metadata["x.count"])
}

// Marks stay in the file, empty or not, and those by which other programs find what is
// known are added: of SDXL what it predicts, zero terminal SNR, and EDM.
func TestMarksAreKept(t *testing.T) {
	weights := fixture.Fill(fixture.Weights(fixture.TinyXL()), "F16")
	mark := func(name, word string, shape []int64, data ...byte) safetensors.Tensor {
		if data == nil {
			data = []byte{}
		}
		return safetensors.Tensor{Name: name, DType: word, Shape: shape, Data: data}
	}
	number := func(name string, values ...float32) safetensors.Tensor {
		b := make([]byte, 4*len(values))
		require.NoError(t, dtype.Encode(dtype.F32, b, values))
		return mark(name, "F32", []int64{int64(len(values))}, b...)
	}
	for _, c := range []struct {
		name     string
		metadata map[string]string
		marks    []safetensors.Tensor
		want     map[string][]int64 // shapes in safetensors
	}{
		{"none", nil, nil, map[string][]int64{}},
		{"empty", nil, []safetensors.Tensor{mark("v_pred", "F32", []int64{0}), mark("ztsnr", "F16", []int64{0})}, map[string][]int64{"v_pred": {0}, "ztsnr": {0}}},
		{"one number", nil, []safetensors.Tensor{number("v_pred", 1), mark("ztsnr", "F16", []int64{}, 0, 60)}, map[string][]int64{"v_pred": {1}, "ztsnr": {}}},
		{"integers", nil, []safetensors.Tensor{mark("v_pred", "I64", []int64{1}, make([]byte, 8)...)}, map[string][]int64{"v_pred": {0}}},
		{"from metadata", map[string]string{"modelspec.prediction_type": "v", "sdgo.zero_terminal_snr": "true"}, nil, map[string][]int64{"v_pred": {0}, "ztsnr": {0}}},
		{"EDM", map[string]string{"sdgo.prediction": "v", "sdgo.edm.sigma_min": "0.002", "sdgo.edm.sigma_max": "120", "sdgo.edm.sigma_data": "1"}, nil,
			map[string][]int64{"edm_vpred.sigma_max": {}, "edm_vpred.sigma_min": {}}},
		{"EDM of Playground", nil, []safetensors.Tensor{number("edm_mean", 1, 2, 3, 4), number("edm_std", 1, 2, 3, 4)}, map[string][]int64{"edm_mean": {4}, "edm_std": {4}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := open(t, fixture.SaveNew(t, c.metadata, append(weights[:len(weights):len(weights)], c.marks...)))
			first := *m
			for _, inSafetensors := range []bool{true, false, false, true} {
				m = converted(t, m, inSafetensors)
				require.Len(t, m.Marks, len(c.want))
				require.Equal(t, len(first.Tensors), len(m.Tensors))
				for _, mark := range m.Marks {
					if inSafetensors && first.Format == "safetensors" {
						require.Equal(t, c.want[mark.Name], mark.Shape, mark.Name)
					}
				}
				require.Equal(t, first.Prediction, m.Prediction)
				require.Equal(t, first.ZeroSNR, m.ZeroSNR)
				require.Equal(t, first.EDM, m.EDM)
				require.Equal(t, first.Schedule, m.Schedule)
				require.Equal(t, fixture.Config(&first).VAE, fixture.Config(m).VAE)
				first.Format = m.Format // what becomes of an empty mark in GGUF stays
			}
		})
	}
	m := open(t, fixture.SaveNew(t, map[string]string{"sdgo.prediction": "v"}, fixture.Fill(fixture.Weights(fixture.Tiny2()), "F16")))
	require.Empty(t, family.WrittenMarks(m), "of SD 2.x other programs find it out")
}

// A UNet or an autoencoder alone keeps what was said of it: its marks, and what stands in
// the configuration file beside it.
func TestPartsKeepWhatIsSaid(t *testing.T) {
	var unet []safetensors.Tensor
	for _, x := range fixture.Fill(fixture.Weights(fixture.TinyXL()), "F16") {
		if strings.HasPrefix(x.Name, model.UNetPrefix) {
			unet = append(unet, x)
		}
	}
	unet = append(unet, safetensors.Tensor{Name: "v_pred", DType: "F32", Shape: []int64{1}, Data: []byte{0, 0, 128, 63}})
	m := load(t, fixture.SaveNew(t, map[string]string{"sdgo.zero_terminal_snr": "true", "trigger": "sks"}, unet))
	require.Equal(t, family.UNet, m.Family)
	for _, inSafetensors := range []bool{true, false, true} {
		m = converted(t, m, inSafetensors)
		require.Equal(t, "v_pred", m.Marks[0].Name)
		require.Equal(t, "true", m.Metadata["sdgo.zero_terminal_snr"])
		require.Equal(t, "v", m.Metadata["sdgo.prediction"])
		require.Equal(t, "sks", m.Metadata["trigger"])
	}

	dir := filepath.Join(t.TempDir(), "vae")
	require.NoError(t, os.CopyFS(dir, os.DirFS(fixture.Testdata(t, "nets/sd1-diffusers/vae"))))
	fixture.WriteJSON(t, dir, "config.json", map[string]any{"_class_name": "AutoencoderKL", "scaling_factor": 0.5, "latents_mean": []int{1, 2, 3, 4}, "latents_std": []int{1, 1, 1, 1}})
	m = converted(t, load(t, dir), false)
	require.Equal(t, "0.5", m.Metadata["sdgo.vae.scale_factor"])
	require.Equal(t, "1 2 3 4", m.Metadata["sdgo.vae.latents_mean"])
	fixture.WriteJSON(t, dir, "config.json", map[string]any{"_class_name": "AutoencoderKL", "act_fn": "relu"})
	require.Len(t, load(t, dir).Warnings, 1, "it can be looked at and converted")
}
