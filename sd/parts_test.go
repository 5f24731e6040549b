package sd

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/safetensors"
)

// A model takes networks of other files, in place of its own, and its pictures say so;
// networks that are alone take none.
func TestParts(t *testing.T) {
	whole := filepath.Join(netsFolder, "sd1.safetensors")
	r := Request{Prompt: "a fox", Width: 16, Height: 16, Steps: 2}
	draw := func(o Options) Image {
		m := openTiny(t, "sd1.safetensors", o)
		result, err := m.Generate(context.Background(), r)
		require.NoError(t, err)
		return result.Images[0]
	}
	own := draw(Options{})
	require.Empty(t, own.Params.Parts)
	same := draw(Options{VAE: whole, CLIPL: whole})
	require.Equal(t, own.Image.Pix, same.Image.Pix)
	require.Equal(t, "sd1.safetensors", same.Params.VAE)
	require.Equal(t, "sd1.safetensors", same.Params.CLIPL)
	require.Empty(t, same.Params.CLIPG)
	require.Regexp(t, "^[0-9a-f]{10}$", same.Params.VAEHash)
	require.False(t, slices.Equal(own.Image.Pix, draw(Options{VAE: darkVAE(t, whole)}).Image.Pix))

	for _, o := range []Options{{VAE: "x"}, {CLIPL: "x"}, {CLIPG: "x"}, {T5: "x"}, {LLM: "x"}, {LLMVision: "x"}} {
		_, err := OpenTAESD(filepath.Join(taesdFolder, "tiny.safetensors"), o)
		require.ErrorContains(t, err, "VAE, CLIPL, CLIPG, T5, T5Tokenizer, LLM and LLMVision are parts of a model")
		_, err = OpenESRGAN("x", o)
		require.ErrorContains(t, err, "VAE, CLIPL, CLIPG, T5, T5Tokenizer, LLM and LLMVision are parts of a model")
	}
	_, err := Open(filepath.Join(taesdFolder, "tiny.safetensors"), Options{})
	require.ErrorContains(t, err, "--taesd takes it")
	_, err = Open(whole, Options{VAE: filepath.Join(t.TempDir(), "none")})
	require.ErrorIs(t, err, os.ErrNotExist)
}

// darkVAE is a file of a model's autoencoder with another last bias.
func darkVAE(t *testing.T, whole string) string {
	data, err := os.ReadFile(whole)
	require.NoError(t, err)
	file, err := safetensors.Parse(data)
	require.NoError(t, err)
	all := slices.DeleteFunc(file.Tensors, func(x safetensors.Tensor) bool { return !strings.HasPrefix(x.Name, convert.VAEPrefix) })
	for i, x := range all {
		if x.Name == convert.VAEPrefix+"decoder.conv_out.bias" {
			all[i].Data = bytes.Repeat([]byte{0, 0xb8}, len(x.Data)/2) // -0.5 in float16
		}
	}
	out, err := os.Create(filepath.Join(t.TempDir(), "vae.safetensors"))
	require.NoError(t, err)
	require.NoError(t, safetensors.Write(out, nil, all))
	require.NoError(t, out.Close())
	return out.Name()
}
