package read

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/family"
	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/internal/fixture"
)

// Components in the original layout and in the diffusers library's, alone or in
// place of a model's own.
func TestAssemble(t *testing.T) {
	dir, single := fixture.Folder(t, nil)
	want := open(t, single)
	file := func(name string, all []safetensors.Tensor) string {
		return fixture.Save(t, filepath.Join(t.TempDir(), name), nil, all)
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
	for name, s := range map[string]Components{
		"diffusers": {UNet: filepath.Join(dir, "unet/diffusion_pytorch_model.safetensors"), VAE: filepath.Join(dir, "vae/diffusion_pytorch_model.safetensors"),
			CLIPL: filepath.Join(dir, "text_encoder/model.safetensors")},
		"original":          {UNet: file("u", byPrefix(model.UNetPrefix, false)), VAE: file("v", byPrefix(model.VAEPrefix, true)), CLIPL: file("c", byPrefix(model.TextPrefix, true))},
		"in a model":        {Model: file("m", zeroed()), UNet: file("u", byPrefix(model.UNetPrefix, true)), VAE: file("v", byPrefix(model.VAEPrefix, false)), CLIPL: file("c", byPrefix(model.TextPrefix, false))},
		"of another model":  {Model: file("m", zeroed()), UNet: single, VAE: single, CLIPL: single},
		"of a whole folder": {Model: dir, VAE: single},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := Assemble(s)
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
		s    Components
		want string
	}{
		{Components{Model: single, VAE: file("u", byPrefix(model.UNetPrefix, true))}, "a UNet of latent diffusion; expected an autoencoder"},
		{Components{Model: single, VAE: "/nothing"}, "/nothing: " + noFile},
		{Components{VAE: file("v", byPrefix(model.VAEPrefix, true))}, "an autoencoder (4 latent channels)"},
		{Components{}, "no file to put a model together from"},
	} {
		m, err := Assemble(c.s)
		if err == nil {
			require.Nil(t, m.Config)
			require.Equal(t, c.want, m.Description)
			m.Close()
			continue
		}
		require.ErrorContains(t, err, c.want)
	}
}

// A model that is to be run is put together as one that is converted, from a file or from
// memory.
func TestOpenAssembled(t *testing.T) {
	_, single := fixture.Folder(t, nil)
	want := open(t, single)
	data, err := os.ReadFile(single)
	require.NoError(t, err)
	c := Components{Model: single, VAE: single, CLIPL: single}
	for _, read := range []func() (*model.Model, error){
		func() (*model.Model, error) { return OpenAssembled(c) },
		func() (*model.Model, error) { return OpenAssembled(Components{Model: single}) },
		func() (*model.Model, error) { return OpenBytesAssembled(data, c) },
		func() (*model.Model, error) { return OpenBytesAssembled(data, Components{Model: single}) },
	} {
		m, err := read()
		require.NoError(t, err)
		require.Equal(t, want.Config, m.Config)
		require.Len(t, m.Tensors, len(want.Tensors))
		require.NoError(t, m.Close())
	}
	_, err = OpenAssembled(Components{Model: filepath.Join(t.TempDir(), "none"), VAE: single})
	require.ErrorContains(t, err, "none: "+noFile)
	_, err = OpenAssembled(Components{VAE: single})
	require.ErrorIs(t, err, model.ErrUnrecognized)
}

// A diffusers folder may lack what another file brings.
func TestAssembleIncompleteFolder(t *testing.T) {
	for folder, c := range map[string]Components{"vae": {VAE: "x"}, "text_encoder": {CLIPL: "x"}, "unet": {UNet: "x"}} {
		dir, single := fixture.Folder(t, nil)
		want := open(t, single)
		require.NoError(t, os.RemoveAll(filepath.Join(dir, folder)))
		_, err := Open(dir)
		require.ErrorContains(t, err, folder+": ")
		require.ErrorContains(t, err, " FILE adds them while drawing")
		for _, at := range []*string{&c.VAE, &c.CLIPL, &c.UNet} {
			if *at != "" {
				*at = single
			}
		}
		c.Model = dir
		m, err := OpenAssembled(c)
		require.NoError(t, err, folder)
		require.Len(t, m.Tensors, len(want.Tensors))
		require.NoError(t, m.Close())
	}
}

// byName writes tensors of some names, all of one small shape.
func byName(t *testing.T, names ...string) string {
	var all []safetensors.Tensor
	for _, name := range names {
		all = append(all, fixture.Fill([]family.Weight{{Name: name, Shape: []int64{3, 64}}}, "F16")...)
	}
	return fixture.SaveNew(t, nil, all)
}

// FLUX.1 and Stable Diffusion 3 of their parts, in whatever layout these are.
func TestAssembleTransformers(t *testing.T) {
	flux := byName(t, "double_blocks.0.img_attn.qkv.weight", "img_in.weight")
	whole := byName(t, model.UNetPrefix+"double_blocks.0.img_attn.qkv.weight", model.UNetPrefix+"img_in.weight", model.VAEPrefix+"decoder.conv_in.weight")
	sd3 := byName(t, model.UNetPrefix+"joint_blocks.0.context_block.attn.qkv.weight")
	clip := byName(t, "text_model.encoder.layers.0.self_attn.q_proj.weight")
	newer := byName(t, "encoder.layers.0.self_attn.q_proj.weight", "embeddings.token_embedding.weight")
	open := byName(t, "transformer.resblocks.0.attn.in_proj_weight", "visual.proj")
	both := byName(t, "text_model.encoder.layers.0.self_attn.q_proj.weight", "vision_model.encoder.layers.0.self_attn.q_proj.weight", "visual_projection.weight", "logit_scale")
	siglip := byName(t, "text_model.encoder.layers.0.self_attn.q_proj.weight", "text_model.head.weight")
	vision := byName(t, "vision_model.encoder.layers.0.self_attn.q_proj.weight", "vision_model.embeddings.class_embedding")
	t5 := byName(t, "shared.weight", "encoder.block.0.layer.0.SelfAttention.q.weight")
	vae := byName(t, "decoder.up.0.block.0.conv1.weight", "decoder.conv_in.weight")
	theirs := byName(t, "decoder.up_blocks.0.resnets.0.conv1.weight", "decoder.conv_in.weight")
	const qkv = model.UNetPrefix + "double_blocks.0.img_attn.qkv.weight"
	for _, c := range []struct {
		s    Components
		arch string
		want string
	}{
		{Components{UNet: flux, CLIPL: clip, T5: t5, VAE: vae}, family.Flux, model.CLIPLPrefix + "text_model.encoder.layers.0.self_attn.q_proj.weight " +
			model.T5Prefix + "encoder.block.0.layer.0.SelfAttention.q.weight " + model.T5Prefix + "shared.weight " + qkv + " " + model.UNetPrefix + "img_in.weight " +
			model.VAEPrefix + "decoder.conv_in.weight " + model.VAEPrefix + "decoder.up.0.block.0.conv1.weight"},
		{Components{Model: flux, VAE: theirs, CLIPL: newer}, family.Flux, model.CLIPLPrefix + "text_model.embeddings.token_embedding.weight " +
			model.CLIPLPrefix + "text_model.encoder.layers.0.self_attn.q_proj.weight " + qkv + " " + model.UNetPrefix + "img_in.weight " +
			model.VAEPrefix + "decoder.conv_in.weight " + model.VAEPrefix + "decoder.up.0.block.0.conv1.weight"},
		{Components{Model: flux, CLIPL: both}, family.Flux, model.CLIPLPrefix + "text_model.encoder.layers.0.self_attn.q_proj.weight " + qkv + " " + model.UNetPrefix + "img_in.weight"},
		{Components{Model: flux, CLIPL: siglip}, "", "a SigLIP text encoder; expected a CLIP text encoder"},
		{Components{Model: flux, CLIPL: vision}, "", "a CLIP image encoder"},
		{Components{Model: whole, VAE: vae}, family.Flux, qkv + " " + model.UNetPrefix + "img_in.weight " + model.VAEPrefix + "decoder.conv_in.weight " + model.VAEPrefix + "decoder.up.0.block.0.conv1.weight"},
		{Components{UNet: sd3, CLIPG: open}, family.SD3, model.CLIPGPrefix + "text_model.encoder.layers.0.self_attn.k_proj.weight " + model.CLIPGPrefix + "text_model.encoder.layers.0.self_attn.q_proj.weight " +
			model.CLIPGPrefix + "text_model.encoder.layers.0.self_attn.v_proj.weight " + model.UNetPrefix + "joint_blocks.0.context_block.attn.qkv.weight"},
		{Components{Model: flux, CLIPG: clip}, "", "a model of this family has no such component"},
		{Components{Model: flux, T5: clip}, "", "a CLIP text encoder; expected a T5 text encoder"},
		{Components{Model: t5, VAE: vae}, "", "a T5 text encoder; expected a whole model or a UNet of latent diffusion or a transformer to put components into"},
	} {
		m, err := Assemble(c.s)
		if c.arch == "" {
			require.ErrorContains(t, err, c.want)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, c.arch, m.Family)
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
func TestAssembleIncomplete(t *testing.T) {
	_, single := fixture.Folder(t, nil)
	want := open(t, single)
	var pruned []safetensors.Tensor
	for _, x := range want.Tensors {
		if !strings.HasPrefix(x.Name, model.VAEPrefix) {
			pruned = append(pruned, safetensors.Tensor{Name: x.Name, DType: "F16", Shape: x.Shape, Data: x.Bytes})
		}
	}
	path := fixture.SaveNew(t, want.Metadata, pruned)
	_, err := Load(path)
	require.ErrorContains(t, err, "first_stage_model.decoder.conv_in.weight\" is missing")
	m, err := Assemble(Components{Model: path, VAE: single})
	require.NoError(t, err)
	defer m.Close()
	require.Len(t, m.Tensors, len(want.Tensors))
}

func TestAssembleXL(t *testing.T) {
	want := fixture.TinyXL()
	parts := map[string][]safetensors.Tensor{}
	for _, x := range fixture.Fill(fixture.Weights(want), "F16") {
		for _, p := range []string{model.Text1Prefix, model.Text2Prefix, model.UNetPrefix, model.VAEPrefix} {
			if rest, ok := strings.CutPrefix(x.Name, p); ok {
				x.Name = rest
				parts[p] = append(parts[p], x)
			}
		}
	}
	path := func(prefix string) string { return fixture.SaveNew(t, nil, parts[prefix]) }
	m, err := Assemble(Components{UNet: path(model.UNetPrefix), VAE: path(model.VAEPrefix), CLIPL: path(model.Text1Prefix), CLIPG: path(model.Text2Prefix)})
	require.NoError(t, err)
	defer m.Close()
	fixture.RequireSame(t, want, m)
}

// What was read off the whole model, and its networks alone do not tell, stays:
// here the layer of a text encoder in the original layout, and the tokenizer.
func TestAssembleCarries(t *testing.T) {
	all := append(fixture.Fill(fixture.Weights(fixture.Tiny2()), "F16"), safetensors.Tensor{Name: "cond_stage_model.model.logit_scale", DType: "F16", Data: make([]byte, 2)})
	path := fixture.SaveNew(t, map[string]string{model.KeyMerges: "a b\nc d"}, all)
	require.Equal(t, 2, fixture.Config(open(t, path)).Text.FinalLayer)
	m, err := Assemble(Components{Model: path, VAE: path})
	require.NoError(t, err)
	defer m.Close()
	require.Equal(t, 2, fixture.Config(m).Text.FinalLayer)
	require.Equal(t, []string{"a b", "c d"}, m.Merges)
}
