package family_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/family"
	"github.com/sdgo/sdgo/convert/layout"
	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/internal/fixture"
)

// The names of a diffusers folder become canonical ones.
func TestDiffusersNames(t *testing.T) {
	f := family.InFolder(func(component string) bool {
		return component == "unet" || component == "vae" || component == "text_encoder"
	})
	require.Equal(t, family.SD1, f.Name)
	for _, which := range []string{"sd1", "odd", "xl"} {
		byFolder := map[string][]model.Stored{}
		pairs := fixture.Pairs(t, which)
		for _, p := range pairs {
			byFolder[p.Folder] = append(byFolder[p.Folder], model.Stored{Tensor: model.Tensor{Name: p.Diffusers, Shape: p.Shape}})
		}
		rename := map[string]layout.Rename{}
		for _, p := range f.Folder.Parts {
			rename[p.Folder] = p.Names(byFolder[p.Folder])
		}
		seen := map[string]bool{}
		for _, p := range pairs {
			got, ok := rename[p.Folder](p.Diffusers)
			require.True(t, ok, p.Diffusers)
			require.Equal(t, p.LDM, got)
			require.False(t, seen[got])
			seen[got] = true
		}
		for _, stray := range []string{"conv_in", "up_blocks.9.resnets.0.norm1.weight", "nothing.weight", ""} {
			_, ok := rename["unet"](stray)
			require.False(t, ok, stray)
		}
	}
}

// And back, for the same models.
func TestDiffusersNamesInverse(t *testing.T) {
	sd1 := &family.StableDiffusion{Text: family.TextConfig{Prefix: model.TextPrefix},
		UNet: family.UNetConfig{ChannelMult: []int{1, 2, 4, 4}, NumResBlocks: 2, TransformerDepth: []int{1, 1, 1, 0}},
		VAE:  family.VAEConfig{ChannelMult: []int{1, 2, 4, 4}, NumResBlocks: 2}}
	xl := &family.StableDiffusion{Name: family.SDXL, UNet: family.UNetConfig{ChannelMult: []int{1, 2, 4}, NumResBlocks: 2, TransformerDepth: []int{0, 2, 3}}, VAE: sd1.VAE}
	for which, c := range map[string]*family.StableDiffusion{"sd1": sd1, "xl": xl, "odd": fixture.Odd()} {
		diffusersName := c.DiffusersNames()
		for _, p := range fixture.Pairs(t, which) {
			folder, name, ok := diffusersName(p.LDM)
			require.True(t, ok, p.LDM)
			require.Equal(t, p.Folder, folder)
			require.Equal(t, p.Diffusers, name)
		}
	}
	_, _, ok := sd1.DiffusersNames()("something.else")
	require.False(t, ok)
}

// Each original tensor of published models knows the pieces that the diffusers
// library has of it: fused.tsv.gz lists them.
func TestPieces(t *testing.T) {
	pieces := map[string]map[string]string{} // by model: the library's names, and the original tensor's
	for _, f := range fixture.Table(t, "fused.tsv.gz") {
		if pieces[f[0]] == nil {
			pieces[f[0]] = map[string]string{}
		}
		pieces[f[0]][f[2]] = f[1]
	}
	for name, originals := range pieces {
		var all []model.Stored
		for piece := range originals {
			all = append(all, model.Stored{Tensor: model.Tensor{Name: piece}})
		}
		levels, blocks, _ := layout.Stages(all, "down")
		_, _, attention := layout.Stages(all, "up")
		back := func(original string) []string { return layout.Pieces(family.SD3Layers, original) }
		switch {
		case strings.HasPrefix(name, "chroma"):
			back = func(original string) []string { return layout.Pieces(family.ChromaLayers, original) }
		case strings.HasPrefix(name, "flux"):
			back = func(original string) []string { return layout.Pieces(family.FluxLayers, original) }
		case strings.HasPrefix(name, "controlnet"):
			back = one(t, layout.Inverse(family.ControlNetModules(levels, blocks)))
		case strings.HasPrefix(name, "unet"):
			back = one(t, layout.Inverse(layout.UNetModules(levels, blocks, attention)))
		}
		found := map[string]bool{}
		for _, original := range originals {
			for _, piece := range back(original) {
				require.Equal(t, original, originals[piece], piece)
				found[piece] = true
			}
		}
		require.Len(t, found, len(originals), name)
	}
}

