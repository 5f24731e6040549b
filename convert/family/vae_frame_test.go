package family

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/model"
)

func numbered(name string, shape ...int64) model.Stored {
	t := model.Stored{Tensor: model.Tensor{Name: name, Type: dtype.F32, Shape: shape}, DType: "F32"}
	values := make([]float32, t.Elements())
	for i := range values {
		values[i] = float32(i)
	}
	t.Bytes = make([]byte, 4*len(values))
	if err := dtype.Encode(dtype.F32, t.Bytes, values); err != nil {
		panic(err)
	}
	return t
}

// Of convolutions of videos the last slice in time is left, also where stable-diffusion.cpp's GGUF files have four dimensions of the five;
// those in time alone are left out, queries, keys and values are apart.
func TestFrameVAE(t *testing.T) {
	all := []model.Stored{
		numbered("decoder.head.0.gamma", 2, 1, 1, 1),
		numbered("decoder.upsamples.0.residual.2.weight", 2, 2, 3, 1, 2), numbered("decoder.upsamples.0.residual.2.bias", 2),
		numbered("decoder.upsamples.1.residual.6.weight", 4, 3, 1, 2), numbered("decoder.upsamples.1.residual.6.bias", 2),
		numbered("decoder.upsamples.2.resample.1.weight", 1, 2, 3, 3), numbered("decoder.upsamples.2.time_conv.weight", 4, 2, 3, 1, 1),
		numbered("decoder.upsamples.3.shortcut.weight", 2, 2, 1, 1, 1),
		numbered("decoder.middle.1.to_qkv.weight", 6, 2, 1, 1), numbered("conv2.weight", 2, 2, 1, 1, 1),
	}
	require.True(t, isFrameVAE(all))
	out, err := frameVAE(all)
	require.NoError(t, err)
	got := map[string][]float32{}
	for _, x := range out {
		values := make([]float32, x.Elements())
		require.NoError(t, x.Float32(values))
		got[x.Name] = values
	}
	last := []float32{4, 5, 10, 11, 16, 17, 22, 23}
	require.Equal(t, last, got["decoder.up.1.block.0.conv1.weight"])
	require.Equal(t, last, got["decoder.up.1.block.1.conv2.weight"])
	require.Len(t, got["decoder.up.1.upsample.conv.weight"], 18)
	require.Equal(t, []float32{0, 1, 2, 3}, got["decoder.up.0.block.0.nin_shortcut.weight"])
	require.Equal(t, []float32{4, 5, 6, 7}, got["decoder.mid.attn_1.k.weight"])
	require.Contains(t, got, "decoder.norm_out.weight")
	require.Contains(t, got, "post_quant_conv.weight")
	require.Len(t, got, len(all)+1, "one is left out, one is three")

	for want, x := range map[string]model.Stored{
		"must have a multiple of three rows":               numbered("decoder.middle.1.to_qkv.weight", 4, 2, 1, 1),
		"must have dimensions of at least 1":               numbered("decoder.conv1.weight", 2, 0, 3, 3, 3),
		"must be floating-point numbers, of which a slice": {Tensor: model.Tensor{Name: "decoder.conv1.weight", Type: dtype.Q8_0, Shape: []int64{32, 1, 3, 3, 3}}, DType: "Q8_0"},
		"has 3 bytes for the shape":                        {Tensor: model.Tensor{Name: "decoder.conv1.weight", Type: dtype.F32, Shape: []int64{2, 1, 3, 3, 3}, Bytes: make([]byte, 3)}, DType: "F32"},
	} {
		_, err := frameVAE([]model.Stored{x})
		require.ErrorContains(t, err, want)
	}
}
