package sd

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/safetensors"
)

// rewritten is a copy of a safetensors file with other names of tensors and more
// metadata.
func rewritten(t *testing.T, path string, rename func(string) string, metadata map[string]string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	file, err := safetensors.Parse(data)
	require.NoError(t, err)
	for i := range file.Tensors {
		if rename != nil {
			file.Tensors[i].Name = rename(file.Tensors[i].Name)
		}
	}
	all := map[string]string{}
	maps.Copy(all, file.Metadata)
	maps.Copy(all, metadata)
	out := filepath.Join(t.TempDir(), "x.safetensors")
	f, err := os.Create(out)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, safetensors.Write(f, all, file.Tensors))
	return out
}

func requirePixel(t *testing.T, path, name, want string) {
	t.Helper()
	requirePixelWithin(t, path, name, want, floatBound)
}

// edm2Bounds are for weights of EDM2, whose scaled rows are no numbers of a short type.
var edm2Bounds = map[string]float64{"": 1e-3, "f16": 1e-3, "bf16": 8e-3}

func requirePixelWithin(t *testing.T, path, name, want string, bound float64) {
	t.Helper()
	ref := readReference(t, pixelFolder, "reference.safetensors")
	c, n := openPixel(t, path, Options{Type: "f32"})
	requireClose(t, runPixel(t, ref, c, n, name, want), ref.f32(want), bound, path)
}

// The DDPM's weights under its own names and under the diffusers library's older ones.
func TestPixelNames(t *testing.T) {
	var names map[string]map[string]string
	data, err := os.ReadFile(filepath.Join(pixelFolder, "names.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &names))
	path := filepath.Join(pixelFolder, "ddpm", "unet", "diffusion_pytorch_model.safetensors")
	groups := map[string]string{"sdgo.pixel.norm_groups": "4"}
	for layout, table := range names {
		require.NotEmpty(t, table)
		requirePixel(t, rewritten(t, path, func(name string) string { return table[name] }, groups), "ddpm", "ddpm.sample")
		t.Log(layout)
	}
	requirePixel(t, rewritten(t, path, nil, groups), "ddpm", "ddpm.sample") // a file without its configuration
	requirePixel(t, filepath.Dir(path), "ddpm", "ddpm.sample")              // a folder of one network, with it
}

// The order of queries, keys and values, which no shape tells, is as the metadata says.
func TestPixelQueriesInOtherOrder(t *testing.T) {
	path := filepath.Join(pixelFolder, "guided.safetensors")
	requirePixel(t, rewritten(t, path, nil, map[string]string{"sdgo.pixel.qkv_by_head": "0"}), "guided", "guided.whole.sample")
}

// A file that is written says all that its source's names and configuration said.
func TestPixelConverted(t *testing.T) {
	for _, test := range []struct{ path, name, want string }{
		{"ddpm", "ddpm", "ddpm.sample"}, {"consistency", "consistency", "consistency.sample"},
		{"guided.safetensors", "guided", "guided.sample"}, {"upsampler.safetensors", "upsampler", "upsampler.sample"},
		{"classifier.safetensors", "classifier", "classifier.logits"},
		{"edm-ncsnpp.safetensors", "edm-ncsnpp", "edm-ncsnpp.sample"}, {"ncsnpp.safetensors", "ncsnpp", "ncsnpp.sample"}, {"skip", "skip", "skip.sample"},
		{"edm-ncsnpp.pkl", "edm-ncsnpp", "edm-ncsnpp.sample"}, {"ncsnpp-ema.pt", "ncsnpp", "ncsnpp.sample"},
		{"edm2.pkl", "edm2", "edm2.sample"},
		{"cin.safetensors", "cin", "cin.sample"}, {"churches.safetensors", "churches", "churches.sample"}, {"enlarging", "enlarging", "enlarging.sample"},
		{"dit", "dit", "dit.sample"}, {"dit.safetensors", "dit", "dit.authors.sample"},
	} {
		source, err := convert.Open(filepath.Join(pixelFolder, test.path))
		require.NoError(t, err)
		for _, o := range []convert.Options{{Keep: true}, {Keep: true, Safetensors: true}} {
			out := filepath.Join(t.TempDir(), "out")
			require.NoError(t, convert.Convert(t.Context(), source, out, o))
			bound := floatBound
			if test.name == "edm2" {
				bound = edm2Bounds["f16"] // the type of its file
			}
			requirePixelWithin(t, out, test.name, test.want, bound)
			again, err := convert.Open(out)
			require.NoError(t, err)
			a, b := source.Config.(*convert.Pixel), again.Config.(*convert.Pixel)
			b.Prefix = a.Prefix
			require.Equal(t, a, b)
			require.NoError(t, again.Close())
		}
		require.NoError(t, source.Close())
	}
}

// What metadata may not say.
func TestPixelMetadataIsChecked(t *testing.T) {
	path := filepath.Join(pixelFolder, "upsampler.safetensors")
	for key, test := range map[string]struct{ value, want string }{
		"process":          {"magic", `sdgo.pixel.process must be one of [ddpm consistency ve vp sub-vp edm], got "magic"`},
		"variance":         {"", "sdgo.pixel.variance must be one of"},
		"heads":            {"-1", "sdgo.pixel.heads must be a number from 0 to 1024"},
		"skip_scale":       {"NaN", "sdgo.pixel.skip_scale must be a number from 0.001 to 1"},
		"low_channels":     {"6", "a UNet of 6 input channels cannot have 6 of a small picture"},
		"learned_variance": {"0", "a UNet with 3 input and 6 output channels"},
		"null_class":       {"0", "the class that stands for none must be below 0, got 0"},
		"size":             {"1e9", "sdgo.pixel.size must be a number from 0 to 8192"},
		"steps":            {"0", "sdgo.pixel.steps must be at least 1, got 0"},
	} {
		_, err := convert.Open(rewritten(t, path, nil, map[string]string{"sdgo.pixel." + key: test.value}))
		require.ErrorContains(t, err, test.want, key)
	}
}