func one(t *testing.T, rename layout.Rename) func(string) []string {
	return func(original string) []string {
		name, ok := rename(original)
		require.True(t, ok, original)
		return []string{name}
	}
}

// Every family has a name and a way to be recognised, and no two have one name.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range family.All() {
		require.NotEmpty(t, f.Name)
		require.False(t, seen[f.Name], f.Name)
		seen[f.Name] = true
		require.NotEmpty(t, f.Looks, f.Name)
		for _, look := range f.Looks {
			require.NotEmpty(t, look.Description, f.Name)
			require.NotEmpty(t, look.Names, f.Name)
		}
		require.True(t, !f.Runs || f.Read != nil, "%s runs, and has no Read", f.Name)
		require.True(t, !f.Strict || f.Names != nil, "%s is strict, and has no Names", f.Name)
		require.Same(t, f, family.Lookup(f.Name))
	}
}

// The matrices that stay f16 in a quantized file.
func TestIsPrecise(t *testing.T) {
	for _, name := range []string{
		"text_model.embeddings.token_embedding.weight", model.UNetPrefix + "time_embed.0.weight", model.UNetPrefix + "label_emb.0.0.weight",
		model.VAEPrefix + "decoder.mid.attn_1.q.weight", "shared.weight", "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
		"x_embedder.proj.weight", "t_embedder.mlp.0.weight", "y_embedder.mlp.0.weight", "pos_embed", "context_embedder.weight",
		"img_in.weight", "txt_in.weight", "time_in.in_layer.weight", "vector_in.in_layer.weight", "guidance_in.in_layer.weight", "final_layer.linear.weight",
	} {
		require.True(t, family.IsPrecise(name), name)
	}
	for _, name := range []string{"double_blocks.0.img_attn.qkv.weight", "blocks.0.attn.qkv.weight", model.UNetPrefix + "middle_block.1.proj_in.weight", "decoder.mid.attn_1.q.weight"} {
		require.False(t, family.IsPrecise(name), name)
	}
}

// The hyperparameters, under the names of package cgo's networks.
func TestParams(t *testing.T) {
	c := fixture.Config(fixture.Tiny())
	require.Equal(t, map[string][]float64{"vocabulary": {100}, "width": {64}, "heads": {1}, "layers": {2}, "ffn": {128}, "context_length": {77},
		"activation": {0}, "eps": {1e-5}}, c.Text.Params())
	c.Text.Activation = "gelu"
	require.Equal(t, []float64{1}, c.Text.Params()["activation"])
	require.Equal(t, map[string][]float64{"in_channels": {4}, "out_channels": {4}, "model_channels": {32}, "channel_mult": {1, 2}, "num_res_blocks": {1},
		"transformer_depth": {1, 0}, "middle_depth": {1}, "context_dim": {64}, "adm_channels": {0}, "heads": {8}, "head_dim": {0}}, c.UNet.Params())
	require.Equal(t, map[string][]float64{"channels": {32}, "channel_mult": {1, 2}, "num_res_blocks": {1}, "z_channels": {4}, "embed_dim": {4},
		"image_channels": {3}, "quant_conv": {1}}, c.VAE.Params())
	tiny := family.TAESDConfig{Channels: 64, Latent: 4, Decoder: []int{3, 1}, Encoder: []int{1, 2}}
	require.Equal(t, map[string][]float64{"channels": {64}, "latent_channels": {4}, "image_channels": {3}, "blocks": {3, 1}}, tiny.DecoderParams())
	require.Equal(t, []float64{1, 2}, tiny.EncoderParams()["blocks"])
	require.Equal(t, map[string][]float64{"in_channels": {12}, "out_channels": {3}, "features": {64}, "growth": {32}, "blocks": {23}, "doublings": {2}},
		family.ESRGANConfig{Features: 64, Growth: 32, Blocks: 23, Doublings: 2, Fold: 2}.Params())
}
