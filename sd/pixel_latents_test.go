package sd

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/sd/autoencoder"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/tensor"
)

// openAutoencoder opens the autoencoder of a model without text.
func openAutoencoder(t *testing.T, path string) (*convert.Pixel, autoencoder.Autoencoder) {
	t.Helper()
	host, err := engine.Open("pixel", engine.Options{Backend: "cpu", Type: "f32"}, func() (*convert.Model, error) { return convert.Open(path) })
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, host.Close()) })
	c, err := convert.ConfigAs[*convert.Pixel](host.Weights, "a model without text")
	require.NoError(t, err)
	require.NotNil(t, c.VAE)
	var a autoencoder.Autoencoder
	require.NoError(t, host.Place(func() (err error) {
		if c.Codebook > 0 {
			a, err = autoencoder.NewVQ(host, *c.VAE)
		} else {
			a, err = autoencoder.NewKL(host, *c.VAE)
		}
		return err
	}, func() ([]engine.Demand, error) { return nil, nil }))
	return c, a
}

// tensorOf is a reference of one image.
func tensorOf(ref reference, name string) tensor.Tensor {
	s := ref.shape(name)
	data := append([]float32{}, ref.f32(name)...)
	return tensor.Of(data[:s[1]*s[2]*s[3]], int(s[1]), int(s[2]), int(s[3]))
}

// Autoencoders with a codebook, in both layouts, and a variational one with the scale of
// its file, against the diffusers library.
func TestPixelAutoencoders(t *testing.T) {
	ref := readReference(t, pixelFolder, "reference.safetensors")
	scaled := rewritten(t, filepath.Join(pixelFolder, "cin.safetensors"), nil, map[string]string{"sdgo.vae.scale_factor": "0.5"})
	for path, scale := range map[string]float32{filepath.Join(pixelFolder, "cin.safetensors"): 1, filepath.Join(pixelFolder, "enlarging"): 1, scaled: 0.5} {
		c, a := openAutoencoder(t, path)
		require.Equal(t, []any{64, scale, 2, true}, []any{c.Codebook, c.VAE.ScaleFactor, a.Factor(), a.CanEncode()}, path)
		z := tensorOf(ref, "cin.z")
		for i := range z.Data { // in the denoiser's scale
			z.Data[i] *= scale
		}
		before := append([]float32{}, z.Data...)
		image, err := a.Decode(context.Background(), z, tensor.NoProgress)
		require.NoError(t, err)
		requireClose(t, image.Data, ref.f32("cin.decoded"), floatBound, path)
		require.Equal(t, before, z.Data, "the latent stays as it is")
		e, err := a.Encode(context.Background(), tensorOf(ref, "cin.image"))
		require.NoError(t, err)
		want := append([]float32{}, ref.f32("cin.encoded")...)
		for i := range want {
			want[i] *= scale
		}
		requireClose(t, e.Mean().Data, want, floatBound, path)
		requireClose(t, e.Sample(nil).Data, want, floatBound, path)
	}
	c, a := openAutoencoder(t, filepath.Join(pixelFolder, "churches.safetensors"))
	require.Equal(t, []any{0, float32(0.25)}, []any{c.Codebook, c.VAE.ScaleFactor})
	image, err := a.Decode(context.Background(), tensorOf(ref, "churches.x"), tensor.NoProgress)
	require.NoError(t, err)
	requireClose(t, image.Data, ref.f32("churches.decoded")[:len(image.Data)], floatBound, "churches")
}

// What is not a number stays that until a network reports it.
func TestVQReportsWhatIsNoNumber(t *testing.T) {
	_, a := openAutoencoder(t, filepath.Join(pixelFolder, "cin.safetensors"))
	z := tensor.New(3, 8, 8)
	z.Data[5] /= z.Data[5] // NaN
	_, err := a.Decode(context.Background(), z, tensor.NoProgress)
	require.Error(t, err)
	require.False(t, errors.Is(err, context.Canceled))
}

// Files of latent diffusion hold more than what draws: averages count, schedules too, and the
// rest is left out.
func TestPixelLatentFiles(t *testing.T) {
	m, err := convert.Open(filepath.Join(pixelFolder, "cin.safetensors"))
	require.NoError(t, err)
	defer m.Close()
	c := m.Config.(*convert.Pixel)
	require.Equal(t, []any{"class_unet", 10, 10, "index", 8, 3, 2}, []any{c.Net, c.Classes, c.NullClass, c.ClassInput, c.Size, c.Channels, c.Multiple})
	require.Len(t, m.AlphasCumprod, 1000)
	require.InDelta(t, 1-0.0015, m.AlphasCumprod[0], 1e-6)
	for _, name := range []string{"betas", "sqrt_alphas_cumprod", "model_ema.decay", "first_stage_model.loss.logvar"} {
		_, ok := m.Tensor(name)
		require.False(t, ok, name)
	}
	for name, test := range map[string]struct{ from, to, want string }{
		"an average is missing":   {"model_ema.diffusion_modelout2weight", "model_ema.diffusion_modelout3weight", `tensor "model.diffusion_model.out.2.weight" has no average of its shape`},
		"a parameter is missing":  {"model.diffusion_model.out.2.bias", "diffusion_model.out.2.bias", "1 of 208 tensors that begin with model_ema. are averages of no tensor"},
		"attention at a level":    {"first_stage_model.encoder.norm_out.bias", "first_stage_model.encoder.down.1.attn.0.norm.bias", `is surplus: autoencoders have attention in their middle alone`},
		"classes without a table": {"cond_stage_model.embedding.weight", "cond_stage_model.embedder.weight", "without its text encoder"},
	} {
		_, err := convert.Open(rewritten(t, filepath.Join(pixelFolder, "cin.safetensors"), func(n string) string {
			if n == test.from {
				return test.to
			}
			return n
		}, nil))
		require.ErrorContains(t, err, test.want, name)
	}
}

