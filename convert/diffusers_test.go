package convert

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/safetensors"
)

// pair is a line of names.tsv, which testdata/convert/names.py makes with the
// diffusers library's converters and models.
type pair struct {
	folder, ldm, diffusers string
	shape                  []int64
}

func pairsOf(t testing.TB, which string) (pairs []pair) {
	text, err := os.ReadFile("../testdata/convert/names.tsv")
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		require.Len(t, f, 5)
		if f[0] != which {
			continue
		}
		p := pair{folder: f[1], ldm: f[2], diffusers: f[3]}
		for d := range strings.SplitSeq(f[4], ",") {
			n, err := strconv.ParseInt(d, 10, 64)
			require.NoError(t, err)
			p.shape = append(p.shape, n)
		}
		pairs = append(pairs, p)
	}
	require.NotEmpty(t, pairs)
	return pairs
}

func TestDiffusersNames(t *testing.T) {
	for _, which := range []string{"sd1", "odd", "xl"} {
		byFolder := map[string][]raw{}
		pairs := pairsOf(t, which)
		for _, p := range pairs {
			byFolder[p.folder] = append(byFolder[p.folder], raw{Tensor: Tensor{Name: p.diffusers, Shape: p.shape}})
		}
		rename := map[string]func(string) (string, bool){}
		for _, p := range partsOf(SD1) {
			rename[p.folder] = p.names(byFolder[p.folder])
		}
		seen := map[string]bool{}
		for _, p := range pairs {
			got, ok := rename[p.folder](p.diffusers)
			require.True(t, ok, p.diffusers)
			require.Equal(t, p.ldm, got)
			require.False(t, seen[got])
			seen[got] = true
		}
		for _, stray := range []string{"conv_in", "up_blocks.9.resnets.0.norm1.weight", "nothing.weight", ""} {
			_, ok := rename["unet"](stray)
			require.False(t, ok, stray)
		}
	}
}

// The way back, for the same models.
func TestDiffusersNamesInverse(t *testing.T) {
	sd1 := &Model{Text: TextConfig{Prefix: TextPrefix}, UNet: UNetConfig{ChannelMult: []int{1, 2, 4, 4}, NumResBlocks: 2, TransformerDepth: []int{1, 1, 1, 0}},
		VAE: VAEConfig{ChannelMult: []int{1, 2, 4, 4}, NumResBlocks: 2}}
	xl := &Model{Arch: SDXL, UNet: UNetConfig{ChannelMult: []int{1, 2, 4}, NumResBlocks: 2, TransformerDepth: []int{0, 2, 3}}, VAE: sd1.VAE}
	for which, m := range map[string]*Model{"sd1": sd1, "xl": xl, "odd": &odd} {
		theirs := DiffusersNames(m)
		for _, p := range pairsOf(t, which) {
			folder, name, ok := theirs(p.ldm)
			require.True(t, ok, p.ldm)
			require.Equal(t, p.folder, folder)
			require.Equal(t, p.diffusers, name)
		}
	}
	_, _, ok := DiffusersNames(sd1)("something.else")
	require.False(t, ok)
}

// folder writes the "odd" model of names.tsv as the diffusers library does, and
// as a single file. edit may change either's tensors.
func folder(t *testing.T, edit func(path string, all []safetensors.Tensor) []safetensors.Tensor) (dir, single string) {
	dir = t.TempDir()
	parts := map[string][]safetensors.Tensor{}
	var whole []safetensors.Tensor
	shapes := map[string][]int64{}
	for _, w := range append(append(odd.Text.Weights(), odd.UNet.Weights()...), odd.VAE.Weights()...) {
		shapes[w.Name] = w.Shape
	}
	for _, p := range pairsOf(t, "odd") {
		x := fill([]Weight{{p.ldm, p.shape}}, "F16")[0]
		renamed := x
		renamed.Name = p.diffusers
		x.Shape = shapes[x.Name]
		whole = append(whole, x)
		parts[p.folder] = append(parts[p.folder], renamed)
	}
	for name, all := range parts {
		file := "diffusion_pytorch_model.safetensors"
		if name == "text_encoder" {
			file = "model.safetensors"
		}
		if edit != nil {
			all = edit(name, all)
		}
		if all != nil {
			save(t, filepath.Join(dir, name, file), map[string]string{"format": "pt"}, all)
		}
	}
	writeJSON(t, dir, "model_index.json", map[string]any{"_class_name": "StableDiffusionPipeline", "unet": []string{"diffusers", "UNet2DConditionModel"},
		"text_encoder": []string{"transformers", "CLIPTextModel"}, "vae": []string{"diffusers", "AutoencoderKL"}})
	writeJSON(t, dir, "unet/config.json", map[string]any{"attention_head_dim": []int{2, 4, 6}, "sample_size": 16})
	writeJSON(t, dir, "vae/config.json", map[string]any{"scaling_factor": 0.5})
	writeJSON(t, dir, "text_encoder/config.json", map[string]any{"num_attention_heads": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-6})
	writeJSON(t, dir, "scheduler/scheduler_config.json", map[string]any{"prediction_type": "v_prediction"})
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "tokenizer"), 0o777))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tokenizer", "merges.txt"), []byte("#version: 0.2\ni n\nt h</w>\n"), 0o666))
	single = save(t, filepath.Join(t.TempDir(), "single"), map[string]string{
		keyUNetHeadDim: "32", keyNativeSize: "64", keyScaleFactor: "0.5", keyTextHeads: "2", keyTextActivation: "gelu", keyTextEps: "1e-06",
		keyPrediction: "v", keyMerges: "i n\nt h</w>",
	}, whole)
	return dir, single
}

