package convert

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/safetensors"
)

// Parts in the original layout and in the diffusers library's, alone or in
// place of a model's own.
func TestLoadSources(t *testing.T) {
	dir, single := folder(t, nil)
	want := open(t, single)
	file := func(name string, all []safetensors.Tensor) string {
		return save(t, filepath.Join(t.TempDir(), name), nil, all)
	}
	byPrefix := func(prefix string, cut bool) (all []safetensors.Tensor) {
		for _, x := range want.Tensors {
			if rest, ok := strings.CutPrefix(x.Name, prefix); ok {
				if !cut {
					rest = x.Name
				}
				all = append(all, safetensors.Tensor{Name: rest, DType: "F16", Shape: x.Shape, Data: x.Bytes})
			}
		}
		return all
	}
	zeroed := func() []safetensors.Tensor {
		all := byPrefix("", false)
		for i := range all {
			all[i].Data = make([]byte, len(all[i].Data))
		}
		return all
	}
	for name, s := range map[string]Sources{
		"diffusers": {UNet: filepath.Join(dir, "unet/diffusion_pytorch_model.safetensors"), VAE: filepath.Join(dir, "vae/diffusion_pytorch_model.safetensors"),
			ClipL: filepath.Join(dir, "text_encoder/model.safetensors")},
		"original":          {UNet: file("u", byPrefix(UNetPrefix, false)), VAE: file("v", byPrefix(VAEPrefix, true)), ClipL: file("c", byPrefix(TextPrefix, true))},
		"in a model":        {Model: file("m", zeroed()), UNet: file("u", byPrefix(UNetPrefix, true)), VAE: file("v", byPrefix(VAEPrefix, false)), ClipL: file("c", byPrefix(TextPrefix, false))},
		"of another model":  {Model: file("m", zeroed()), UNet: single, VAE: single, ClipL: single},
		"of a whole folder": {Model: dir, VAE: single},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := LoadSources(s)
			require.NoError(t, err)
			defer m.Close()
			require.Len(t, m.Tensors, len(want.Tensors))
			for _, a := range want.Tensors {
				b, ok := m.Tensor(a.Name)
				require.True(t, ok, a.Name)
				require.Equal(t, a.Shape, b.Shape, a.Name)
				require.Equal(t, a.Bytes, b.Bytes, a.Name)
			}
		})
	}
	for _, c := range []struct {
		s    Sources
		want string
	}{
		{Sources{Model: single, VAE: file("u", byPrefix(UNetPrefix, true))}, "a UNet of latent diffusion; an autoencoder is wanted"},
		{Sources{Model: single, VAE: "/nothing"}, "/nothing: no such file or directory"},
		{Sources{VAE: file("v", byPrefix(VAEPrefix, true))}, "an autoencoder"},
		{Sources{}, "a file without tensors"},
	} {
		m, err := LoadSources(c.s)
		if err == nil {
			require.False(t, isDiffusion(m.Arch))
			require.Equal(t, c.want, m.What)
			m.Close()
			continue
		}
		require.ErrorContains(t, err, c.want)
	}
}

func TestLoadSourcesXL(t *testing.T) {
	want := tinyXL()
	parts := map[string][]safetensors.Tensor{}
	for _, x := range fill(append(allWeights(want), want.Text2.Weights()...), "F16") {
		for _, p := range []string{text1Prefix, text2Prefix, UNetPrefix, VAEPrefix} {
			if rest, ok := strings.CutPrefix(x.Name, p); ok {
				x.Name = rest
				parts[p] = append(parts[p], x)
			}
		}
	}
	path := func(prefix string) string { return save(t, filepath.Join(t.TempDir(), "x"), nil, parts[prefix]) }
	m, err := LoadSources(Sources{UNet: path(UNetPrefix), VAE: path(VAEPrefix), ClipL: path(text1Prefix), ClipG: path(text2Prefix)})
	require.NoError(t, err)
	defer m.Close()
	requireSame(t, want, m)
}
