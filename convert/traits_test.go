package convert

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/internal/fixture"
)

// What published models have that no shape tells: heads, their order, the process. The
// numbers are those of the authors' READMEs, configurations and code.
func TestTraitsOfPublishedModels(t *testing.T) {
	all := fixture.Published(t)
	ddpm := func(variance string, clip bool) PixelProcess {
		return PixelProcess{Kind: "ddpm", Betas: "linear", BetaStart: 1e-4, BetaEnd: 0.02, Steps: 1000, Prediction: "epsilon", Variance: variance, Clip: clip}
	}
	cosine := PixelProcess{Kind: "ddpm", Betas: "cosine", Steps: 1000, Prediction: "epsilon", Variance: "learned_range", Clip: true}
	edm := PixelProcess{Kind: "edm", Prediction: "sample", SigmaMin: 0.002, SigmaMax: 80, SigmaData: 0.5}
	consistency := edm
	consistency.Kind, consistency.Clip = "consistency", true
	ve := PixelProcess{Kind: "ve", Prediction: "epsilon", SigmaMin: 0.01, SigmaMax: 348, UnitRange: true}
	centered := ve
	centered.Center = true
	for _, c := range []struct {
		file           string
		heads, headDim int
		byHead         bool
		process        PixelProcess
	}{
		{"adm-64", 0, 64, false, cosine},
		{"adm-128", 4, 0, true, ddpm("learned_range", true)},
		{"adm-512", 0, 64, true, ddpm("learned_range", true)},
		{"adm-64-256-upsampler", 4, 0, true, ddpm("learned_range", true)},
		{"adm-128-512-upsampler", 0, 64, true, ddpm("learned_range", true)},
		{"iddpm-cifar10", 4, 0, true, cosine},
		{"consistency-imagenet64", 0, 64, false, consistency},
		{"consistency-lsun256", 0, 64, false, consistency},
		{"ddpm-cifar10", 1, 0, false, ddpm("fixed_large", true)},
		{"edm-cifar10-vp", 1, 0, false, edm},
		{"edm-imagenet-64", 0, 64, false, edm},
		{"score-church-256", 1, 0, false, centered},
		{"score-church-256-diffusers", 1, 0, false, ve},
		{"score-cifar10-ddpmpp-deep", 1, 0, false, PixelProcess{Kind: "vp", Prediction: "epsilon", BetaStart: 0.1, BetaEnd: 20}},
		{"ldm-celeba256", 0, 32, true, PixelProcess{Kind: "ddpm", Betas: "scaled_linear", BetaStart: 0.0015, BetaEnd: 0.0195, Steps: 1000, Prediction: "epsilon", Variance: "fixed_small"}},
		{"ldm-churches256", 8, 0, true, PixelProcess{Kind: "ddpm", Betas: "scaled_linear", BetaStart: 0.0015, BetaEnd: 0.0155, Steps: 1000, Prediction: "epsilon", Variance: "fixed_small"}},
	} {
		var tensors = all[c.file][:0:0]
		for _, x := range all[c.file] { // of zeros, which are no schedule
			if x.Name != "alphas_cumprod" && x.Name != "module.sigmas" {
				tensors = append(tensors, x)
			}
		}
		m, err := Load(fixture.Sparse(t, filepath.Join(t.TempDir(), "x"), tensors))
		require.NoError(t, err, c.file)
		p, err := ConfigAs[*Pixel](m, "a model without text")
		require.NoError(t, err, c.file)
		require.Equal(t, c.process, p.Process, c.file)
		require.Equal(t, []any{c.heads, c.headDim, c.byHead}, []any{p.UNet.Heads, p.UNet.HeadDim, p.UNet.QKVByHead}, c.file)
		require.NoError(t, m.Close())
	}
}

// What no shape of DeepFloyd IF's published models tells: heads of 64 everywhere, whose queries, keys and values are together in the authors'
// files and apart in the library's.
func TestDeepFloydTraits(t *testing.T) {
	all := fixture.Published(t)
	for name, byHead := range map[string]bool{"deepfloyd-1-xl": true, "deepfloyd-1-xl-diffusers": false} {
		m, err := Load(fixture.Sparse(t, filepath.Join(t.TempDir(), name), all[name]))
		require.NoError(t, err)
		defer m.Close()
		c, err := ConfigAs[*DeepFloydModel](m, "DeepFloyd IF")
		require.NoError(t, err)
		u := c.UNet
		require.Equal(t, []any{64, 0, byHead, 64, 4096, 2816, 3}, []any{u.HeadDim, u.Heads, u.QKVByHead, u.Text.PoolHeads, u.Text.Width, u.Text.Channels, u.NumResBlocks})
		require.Equal(t, []int{704, 1408, 2112, 2816}, u.Channels)
		require.Equal(t, []any{64, 8, 0.95, 1.5, "cosine", true}, []any{c.Size, c.Multiple, c.Quantile, c.Largest, c.Process.Betas, c.LearnedVariance})
	}
}
