package read

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/internal/fixture"
)

// noFile is what the system says of a file that is not there.
var noFile = syscall.ENOENT.Error()

// What is wrong with a file that is not a model at all.
func TestNoModel(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o666))
		return path
	}
	header := func(n uint64, rest string) string { return string(binary.LittleEndian.AppendUint64(nil, n)) + rest }
	for _, c := range []struct{ path, want string }{
		{filepath.Join(dir, "nothing.safetensors"), noFile},
		{dir, "a folder that is no diffusers model: "},
		{os.DevNull, "not a regular file"},
		{write("empty.safetensors", ""), "an empty file: the download did not work"},
		{write("text.safetensors", "Dear reader,\nthis is a letter and no weights.\n"), "a text file, which begins with \"Dear reader,\""},
		{write("page.safetensors", "<!DOCTYPE html><html>"), "an HTML page: "},
		{write("long.safetensors", header(1000, "{}")), "a header of 1000 bytes in a file of 10: the file is cut off"},
		{write("huge.safetensors", header(1<<63, "{}")), "the header must be at most 100000000 bytes, got 9223372036854775808"},
		{write("none.safetensors", header(2, "{}")), "a file without tensors: not a supported model"},
		{write("short.gguf", "GGUF\x03\x00"), "gguf: the file is cut off within its header"},
	} {
		_, err := Open(c.path)
		require.ErrorContains(t, err, c.want)
		require.True(t, strings.HasPrefix(err.Error(), c.path+": "), err)
		require.Equal(t, 1, strings.Count(err.Error(), c.path), err)
		require.NotContains(t, err.Error(), "\n")
	}
}