// odd is what names/main.go calls so.
var odd = Model{
	Text: TextConfig{Prefix: TextPrefix, Vocabulary: 300, ContextLength: 20, Width: 64, FFN: 96, Layers: 1},
	UNet: UNetConfig{InChannels: 4, OutChannels: 4, ModelChannels: 64, ChannelMult: []int{1, 2, 3}, NumResBlocks: 1,
		TransformerDepth: []int{0, 2, 1}, MiddleDepth: 1, ContextDim: 64, HeadDim: 32, LinearProjection: true},
	VAE: VAEConfig{ImageChannels: 3, Channels: 32, ChannelMult: []int{1, 2, 2}, NumResBlocks: 1, ZChannels: 4, EmbedDim: 4,
		QuantConv: true, HasEncoder: true},
}

func writeJSON(t testing.TB, dir, name string, v any) {
	path := filepath.Join(dir, filepath.FromSlash(name))
	text, err := json.Marshal(v)
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
	require.NoError(t, os.WriteFile(path, text, 0o666))
}

func TestOpenDiffusers(t *testing.T) {
	dir, single := folder(t, nil)
	got := open(t, dir)
	require.Equal(t, "diffusers", got.Format)
	require.Equal(t, "v", got.Prediction)
	require.Equal(t, []string{"i n", "t h</w>"}, got.Merges)
	require.Equal(t, 64, got.NativeSize)
	requireSame(t, open(t, single), got)
}

