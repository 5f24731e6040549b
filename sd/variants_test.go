package sd

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/internal/checked"
)

// openVariant opens the tiny SD 1 model with the first weight of another
// number of input channels.
func openVariant(t *testing.T, ref reference, name string, o Options) *Model {
	return openVariantOf(t, filepath.Join(netsFolder, "sd1.safetensors"), ref, name, o)
}

// openVariantOf does it with another model.
func openVariantOf(t *testing.T, model string, ref reference, name string, o Options) *Model {
	data, err := os.ReadFile(model)
	require.NoError(t, err)
	file, err := safetensors.Parse(data)
	require.NoError(t, err)
	for i, tensor := range file.Tensors {
		if tensor.Name == convert.UNetPrefix+"input_blocks.0.0.weight" {
			w := ref.tensor(name+".conv_in", "F32")
			file.Tensors[i] = safetensors.Tensor{Name: tensor.Name, DType: w.DType, Shape: w.Shape, Data: w.Data}
		}
	}
	path := filepath.Join(t.TempDir(), "variant.safetensors")
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, safetensors.Write(f, file.Metadata, file.Tensors))
	require.NoError(t, f.Close())
	m, err := Open(path, o)
	require.NoError(t, err)
	t.Cleanup(func() { m.Close() })
	return m
}

// Models that see more than the latent: for inpainting (a mask and a masked
// picture) and for editing (a picture), against diffusers' pipelines.
func TestVariantsAgree(t *testing.T) {
	ref := readReference(t, pipelinesFolder, "pipeline.safetensors")
	start, mask := startPicture(ref)
	for _, name := range []string{"sd1.nine", "sd1.eight"} {
		for _, kernels := range checked.Few(cgo.KernelNames()) {
			t.Run(name+" "+kernels, func(t *testing.T) {
				m := openVariant(t, ref, name, Options{Type: "f32", Kernels: kernels})
				r := pipelineRequest(ref)
				r.Image = start
				if name == "sd1.nine" {
					r.Mask, r.Strength = mask, Float(0.6)
				}
				latent := latentOf(t, m, r, nil)
				requireClose(t, latent.Data, ref.f32(name+".latent"), 1e-4, "latent")

				r.Sampler, r.Steps = "euler_a", 2
				result, err := m.Generate(context.Background(), r)
				require.NoError(t, err)
				for i, v := range mask.Pix {
					if name == "sd1.nine" && v == 0 {
						require.Equal(t, start.Pix[4*i:][:4], result.Images[0].Image.Pix[4*i:][:4])
					}
				}
			})
		}
	}
}

func TestVariantsAskForWhatTheyNeed(t *testing.T) {
	ref := readReference(t, pipelinesFolder, "pipeline.safetensors")
	start, mask := startPicture(ref)
	nine, eight := openVariant(t, ref, "sd1.nine", Options{}), openVariant(t, ref, "sd1.eight", Options{})
	plain := openTiny(t, "sd1.safetensors", Options{})
	for _, c := range []struct {
		m    *Model
		r    Request
		want string
	}{
		{nine, Request{}, "Mask: the model is made for inpainting: it needs a picture and a mask"},
		{nine, Request{Image: start}, "it needs a picture and a mask"},
		{eight, Request{}, "Image: the model is made for editing pictures: it needs a picture"},
		{eight, Request{Image: start, Mask: mask}, "it takes none"},
		{eight, Request{Image: start, Sampler: "euler_cfg++"}, "Sampler: euler_cfg++ brings its own guidance"},
		{eight, Request{Image: start, ImageGuidance: Float(math.NaN())}, "ImageGuidance: must be 0 to 1000, got NaN"},
		{plain, Request{Image: start, ImageGuidance: Float(2)}, "only models for editing"},
	} {
		_, err := c.m.Generate(context.Background(), c.r)
		var request *RequestError
		require.ErrorAs(t, err, &request)
		require.ErrorContains(t, err, c.want)
	}
}

// The picture's guidance matters, and at 0 the picture does not.
func TestImageGuidance(t *testing.T) {
	ref := readReference(t, pipelinesFolder, "pipeline.safetensors")
	start, _ := startPicture(ref)
	m := openVariant(t, ref, "sd1.eight", Options{})
	draw := func(guidance, text float64) []byte {
		r := Request{Image: start, Steps: 2, ImageGuidance: Float(guidance), Guidance: Float(text), Prompt: "a table"}
		result, err := m.Generate(context.Background(), r)
		require.NoError(t, err)
		return result.Images[0].Image.Pix
	}
	require.NotEqual(t, draw(1.5, 7), draw(3, 7))
	require.NotEqual(t, draw(1.5, 1), draw(1.5, 0))
}