// What is wrong with the tensors of a model.
func TestWrongTensors(t *testing.T) {
	const key = model.UNetPrefix + "middle_block.1.transformer_blocks.0.attn2.to_k.weight"
	zeros := func(name, typ string, shape ...int64) safetensors.Tensor {
		word, _ := model.TypeOf(typ)
		n := word.BlockBytes()
		for _, d := range shape {
			n *= d
		}
		return safetensors.Tensor{Name: name, DType: typ, Shape: shape, Data: make([]byte, n)}
	}
	at := func(all []safetensors.Tensor, name string) int {
		return slices.IndexFunc(all, func(x safetensors.Tensor) bool { return x.Name == name })
	}
	without := func(prefix string) func(all []safetensors.Tensor) []safetensors.Tensor {
		return func(all []safetensors.Tensor) []safetensors.Tensor {
			return slices.DeleteFunc(all, func(x safetensors.Tensor) bool { return strings.HasPrefix(x.Name, prefix) })
		}
	}
	replace := func(x safetensors.Tensor) func(all []safetensors.Tensor) []safetensors.Tensor {
		return func(all []safetensors.Tensor) []safetensors.Tensor {
			all[at(all, x.Name)] = x
			return all
		}
	}
	add := func(x safetensors.Tensor) func(all []safetensors.Tensor) []safetensors.Tensor {
		return func(all []safetensors.Tensor) []safetensors.Tensor { return append(all, x) }
	}
	for _, c := range []struct {
		name string
		edit func(all []safetensors.Tensor) []safetensors.Tensor
		want string
	}{
		{"missing", without(key), `tensor "` + key + `" of shape [64 64] is missing`},
		{"no VAE", without(model.VAEPrefix), `no autoencoder (VAE) is in the file: tensor "first_stage_model.decoder.conv_in.weight" is missing; --vae FILE adds one`},
		{"no text encoder", without(model.TextPrefix), "a UNet of latent diffusion: not a supported model without its text encoder (--clip-l FILE); these flags"},
		{"no UNet", without(model.UNetPrefix), "a CLIP text encoder: not a supported model"},
		{"surplus in a part", add(zeros(model.UNetPrefix+"input_blocks.7.0.op.weight", "F16", 2)), "1 tensors are surplus"},
		{"shape", replace(zeros(key, "F16", 64, 63)), `must have the shape [64 64], got [64 63]`},
		{"order of the shape", replace(zeros(model.UNetPrefix+"time_embed.0.weight", "F16", 32, 128)), `must have the shape [128 32], got [32 128]`},
		{"integers", replace(zeros(key, "I32", 64, 64)), "must be of type f32, f16, bf16, f64 or a quantized one, got I32"},
		{"empty", replace(zeros(key, "F16", 0, 64)), "none of them 0, got the shape [0 64]"},
		{"scalar", replace(zeros(key, "F16")), "one to four dimensions"},
		{"twice", add(zeros("cond_stage_model.transformer.encoder.layers.0.layer_norm1.weight", "F16", 64)), "and another one are both"},
		{"widths", replace(zeros(model.UNetPrefix+"input_blocks.3.0.in_layers.2.weight", "F16", 65, 32, 3, 3)), "must have a multiple of the first level's 32 channels, got 65"},
		{"context", replace(zeros(model.UNetPrefix+"input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight", "F16", 32, 65)), "a text encoder of width 64 does not fit a UNet that needs 65"},
		{"schedule", add(zeros("alphas_cumprod", "F32", 5)), "must have numbers that fall from 1 to 0, element 0 is 0"},
		{"schedule's shape", add(zeros("alphas_cumprod", "F16", 5, 5)), "must be 2 to 65536 numbers of type f32, f64, f16 or bf16, got f16 of shape [5 5]"},
		{"channels", replace(zeros(model.UNetPrefix+"input_blocks.0.0.weight", "F16", 32, 7, 3, 3)), "a UNet with 7 input and 4 output channels"},
		{"classes", add(zeros(model.UNetPrefix+"label_emb.0.0.weight", "F16", 4, 4)), "tensor \"model.diffusion_model.label_emb.0.0.weight\" must have the shape [128 4], got [4 4]"},
		{"another text encoder", add(zeros("conditioner.embedders.0.transformer.text_model.x", "F16", 4)), "tensors are surplus"},
		{"lora", func([]safetensors.Tensor) []safetensors.Tensor {
			return []safetensors.Tensor{zeros("lora_unet_mid_block.lora_up.weight", "F16", 4, 4)}
		}, "a LoRA"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := fixture.SaveNew(t, nil, c.edit(fixture.Fill(fixture.Weights(fixture.Tiny()), "F16")))
			_, err := Open(path)
			require.ErrorContains(t, err, c.want)
			require.True(t, strings.HasPrefix(err.Error(), path+": "), err)
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestWrongMetadata(t *testing.T) {
	for _, c := range []struct{ key, value, want string }{
		{"sdgo.unet.heads", "0", `sdgo.unet.heads must be a number from 1 to 1024, got "0"`},
		{"sdgo.unet.heads", "NaN", "a number from"},
		{"sdgo.vae.scale_factor", "-1", "a number from"},
		{"sdgo.native_size", "1e300", "a number from"},
		{"sdgo.guidance", "-1", "to 1000, got \"-1\""},
		{"sdgo.text.final_layer", "3", "a number from 1 to 2, got \"3\""},
		{"sdgo.prediction", "x0", "must be epsilon, v or sample, got \"x0\""},
		{"sdgo.text.activation", "relu", "must be quick_gelu or gelu, got \"relu\""},
	} {
		_, err := Open(fixture.SaveNew(t, map[string]string{c.key: c.value}, fixture.Fill(fixture.Weights(fixture.Tiny()), "F16")))
		require.ErrorContains(t, err, c.want)
	}
}

// The same model in OpenCLIP's layout, as Stable Diffusion 2's original files
// have it: fused projections, and the last layer, which is not used.
func TestOpenCLIP(t *testing.T) {
	want := fixture.Tiny2()
	fixture.Config(want).Text.Layers, fixture.Config(want).Text.FinalLayer = 3, 2
	all := fixture.Fill(fixture.Weights(want), "F16")
	var theirs []safetensors.Tensor
	fused := map[string]*safetensors.Tensor{}
	rename := strings.NewReplacer("embeddings.token_embedding.weight", "token_embedding.weight", "embeddings.position_embedding.weight",
		"positional_embedding", "final_layer_norm", "ln_final", "encoder.layers", "transformer.resblocks", "layer_norm1", "ln_1",
		"layer_norm2", "ln_2", "mlp.fc1", "mlp.c_fc", "mlp.fc2", "mlp.c_proj", "self_attn.out_proj", "attn.out_proj",
		"self_attn.q_proj.", "attn.in_proj_", "self_attn.k_proj.", "attn.in_proj_", "self_attn.v_proj.", "attn.in_proj_")
	for _, third := range []string{"q_proj", "k_proj", "v_proj"} {
		for _, x := range all {
			name, ok := strings.CutPrefix(x.Name, model.TextPrefix+"text_model.")
			if !ok || !strings.Contains(x.Name, third) {
				continue
			}
			name = "cond_stage_model.model." + rename.Replace(name)
			if fused[name] == nil {
				fused[name] = &safetensors.Tensor{Name: name, DType: x.DType, Shape: slices.Clone(x.Shape)}
				fused[name].Shape[0] *= 3
			}
			fused[name].Data = append(fused[name].Data, x.Data...)
		}
	}
	for _, x := range fused {
		theirs = append(theirs, *x)
	}
	for _, x := range all {
		if name, ok := strings.CutPrefix(x.Name, model.TextPrefix+"text_model."); ok {
			x.Name = "cond_stage_model.model." + rename.Replace(name)
		}
		if !strings.Contains(x.Name, "in_proj_") {
			theirs = append(theirs, x)
		}
	}
	theirs = append(theirs, safetensors.Tensor{Name: "cond_stage_model.model.logit_scale", DType: "F16", Data: make([]byte, 2)},
		safetensors.Tensor{Name: "cond_stage_model.model.text_projection", DType: "F16", Shape: []int64{1, 1}, Data: make([]byte, 2)})
	got := open(t, fixture.SaveNew(t, nil, theirs))
	for _, x := range all {
		want.Tensors = append(want.Tensors, stored(x.Name, x.DType, x.Shape, x.Data).Tensor)
	}
	fixture.RequireSame(t, want, got)
}
