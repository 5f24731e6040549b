package read

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/family"
	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/internal/fixture"
)

func open(t testing.TB, path string) *model.Model {
	m, err := Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { m.Close() })
	return m
}

func TestOpenSingleFile(t *testing.T) {
	for _, want := range []*model.Model{fixture.Tiny(), fixture.Tiny2()} {
		t.Run(want.Family, func(t *testing.T) {
			tensors := fixture.Fill(fixture.Weights(want), "F16")
			tensors = append(tensors, fixture.Surplus()...)
			got := open(t, fixture.Save(t, filepath.Join(t.TempDir(), "x.bin"), map[string]string{"modelspec.title": "Tiny"}, tensors))
			require.Equal(t, "safetensors", got.Format)
			require.Equal(t, "Tiny", got.Metadata["modelspec.title"])
			want.AlphasCumprod = []float64{0.5, 0.25}
			fixture.RequireSame(t, want, got)
			require.Contains(t, got.Ignored, "model_ema.decay")
			require.Equal(t, []string{"text encoder", "UNet", "VAE encoder", "VAE decoder"}, names(family.Parts(got)))
			for _, p := range family.Parts(got) {
				require.Equal(t, p.Elements*2, p.Bytes)
			}
		})
	}
}

func names(parts []model.Part) (all []string) {
	for _, p := range parts {
		all = append(all, p.Name)
	}
	return all
}