// The library's older names and files: attention of the autoencoder as
// query/key/value, the level text_model, half-precision variants.
func TestOpenOlderDiffusers(t *testing.T) {
	old := strings.NewReplacer(".to_q.", ".query.", ".to_k.", ".key.", ".to_v.", ".value.", ".to_out.0.", ".proj_attn.")
	dir, single := folder(t, func(part string, all []safetensors.Tensor) []safetensors.Tensor {
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
	requireSame(t, open(t, single), open(t, dir))
}

// shard splits the UNet's file in two, with an index that edit may change.
func shard(t *testing.T, edit func(index map[string]string)) (dir, single string) {
	var two [2][]safetensors.Tensor
	dir, single = folder(t, func(part string, all []safetensors.Tensor) []safetensors.Tensor {
		if part == "unet" {
			two = [2][]safetensors.Tensor{all[:len(all)/2], all[len(all)/2:]}
			return nil
		}
		return all
	})
	index := map[string]string{}
	for i, all := range two {
		name := fmt.Sprintf("diffusion_pytorch_model-%05d-of-00002.safetensors", i+1)
		save(t, filepath.Join(dir, "unet", name), nil, all)
		for _, x := range all {
			index[x.Name] = name
		}
	}
	if edit != nil {
		edit(index)
	}
	writeJSON(t, dir, "unet/diffusion_pytorch_model.safetensors.index.json", map[string]any{"metadata": map[string]any{"total_size": 1}, "weight_map": index})
	return dir, single
}

func TestShards(t *testing.T) {
	dir, single := shard(t, nil)
	requireSame(t, open(t, single), open(t, dir))
	for _, c := range []struct {
		edit func(index map[string]string)
		want string
	}{
		{func(x map[string]string) { x["conv_in.bias"] = "../../secret.safetensors" }, `puts "conv_in.bias" into "../../secret.safetensors"; a .safetensors file in the same folder is wanted`},
		{func(x map[string]string) { x["conv_in.bias"] = "/etc/passwd" }, "in the same folder is wanted"},
		{func(x map[string]string) { x["conv_in.bias"] = "diffusion_pytorch_model-00000.safetensors" }, "model-00000.safetensors: " + noFile},
		{func(x map[string]string) { delete(x, "conv_in.bias") }, `holds "conv_in.bias", which`},
		{func(x map[string]string) { x["more.bias"] = x["conv_in.bias"] }, "names 387 tensors, its files hold 386"},
	} {
		dir, _ := shard(t, c.edit)
		_, err := Open(dir)
		require.ErrorContains(t, err, c.want)
	}
}

// Other variants, shards as PyTorch's own files, and the folder of one part.
func TestFolderVariants(t *testing.T) {
	dir, single := folder(t, nil)
	want := open(t, single)
	unet := filepath.Join(dir, "unet", "diffusion_pytorch_model")
	require.NoError(t, os.Rename(unet+".safetensors", unet+".non_ema.safetensors"))
	requireSame(t, want, open(t, dir))
	part, err := Load(filepath.Join(dir, "unet"))
	require.NoError(t, err)
	require.Equal(t, UNet, part.Arch)
	require.NoError(t, part.Close())
	m, err := LoadSources(Sources{Model: single, VAE: filepath.Join(dir, "vae"), ClipL: filepath.Join(dir, "text_encoder")})
	require.NoError(t, err)
	require.NoError(t, m.Close())
	// Two of them, and none is more natural than the other.
	text, err := os.ReadFile(unet + ".non_ema.safetensors")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(unet+".bf16.safetensors", text, 0o666))
	_, err = Open(dir)
	require.ErrorContains(t, err, "unet: neither diffusion_pytorch_model.safetensors nor")
	require.NoError(t, os.WriteFile(unet+".fp16.safetensors", text, 0o666))
	requireSame(t, want, open(t, dir))
}

// FLUX.1 as a folder, its second text encoder in shards: names of the original
// layout behind a prefix for each part.
func TestFolderOfATransformer(t *testing.T) {
	dir := t.TempDir()
	put := func(path string, names ...string) {
		var all []safetensors.Tensor
		for _, name := range names {
			all = append(all, fill([]Weight{{name, []int64{2, 64}}}, "BF16")...)
		}
		save(t, filepath.Join(dir, path), nil, all)
	}
	b := "transformer_blocks.0.attn."
	put("transformer/diffusion_pytorch_model.safetensors", b+"add_q_proj.weight", b+"add_k_proj.weight", b+"add_v_proj.weight", b+"to_q.weight", b+"to_k.weight", b+"to_v.weight",
		"single_transformer_blocks.0.attn.to_q.weight", "single_transformer_blocks.0.attn.to_k.weight", "single_transformer_blocks.0.attn.to_v.weight", "single_transformer_blocks.0.proj_mlp.weight",
		"norm_out.linear.weight")
	put("text_encoder/model.safetensors", "text_model.encoder.layers.0.self_attn.q_proj.weight")
	put("text_encoder_2/model-00001-of-00002.safetensors", "shared.weight")
	put("text_encoder_2/model-00002-of-00002.safetensors", "encoder.block.0.layer.0.SelfAttention.q.weight")
	put("vae/diffusion_pytorch_model.safetensors", "decoder.up_blocks.0.resnets.0.conv1.weight")
	writeJSON(t, dir, "text_encoder_2/model.safetensors.index.json", map[string]any{"weight_map": map[string]string{
		"shared.weight": "model-00001-of-00002.safetensors", "encoder.block.0.layer.0.SelfAttention.q.weight": "model-00002-of-00002.safetensors"}})
	class := []string{"a", "b"}
	writeJSON(t, dir, "model_index.json", map[string]any{"transformer": class, "text_encoder": class, "text_encoder_2": class, "vae": class, "scheduler": class})
	m, err := Load(dir)
	require.NoError(t, err)
	t.Cleanup(func() { m.Close() })
	require.Equal(t, Flux, m.Arch)
	require.Equal(t, []string{"text encoder", "T5 text encoder", "transformer", "VAE decoder"}, names(m.Parts()))
	for name, rows := range map[string]int64{
		UNetPrefix + "double_blocks.0.img_attn.qkv.weight": 6, UNetPrefix + "double_blocks.0.txt_attn.qkv.weight": 6, UNetPrefix + "single_blocks.0.linear1.weight": 8,
		UNetPrefix + "final_layer.adaLN_modulation.1.weight": 2, clipLPrefix + "text_model.encoder.layers.0.self_attn.q_proj.weight": 2,
		t5Prefix + "shared.weight": 2, t5Prefix + "encoder.block.0.layer.0.SelfAttention.q.weight": 2, VAEPrefix + "decoder.up.0.block.0.conv1.weight": 2,
	} {
		x, ok := m.Tensor(name)
		require.True(t, ok, name)
		require.Equal(t, []int64{rows, 64}, x.Shape, name)
	}
	out := filepath.Join(t.TempDir(), "out")
	require.NoError(t, Convert(t.Context(), m, out, Options{Type: dtype.F32}))
	again, err := Load(out)
	require.NoError(t, err)
	require.Equal(t, m.Facts, again.Facts)
	require.NoError(t, again.Close())
	_, err = Verify(t.Context(), m, out)
	require.NoError(t, err)

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
			return os.WriteFile(filepath.Join(dir, "scheduler/scheduler_config.json"), []byte(`{"prediction_type":"sample"}`), 0o666)
		}, `the prediction type "sample" is not supported; epsilon and v are`},
		{"activation", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "text_encoder/config.json"), []byte(`{"hidden_act":"relu"}`), 0o666)
		}, `the activation "relu" is not supported`},
		{"heads", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "unet/config.json"), []byte(`{"attention_head_dim":[1,2]}`), 0o666)
		}, "for 3 levels; a positive number for each is wanted"},
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
			dir, _ := folder(t, nil)
			require.NoError(t, c.do(dir))
			_, err := Open(dir)
			require.ErrorContains(t, err, c.want)
			require.True(t, strings.HasPrefix(err.Error(), dir+": "), err)
			require.NotContains(t, err.Error(), "\n")
		})
	}
}
