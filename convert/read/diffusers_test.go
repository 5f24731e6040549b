package read

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/family"
	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/convert/write"
	"github.com/sdgo/sdgo/internal/fixture"
)

func TestOpenDiffusers(t *testing.T) {
	dir, single := fixture.Folder(t, nil)
	got := open(t, dir)
	require.Equal(t, "diffusers", got.Format)
	require.Equal(t, "v", got.Prediction)
	require.Equal(t, []string{"i n", "t h</w>"}, got.Merges)
	require.Equal(t, 64, got.NativeSize)
	fixture.RequireSame(t, open(t, single), got)
}

// The library's older names and files: attention of the autoencoder as
// query/key/value, the level text_model, half-precision variants.
func TestOpenOlderDiffusers(t *testing.T) {
	old := strings.NewReplacer(".to_q.", ".query.", ".to_k.", ".key.", ".to_v.", ".value.", ".to_out.0.", ".proj_attn.")
	dir, single := fixture.Folder(t, func(part string, all []safetensors.Tensor) []safetensors.Tensor {
		for i := range all {
			switch part {
			case "vae":
				all[i].Name = old.Replace(all[i].Name)
			case "text_encoder":
				all[i].Name = "text_model." + all[i].Name
			}
		}
		if part == "text_encoder" {
			all = append(all, safetensors.Tensor{Name: "text_model.embeddings.position_ids", DType: "I64", Shape: []int64{1, 1}, Data: make([]byte, 8)})
		}
		return all
	})
	for _, name := range []string{"unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model"} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.Rename(path+".safetensors", path+".fp16.safetensors"))
	}
	fixture.RequireSame(t, open(t, single), open(t, dir))
}

func TestShards(t *testing.T) {
	dir, single := fixture.Shards(t, nil)
	fixture.RequireSame(t, open(t, single), open(t, dir))
	for _, c := range []struct {
		edit func(index map[string]string)
		want string
	}{
		{func(x map[string]string) { x["conv_in.bias"] = "../../secret.safetensors" }, `puts "conv_in.bias" into "../../secret.safetensors"; it must be a .safetensors file in the same folder`},
		{func(x map[string]string) { x["conv_in.bias"] = "/etc/passwd" }, "must be a .safetensors file in the same folder"},
		{func(x map[string]string) { x["conv_in.bias"] = "diffusion_pytorch_model-00000.safetensors" }, `the folder lacks 1 of its 3 files, such as "diffusion_pytorch_model-00000.safetensors"`},
		{func(x map[string]string) { delete(x, "conv_in.bias") }, `holds "conv_in.bias", which`},
		{func(x map[string]string) { x["more.bias"] = x["conv_in.bias"] }, "names 387 tensors, its files hold 386"},
	} {
		dir, _ := fixture.Shards(t, c.edit)
		_, err := Open(dir)
		require.ErrorContains(t, err, c.want)
	}
}

// Other variants, shards as PyTorch's own files, and the folder of one part.
func TestFolderVariants(t *testing.T) {
	dir, single := fixture.Folder(t, nil)
	want := open(t, single)
	unet := filepath.Join(dir, "unet", "diffusion_pytorch_model")
	require.NoError(t, os.Rename(unet+".safetensors", unet+".non_ema.safetensors"))
	fixture.RequireSame(t, want, open(t, dir))
	part, err := Load(filepath.Join(dir, "unet"))
	require.NoError(t, err)
	require.Equal(t, family.UNet, part.Family)
	require.NoError(t, part.Close())
	m, err := Assemble(Components{Model: single, VAE: filepath.Join(dir, "vae"), CLIPL: filepath.Join(dir, "text_encoder")})
	require.NoError(t, err)
	require.NoError(t, m.Close())
	// Two of them, and none is more natural than the other.
	text, err := os.ReadFile(unet + ".non_ema.safetensors")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(unet+".bf16.safetensors", text, 0o666))
	_, err = Open(dir)
	require.ErrorContains(t, err, "unet: neither diffusion_pytorch_model.safetensors nor")
	require.NoError(t, os.WriteFile(unet+".fp16.safetensors", text, 0o666))
	fixture.RequireSame(t, want, open(t, dir))
}

