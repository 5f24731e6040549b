package convert

import (
	"path/filepath"
	"slices"
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
		{Sources{Model: single, VAE: "/nothing"}, "/nothing: " + noFile},
		{Sources{VAE: file("v", byPrefix(VAEPrefix, true))}, "an autoencoder (4 latent channels)"},
		{Sources{}, "no file to put a model together from"},
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

// byName writes tensors of some names, all of one small shape.
func byName(t *testing.T, names ...string) string {
	var all []safetensors.Tensor
	for _, name := range names {
		all = append(all, fill([]Weight{{name, []int64{3, 64}}}, "F16")...)
	}
	return save(t, filepath.Join(t.TempDir(), "x"), nil, all)
}

// FLUX.1 and Stable Diffusion 3 of their parts, in whatever layout these are.
func TestLoadSourcesTransformers(t *testing.T) {
	flux := byName(t, "double_blocks.0.img_attn.qkv.weight", "img_in.weight")
	whole := byName(t, UNetPrefix+"double_blocks.0.img_attn.qkv.weight", UNetPrefix+"img_in.weight", VAEPrefix+"decoder.conv_in.weight")
	sd3 := byName(t, UNetPrefix+"joint_blocks.0.context_block.attn.qkv.weight")
	clip := byName(t, "text_model.encoder.layers.0.self_attn.q_proj.weight")
	newer := byName(t, "encoder.layers.0.self_attn.q_proj.weight", "embeddings.token_embedding.weight")
	open := byName(t, "transformer.resblocks.0.attn.in_proj_weight", "visual.proj")
	t5 := byName(t, "shared.weight", "encoder.block.0.layer.0.SelfAttention.q.weight")
	vae := byName(t, "decoder.up.0.block.0.conv1.weight", "decoder.conv_in.weight")
	theirs := byName(t, "decoder.up_blocks.0.resnets.0.conv1.weight", "decoder.conv_in.weight")
	const qkv = UNetPrefix + "double_blocks.0.img_attn.qkv.weight"
	for _, c := range []struct {
		s    Sources
		arch string
		want string
	}{
		{Sources{UNet: flux, ClipL: clip, T5: t5, VAE: vae}, Flux, clipLPrefix + "text_model.encoder.layers.0.self_attn.q_proj.weight " +
			t5Prefix + "encoder.block.0.layer.0.SelfAttention.q.weight " + t5Prefix + "shared.weight " + qkv + " " + UNetPrefix + "img_in.weight " +
			VAEPrefix + "decoder.conv_in.weight " + VAEPrefix + "decoder.up.0.block.0.conv1.weight"},
		{Sources{Model: flux, VAE: theirs, ClipL: newer}, Flux, clipLPrefix + "text_model.embeddings.token_embedding.weight " +
			clipLPrefix + "text_model.encoder.layers.0.self_attn.q_proj.weight " + qkv + " " + UNetPrefix + "img_in.weight " +
			VAEPrefix + "decoder.conv_in.weight " + VAEPrefix + "decoder.up.0.block.0.conv1.weight"},
		{Sources{Model: whole, VAE: vae}, Flux, qkv + " " + UNetPrefix + "img_in.weight " + VAEPrefix + "decoder.conv_in.weight " + VAEPrefix + "decoder.up.0.block.0.conv1.weight"},
		{Sources{UNet: sd3, ClipG: open}, SD3, clipGPrefix + "text_model.encoder.layers.0.self_attn.k_proj.weight " + clipGPrefix + "text_model.encoder.layers.0.self_attn.q_proj.weight " +
			clipGPrefix + "text_model.encoder.layers.0.self_attn.v_proj.weight " + UNetPrefix + "joint_blocks.0.context_block.attn.qkv.weight"},
		{Sources{Model: flux, ClipG: clip}, "", "a model of this family has no such part"},
		{Sources{Model: flux, T5: clip}, "", "a CLIP text encoder; a T5 text encoder is wanted"},
		{Sources{Model: t5, VAE: vae}, "", "parts can be put into a model of Stable Diffusion or FLUX only"},
	} {
		m, err := LoadSources(c.s)
		if c.arch == "" {
			require.ErrorContains(t, err, c.want)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, c.arch, m.Arch)
		var names []string
		for _, x := range m.Tensors {
			names = append(names, x.Name)
		}
		slices.Sort(names)
		want := strings.Fields(c.want)
		slices.Sort(want)
		require.Equal(t, want, names)
		require.NoError(t, m.Close())
	}
}

// A checkpoint without an autoencoder, which people hand around, gets one.
func TestLoadSourcesIncomplete(t *testing.T) {
	_, single := folder(t, nil)
	want := open(t, single)
	var pruned []safetensors.Tensor
	for _, x := range want.Tensors {
		if !strings.HasPrefix(x.Name, VAEPrefix) {
			pruned = append(pruned, safetensors.Tensor{Name: x.Name, DType: "F16", Shape: x.Shape, Data: x.Bytes})
		}
	}
	path := save(t, filepath.Join(t.TempDir(), "x"), want.Metadata, pruned)
	_, err := Load(path)
	require.ErrorContains(t, err, "first_stage_model.decoder.conv_in.weight\" is missing")
	m, err := LoadSources(Sources{Model: path, VAE: single})
	require.NoError(t, err)
	defer m.Close()
	require.Len(t, m.Tensors, len(want.Tensors))
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