// The UNet of the x4 upscaler against the diffusers library.
func TestUNetThatEnlargesByText(t *testing.T) {
	ref := readReference(t, pixelFolder, "reference.safetensors")
	for _, w := range ways() {
		if w.options.Type != "f32" {
			continue
		}
		host, err := engine.Open("x4", engine.Options{Backend: "cpu", Kernels: w.options.Kernels, Type: w.options.Type, Threads: w.options.Threads},
			func() (*convert.Model, error) { return convert.Load(filepath.Join(pixelFolder, "x4.safetensors")) })
		require.NoError(t, err)
		c := convert.UNetConfig{InChannels: 7, OutChannels: 4, ModelChannels: 8, ChannelMult: []int{1, 2, 2}, NumResBlocks: 1, TransformerDepth: []int{0, 1, 1},
			MiddleDepth: 1, ContextDim: 12, Heads: 2, LinearProjection: true, Classes: 30, CrossOnly: []bool{false, true, false}}
		c.Norms.Groups = 8
		var n *engine.Network
		require.NoError(t, host.Place(func() (err error) {
			n, err = host.NewNetwork(engine.Spec{Role: engine.RoleDenoiser, Title: "the UNet", Arch: "unet", Prefix: convert.UNetPrefix, Params: c.Params()})
			return err
		}, func() ([]engine.Demand, error) { return nil, nil }))
		var inputs []cgo.Input
		for _, name := range []string{"x", "t", "context"} {
			inputs = append(inputs, cgo.Input{Name: name, Shape: ref.shape("x4." + name), F32: ref.f32("x4." + name)})
		}
		inputs = append(inputs, cgo.Input{Name: "class", Shape: ref.shape("x4.class"), I32: ref.i32("x4.class")})
		got := make([]float32, len(ref.f32("x4.out")))
		require.NoError(t, n.Run(context.Background(), inputs, []cgo.Output{{Name: "out", Data: got}}))
		requireClose(t, got, ref.f32("x4.out"), w.bound, w.String())
		require.NoError(t, host.Close())
	}
}

// EDM2's latents are those of an autoencoder in a file of its own, in another scale, which
// its pickles say.
func TestEDM2WithAutoencoder(t *testing.T) {
	data, err := os.ReadFile("../testdata/nets/sd1.safetensors")
	require.NoError(t, err)
	file, err := safetensors.Parse(data)
	require.NoError(t, err)
	vae := filepath.Join(t.TempDir(), "vae.safetensors")
	f, err := os.Create(vae)
	require.NoError(t, err)
	require.NoError(t, safetensors.Write(f, nil, slices.DeleteFunc(file.Tensors, func(x safetensors.Tensor) bool { return !strings.HasPrefix(x.Name, convert.VAEPrefix) })))
	require.NoError(t, f.Close())
	for path, want := range map[string][]float32{"edm2.pkl": {5.81, 3.25, 0.12, -2.15}, "edm2.safetensors": nil} {
		m, err := convert.OpenAssembled(convert.Components{Model: filepath.Join(pixelFolder, path), VAE: vae})
		require.NoError(t, err)
		c := m.Config.(*convert.Pixel)
		require.NotNil(t, c.VAE, path)
		require.Equal(t, want, c.VAE.Mean, path)
		require.Equal(t, c.Size*c.VAE.Factor(), m.NativeSize)
		if want != nil {
			require.Equal(t, []any{float32(0.5), []float32{4.17, 4.62, 3.71, 3.28}}, []any{c.VAE.ScaleFactor, c.VAE.Std})
		}
		out := filepath.Join(t.TempDir(), "out") // the network is the same beside the autoencoder
		require.NoError(t, convert.Convert(t.Context(), m, out, convert.Options{Keep: true, Safetensors: true}))
		require.NoError(t, m.Close())
		requirePixelWithin(t, out, "edm2", "edm2.sample", edm2Bounds["f16"])
	}
	_, err = convert.OpenAssembled(convert.Components{Model: filepath.Join(pixelFolder, "guided.safetensors"), VAE: vae})
	require.ErrorContains(t, err, "an autoencoder with 4 latent channels does not fit a network with 3")
}
