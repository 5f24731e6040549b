package read

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/convert/write"
	"github.com/sdgo/sdgo/internal/fixture"
)

// Detection ends with the first thing that is wrong: what comes later would work
// with numbers that were never found.
func TestDetectionStopsAtTheFirstFault(t *testing.T) {
	without := func(prefix string) []safetensors.Tensor {
		var rest []safetensors.Tensor
		for _, x := range fixture.Fill(fixture.Weights(fixture.Tiny()), "F16") {
			if !strings.HasPrefix(x.Name, prefix) {
				rest = append(rest, x)
			}
		}
		return rest
	}
	// Each says its size in latent pixels, from which the native size follows by
	// way of the autoencoder's levels.
	for prefix, want := range map[string]string{
		model.VAEPrefix + "decoder.up.":                             "an autoencoder with 0 levels",
		model.VAEPrefix + "decoder.conv_in.weight":                  "decoder.conv_in.weight\" is missing",
		model.UNetPrefix + "out.2.weight":                           "out.2.weight\" is missing",
		model.TextPrefix + "text_model.embeddings.position_":        "position_embedding.weight\" is missing",
		model.TextPrefix + "text_model.encoder.layers.0.layer_norm": "a text encoder without layers",
	} {
		path := fixture.SaveNew(t, map[string]string{"sdgo.unet.sample_size": "8"}, without(prefix))
		_, err := Load(path)
		require.ErrorContains(t, err, want)
	}
}

// An autoencoder of two levels makes sizes that are no multiples of 8 out of
// latents: the one next to it is what can be drawn, and written to a file.
func TestNativeSizeOfSampleSize(t *testing.T) {
	for latent, want := range map[string]int{"1": 8, "5": 8, "8": 16, "33": 64} {
		m := open(t, fixture.SaveNew(t, map[string]string{"sdgo.unet.sample_size": latent}, fixture.Fill(fixture.Weights(fixture.Tiny()), "F16")))
		require.Equal(t, want, m.NativeSize, latent)
		to := filepath.Join(t.TempDir(), "to")
		require.NoError(t, write.Convert(t.Context(), m, to, write.Options{Keep: true}))
		require.Equal(t, want, open(t, to).NativeSize, latent)
	}
}

func TestPanicsAreErrorsOfTheFile(t *testing.T) {
	read := func() (err error) {
		defer model.Recovered("model.gguf", &err)
		var none []int
		_ = none[3]
		return nil
	}
	require.ErrorContains(t, read(), "model.gguf: reading it failed: runtime error: index out of range [3] with length 0")
}
