package sd

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/convert/safetensors"
)

// louder is a file whose feed-forward layers compute the same by numbers inside that are 2^17 times as large, beyond float16's
// 65504, as those of Z-Image and of T5-XXL are: up are the names of layers that are linear in what they give, down those after them.
func louder(t *testing.T, path, up, down string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	f, err := safetensors.Parse(data)
	require.NoError(t, err)
	ups, downs := 0, 0
	for i, x := range f.Tensors {
		factor := float32(1)
		switch {
		case regexp.MustCompile(up).MatchString(x.Name):
			factor, ups = 1<<17, ups+1
		case regexp.MustCompile(down).MatchString(x.Name):
			factor, downs = 1.0/(1<<17), downs+1
		default:
			continue
		}
		typ, ok := model.TypeOf(x.DType)
		require.True(t, ok)
		values := make([]float32, elementsOf(x.Shape))
		require.NoError(t, dtype.Float32(typ, values, x.Data))
		for k := range values {
			values[k] *= factor
		}
		f.Tensors[i].DType, f.Tensors[i].Data = "F32", make([]byte, 4*len(values))
		require.NoError(t, dtype.Encode(dtype.F32, f.Tensors[i].Data, values))
	}
	require.NotZero(t, ups)
	require.Equal(t, ups, downs)
	to := filepath.Join(t.TempDir(), filepath.Base(path))
	out, err := os.Create(to)
	require.NoError(t, err)
	require.NoError(t, safetensors.Write(out, f.Metadata, f.Tensors))
	require.NoError(t, out.Close())
	return to
}

func elementsOf(shape []int64) int64 {
	n := int64(1)
	for _, d := range shape {
		n *= d
	}
	return n
}

// Numbers within feed-forward layers are beyond float16's in Z-Image, in its text encoder and in T5; what is drawn is what the references
// draw, with this library's kernels and with ggml, in types with float16's precision, too.
func TestFeedForwardsPassFloat16(t *testing.T) {
	z := readReference(t, transformersFolder, "zimage-reference.safetensors")
	f := readReference(t, fluxFolder, "reference.safetensors")
	whole := filepath.Join(fluxFolder, "flux")
	for _, c := range []struct {
		kernels, precision string
		bound              float64
	}{{"", "f32", 1e-4}, {"generic", "f32", 1e-4}, {"ggml", "f32", 1e-4}, {"", "bf16", 3e-2}, {"", "", 1e-3}} {
		path, o := zImageParts(t, Options{Type: c.precision, Kernels: c.kernels})
		path = louder(t, path, `feed_forward\.w3\.weight$`, `feed_forward\.w2\.weight$`)
		o.LLM = louder(t, o.LLM, `mlp\.up_proj\.weight$`, `mlp\.down_proj\.weight$`)
		what := c.kernels + " " + c.precision
		requireClose(t, latentOf(t, openFile(t, path, o), zImageRequest(z, 0), nil).Data, z.f32("turbo.latent.4"), c.bound, "Z-Image "+what)

		o = Options{Type: c.precision, Kernels: c.kernels, T5: louder(t, filepath.Join(whole, "text_encoder_2/model.safetensors"), `DenseReluDense\.wi_1\.weight$`, `DenseReluDense\.wo\.weight$`)}
		e := conditionsOf(t, openFile(t, whole, o), fluxRequest(3.5)).Cond.Inputs[0]
		requireClose(t, e.Data, f.f32("flux.context"), c.bound, "T5 "+what)
	}
}