// FLUX.1 as a folder, its second text encoder in shards: names of the original
// layout with a prefix for each part.
func TestFolderOfATransformer(t *testing.T) {
	dir := t.TempDir()
	put := func(path string, names ...string) {
		var all []safetensors.Tensor
		for _, name := range names {
			all = append(all, fixture.Fill([]family.Weight{{Name: name, Shape: []int64{2, 64}}}, "BF16")...)
		}
		fixture.Save(t, filepath.Join(dir, path), nil, all)
	}
	b := "transformer_blocks.0.attn."
	put("transformer/diffusion_pytorch_model.safetensors", b+"add_q_proj.weight", b+"add_k_proj.weight", b+"add_v_proj.weight", b+"to_q.weight", b+"to_k.weight", b+"to_v.weight",
		"single_transformer_blocks.0.attn.to_q.weight", "single_transformer_blocks.0.attn.to_k.weight", "single_transformer_blocks.0.attn.to_v.weight", "single_transformer_blocks.0.proj_mlp.weight",
		"norm_out.linear.weight")
	put("text_encoder/model.safetensors", "text_model.encoder.layers.0.self_attn.q_proj.weight")
	put("text_encoder_2/model-00001-of-00002.safetensors", "shared.weight")
	put("text_encoder_2/model-00002-of-00002.safetensors", "encoder.block.0.layer.0.SelfAttention.q.weight")
	put("vae/diffusion_pytorch_model.safetensors", "decoder.up_blocks.0.resnets.0.conv1.weight")
	fixture.WriteJSON(t, dir, "text_encoder_2/model.safetensors.index.json", map[string]any{"weight_map": map[string]string{
		"shared.weight": "model-00001-of-00002.safetensors", "encoder.block.0.layer.0.SelfAttention.q.weight": "model-00002-of-00002.safetensors"}})
	class := []string{"a", "b"}
	fixture.WriteJSON(t, dir, "model_index.json", map[string]any{"transformer": class, "text_encoder": class, "text_encoder_2": class, "vae": class, "scheduler": class})
	m, err := Load(dir)
	require.NoError(t, err)
	t.Cleanup(func() { m.Close() })
	require.Equal(t, family.Flux, m.Family)
	require.Equal(t, []string{"text encoder", "T5 text encoder", "transformer", "VAE decoder"}, names(family.Parts(m)))
	for name, rows := range map[string]int64{
		model.UNetPrefix + "double_blocks.0.img_attn.qkv.weight": 6, model.UNetPrefix + "double_blocks.0.txt_attn.qkv.weight": 6, model.UNetPrefix + "single_blocks.0.linear1.weight": 8,
		model.UNetPrefix + "final_layer.adaLN_modulation.1.weight": 2, model.CLIPLPrefix + "text_model.encoder.layers.0.self_attn.q_proj.weight": 2,
		model.T5Prefix + "shared.weight": 2, model.T5Prefix + "encoder.block.0.layer.0.SelfAttention.q.weight": 2, model.VAEPrefix + "decoder.up.0.block.0.conv1.weight": 2,
	} {
		x, ok := m.Tensor(name)
		require.True(t, ok, name)
		require.Equal(t, []int64{rows, 64}, x.Shape, name)
	}
	out := filepath.Join(t.TempDir(), "out")
	require.NoError(t, write.Convert(t.Context(), m, out, write.Options{Type: dtype.F32}))
	again, err := Load(out)
	require.NoError(t, err)
	require.Equal(t, m.Properties, again.Properties)
	_, err = write.Compare(t.Context(), m, again, out)
	require.NoError(t, err)
	require.NoError(t, again.Close())

	// A layer in pieces that lacks one is no layer.
	require.NoError(t, m.Close())
	put("transformer/diffusion_pytorch_model.safetensors", b+"add_q_proj.weight", b+"add_k_proj.weight", "single_transformer_blocks.0.attn.to_q.weight")
	_, err = Load(dir)
	require.ErrorContains(t, err, `piece 3 of 3 of tensor "double_blocks.0.txt_attn.qkv.weight" is missing`)
}

func TestDiffusersErrors(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(dir string) error
		want string
	}{
		{"no index", func(dir string) error { return os.Remove(filepath.Join(dir, "model_index.json")) }, "a folder that is no diffusers model"},
		{"no unet", func(dir string) error { return os.RemoveAll(filepath.Join(dir, "unet")) },
			"unet: neither diffusion_pytorch_model.safetensors nor a variant of it, an index of its shards or a .bin is there"},
		{"bad index", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "model_index.json"), []byte("{"), 0o666)
		}, "model_index.json: unexpected end of JSON"},
		{"prediction", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "scheduler/scheduler_config.json"), []byte(`{"prediction_type":"flow_prediction"}`), 0o666)
		}, `scheduler/scheduler_config.json: prediction_type must be epsilon, v_prediction or sample, got "flow_prediction"`},
		{"activation", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "text_encoder/config.json"), []byte(`{"hidden_act":"relu"}`), 0o666)
		}, `the activation must be quick_gelu or gelu, got "relu"`},
		{"heads", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "unet/config.json"), []byte(`{"attention_head_dim":[1,2]}`), 0o666)
		}, "heads must be a number from 1 to 1024 for each of 3 levels"},
		{"heads beyond what files may say", func(dir string) error { // else a converted file could not be read
			return os.WriteFile(filepath.Join(dir, "unet/config.json"), []byte(`{"attention_head_dim":[4096,4096,4096]}`), 0o666)
		}, "heads must be a number from 1 to 1024"},
		{"heads that do not fit", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "unet/config.json"), []byte(`{"attention_head_dim":[3,5,7]}`), 0o666)
		}, "heads 3 5 7"},
		{"xl", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "model_index.json"), []byte(`{"unet":[],"text_encoder_2":[]}`), 0o666)
		}, "text_encoder_2: neither model.safetensors"},
		{"nothing", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "model_index.json"), []byte(`{"unet":[null,null]}`), 0o666)
		}, "names neither a unet nor a transformer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, _ := fixture.Folder(t, nil)
			require.NoError(t, c.do(dir))
			_, err := Open(dir)
			require.ErrorContains(t, err, c.want)
			require.True(t, strings.HasPrefix(err.Error(), dir+": "), err)
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

// Folders that the components in model_index.json tell apart, as the library
// wrote them: what they are, and that their configuration files were read.
func TestRealFolders(t *testing.T) {
	for folder, want := range map[string]string{"nets/sd1-diffusers": family.SD1, "xl/base-diffusers": family.SDXL} {
		m := open(t, fixture.Testdata(t, folder))
		require.Equal(t, want, m.Family)
		require.Equal(t, 64, m.NativeSize)
		require.Equal(t, "epsilon", m.Prediction)
		require.NotEmpty(t, m.Merges)
		c := fixture.Config(m)
		require.Equal(t, want, c.Name)
		require.Equal(t, want == family.SDXL, c.Text2.Layers > 0)
		require.Equal(t, c.UNet.ContextDim, c.Text.Width+c.Text2.Width)
	}
}
