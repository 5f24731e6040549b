package sd

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sd/engine"
)

const pixelFolder = "../testdata/pixel"

// openPixel opens the denoiser of a model without text.
func openPixel(t testing.TB, path string, o Options) (*convert.Pixel, *engine.Network) {
	t.Helper()
	host, err := engine.Open("pixel", engine.Options{Kernels: o.Kernels, Type: o.Type, Threads: o.Threads, Backend: "cpu"},
		func() (*convert.Model, error) { return convert.Open(path) })
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, host.Close()) })
	c, err := convert.ConfigAs[*convert.Pixel](host.Weights, "a model without text")
	require.NoError(t, err)
	var n *engine.Network
	require.NoError(t, host.Place(func() (err error) {
		n, err = host.NewNetwork(engine.Spec{Role: engine.RoleDenoiser, Title: "the denoiser", Arch: c.Net, Prefix: c.Prefix, Params: c.Params()})
		return err
	}, func() ([]engine.Demand, error) { return nil, nil }))
	return c, n
}

// runPixel is a network's output for the reference's inputs of a name.
func runPixel(t *testing.T, ref reference, c *convert.Pixel, n *engine.Network, name, want string) []float32 {
	t.Helper()
	var inputs []cgo.Input
	for _, input := range []string{"x", "timesteps", "low", "class"} {
		from := name + "." + input
		if _, ok := ref.tensors[from]; !ok {
			continue
		}
		in := cgo.Input{Name: input, Shape: ref.shape(from)}
		if input == "class" && c.ClassInput == "index" {
			in.I32 = ref.i32(from)
		} else {
			in.F32 = ref.f32(from)
		}
		inputs = append(inputs, in)
	}
	output := "sample"
	if c.Classifier {
		output = "logits"
	}
	got := make([]float32, len(ref.f32(want)))
	require.NoError(t, n.Run(context.Background(), inputs, []cgo.Output{{Name: output, Data: got}}))
	return got
}

// Networks of models without text, in each layout of their files, against the diffusers
// library and plain PyTorch (testdata/pixel).
func TestPixelNets(t *testing.T) {
	ref := readReference(t, pixelFolder, "reference.safetensors")
	for _, test := range []struct{ path, name, want string }{
		{"ddpm", "ddpm", "ddpm.sample"},
		{"consistency", "consistency", "consistency.sample"},
		{"guided.safetensors", "guided", "guided.sample"},
		{"upsampler.safetensors", "upsampler", "upsampler.sample"},
		{"improved.safetensors", "improved", "improved.sample"},
		{"classifier.safetensors", "classifier", "classifier.logits"},
		{"dit", "dit", "dit.sample"},
		{"dit.safetensors", "dit", "dit.authors.sample"},
		{"edm-ncsnpp.safetensors", "edm-ncsnpp", "edm-ncsnpp.sample"},
		{"edm-guided.safetensors", "edm-guided", "edm-guided.sample"},
		{"ncsnpp.safetensors", "ncsnpp", "ncsnpp.sample"},
		{"edm-ncsnpp.pkl", "edm-ncsnpp", "edm-ncsnpp.sample"},
		{"ncsnpp-ema.pt", "ncsnpp", "ncsnpp.sample"},
		{"ncsnpp-vp.safetensors", "ncsnpp-vp", "ncsnpp-vp.sample"},
		{"ddpmpp.safetensors", "ddpmpp", "ddpmpp.sample"},
		{"score-ddpm.safetensors", "score-ddpm", "score-ddpm.sample"},
		{"skip", "skip", "skip.sample"},
		{"edm2.safetensors", "edm2", "edm2.sample"},
		{"edm2.pkl", "edm2", "edm2.sample"},
		{"cin.safetensors", "cin", "cin.sample"},
		{"churches.safetensors", "churches", "churches.sample"},
		{"enlarging", "enlarging", "enlarging.sample"},
	} {
		for _, w := range ways() {
			t.Run(fmt.Sprintf("%s/%s", test.path, w), func(t *testing.T) {
				c, n := openPixel(t, filepath.Join(pixelFolder, test.path), w.options)
				got := runPixel(t, ref, c, n, test.name, test.want)
				t.Logf("relative RMS error %.2g", relativeRMS(got, ref.f32(test.want)))
				if test.name == "edm2" {
					w.bound = max(w.bound, edm2Bounds[w.options.Type])
				}
				requireClose(t, got, ref.f32(test.want), w.bound, test.path)
			})
		}
	}
}
