package layout

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/model"
)

func stored(name string, shape []int64, values ...float32) model.Stored {
	t := model.Tensor{Name: name, Type: dtype.F32, Shape: shape, Bytes: []byte{}}
	for _, v := range values {
		t.Bytes = binary.LittleEndian.AppendUint32(t.Bytes, math.Float32bits(v))
	}
	return model.Stored{Tensor: t, DType: "F32"}
}

func values(t *testing.T, x model.Stored) []float32 {
	t.Helper()
	out := make([]float32, x.Elements())
	require.NoError(t, x.Float32(out))
	return out
}

// Rows that are next to each other for each channel become those of all queries, keys and
// values.
func TestByPart(t *testing.T) {
	out, err := byPart(stored("qkv", []int64{6, 1}, 0, 1, 2, 10, 11, 12))
	require.NoError(t, err)
	require.Equal(t, []float32{0, 10, 1, 11, 2, 12}, values(t, out))
	_, err = byPart(stored("qkv", []int64{4, 1}, 0, 1, 2, 3))
	require.ErrorContains(t, err, `tensor "qkv" has the shape [4 1]; rows of queries, keys and values are expected`)
}

// A layer of classes becomes a table, with a row for none.
func TestEDMLabels(t *testing.T) {
	weight, bias := stored("map_label.weight", []int64{2, 4}, 1, 2, 3, 4, 5, 6, 7, 8), stored("map_label.bias", []int64{2}, 0.5, 0.25)
	out, err := edmLabels([]model.Stored{weight, bias})
	require.NoError(t, err)
	require.Len(t, out, 1)
	require.Equal(t, []int64{5, 2}, out[0].Shape)
	require.Equal(t, []float32{2.5, 10.25, 4.5, 12.25, 6.5, 14.25, 8.5, 16.25, 0.5, 0.25}, values(t, out[0])) // times √4
	out, err = edmLabels([]model.Stored{weight})                                                              // DhariwalUNet's, which has no bias
	require.NoError(t, err)
	require.Equal(t, []float32{1, 5, 2, 6, 3, 7, 4, 8, 0, 0}, values(t, out[0]))
	_, err = edmLabels([]model.Stored{weight, stored("map_label.bias", []int64{3}, 1, 2, 3)})
	require.ErrorContains(t, err, "a layer of classes is expected")
}

// Rows of EDM2's weights get their magnitude, gains theirs, and sides become levels.
func TestEDM2Weights(t *testing.T) {
	freqs := stored("unet.emb_fourier.freqs", []int64{1}, 1)
	block := stored("unet.enc.8x8_block0.emb_linear.weight", []int64{2, 2}, 3, 4, 0, 0)
	gain := stored("unet.enc.8x8_block0.emb_gain", nil, 2)
	gain.Bytes = gain.Bytes[:4]
	out, err := EDM2Pixel([]model.Stored{freqs, block, gain, stored("unet.dec.16x16_up.conv_res0.weight", []int64{1, 1}, 1), stored("logvar_linear.weight", []int64{1, 1}, 1)})
	require.NoError(t, err)
	require.Len(t, out, 3)
	require.Equal(t, "enc.1.block0.emb_linear.weight", out[1].Name)
	got := values(t, out[1])
	scale := 2 / (math.Sqrt2 * (1e-4 + 5/math.Sqrt2))
	for i, want := range []float64{3 * scale, 4 * scale, 0, 0} {
		require.InDelta(t, want, got[i], 1e-6)
	}
	require.Equal(t, "dec.0.up.conv_res0.weight", out[2].Name)
	_, err = EDM2Pixel([]model.Stored{freqs, block})
	require.ErrorContains(t, err, `tensor "enc.8x8_block0.emb_linear.weight" has no gain, "enc.8x8_block0.emb_gain"`)
	_, err = EDM2Pixel([]model.Stored{freqs, stored("unet.out_conv.weight", []int64{4}, 1, 2, 3, 4), stored("unet.out_gain", []int64{1}, 1)})
	require.ErrorContains(t, err, "must be a matrix of floating-point numbers")
	_, err = EDM2Pixel([]model.Stored{freqs, stored("unet.out_gain", []int64{2}, 1, 1)})
	require.ErrorContains(t, err, `tensor "unet.out_gain" must be one number`)
}

// Averages of latent diffusion count.
func TestLatentAverages(t *testing.T) {
	out, err := LatentPixel([]model.Stored{stored("model.diffusion_model.out.2.bias", []int64{1}, 1), stored("model_ema.diffusion_modelout2bias", []int64{1}, 2),
		stored("model_ema.decay", nil, 0.5), stored("betas", []int64{1}, 1), stored("first_stage_model.x", []int64{1}, 3)})
	require.NoError(t, err)
	require.Len(t, out, 2)
	require.Equal(t, "model.diffusion_model.out.2.bias", out[0].Name)
	require.Equal(t, []float32{2}, values(t, out[0]))
}
