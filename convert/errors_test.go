package convert

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/internal/allocation"
	"github.com/sdgo/sdgo/internal/mutate"
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
		{os.DevNull, "no regular file"},
		{write("empty.safetensors", ""), "a file of 0 bytes"},
		{write("text.safetensors", "Dear reader,\nthis is a letter and no weights.\n"), "this is no safetensors file or a damaged one"},
		{write("page.safetensors", "<!DOCTYPE html><html>"), "this is no safetensors file or a damaged one"},
		{write("long.safetensors", header(1000, "{}")), "a header of 1000 bytes in a file of 10: the file is cut off"},
		{write("huge.safetensors", header(1<<63, "{}")), "a header of 9223372036854775808 bytes, at most 100000000 are allowed"},
		{write("none.safetensors", header(2, "{}")), "a file without tensors: not a model"},
		{write("short.gguf", "GGUF\x03\x00"), "gguf: the file ends within its header"},
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
	const key = UNetPrefix + "middle_block.1.transformer_blocks.0.attn2.to_k.weight"
	zeros := func(name, typ string, shape ...int64) safetensors.Tensor {
		n := types[typ].BlockBytes()
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
		{"missing", without(key), `tensor "` + key + `" is missing; one of shape [64 64] is wanted`},
		{"no VAE", without(VAEPrefix), `tensor "first_stage_model.decoder.conv_in.weight" is missing`},
		{"no text encoder", without(TextPrefix), "a UNet of latent diffusion: not a model that is supported"},
		{"no UNet", without(UNetPrefix), "a CLIP text encoder: not a model that is supported"},
		{"surplus in a part", add(zeros(UNetPrefix+"input_blocks.7.0.op.weight", "F16", 2)), "1 tensors are surplus"},
		{"surplus", add(zeros("something.else", "F16", 2)), `1 of 369 tensors belong to no part of the model: ["something.else"]`},
		{"shape", replace(zeros(key, "F16", 64, 63)), `has the shape [64 63]; [64 64] is wanted`},
		{"order of the shape", replace(zeros(UNetPrefix+"time_embed.0.weight", "F16", 32, 128)), `has the shape [32 128]; [128 32] is wanted`},
		{"integers", replace(zeros(key, "I32", 64, 64)), "is of type I32; f32, f16, bf16, f64 or a quantized type is wanted"},
		{"empty", replace(zeros(key, "F16", 0, 64)), "none of them 0, are wanted"},
		{"scalar", replace(zeros(key, "F16")), "one to four dimensions"},
		{"twice", add(zeros("cond_stage_model.transformer.encoder.layers.0.layer_norm1.weight", "F16", 64)), "and another one are both"},
		{"widths", replace(zeros(UNetPrefix+"input_blocks.3.0.in_layers.2.weight", "F16", 65, 32, 3, 3)), "65 channels, a multiple of the first level's 32 is wanted"},
		{"context", replace(zeros(UNetPrefix+"input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight", "F16", 32, 65)), "a text encoder of width 64 and a UNet that wants 65"},
		{"schedule", add(zeros("alphas_cumprod", "F32", 5)), "element 0 is 0; numbers that fall from 1 to 0 are wanted"},
		{"schedule's type", add(zeros("alphas_cumprod", "F16", 5)), "1000 f32 numbers are wanted"},
		{"channels", replace(zeros(UNetPrefix+"input_blocks.0.0.weight", "F16", 32, 7, 3, 3)), "a UNet with 7 input and 4 output channels"},
		{"classes", add(zeros(UNetPrefix+"label_emb.0.0.weight", "F16", 4, 4)), "tensor \"model.diffusion_model.label_emb.0.0.weight\" has the shape [4 4]; [128 4] is wanted"},
		{"another text encoder", add(zeros("conditioner.embedders.0.transformer.text_model.x", "F16", 4)), "tensors are surplus"},
		{"lora", func([]safetensors.Tensor) []safetensors.Tensor {
			return []safetensors.Tensor{zeros("lora_unet_mid_block.lora_up.weight", "F16", 4, 4)}
		}, "a LoRA"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := save(t, filepath.Join(t.TempDir(), "x"), nil, c.edit(fill(allWeights(tiny()), "F16")))
			_, err := Open(path)
			require.ErrorContains(t, err, c.want)
			require.True(t, strings.HasPrefix(err.Error(), path+": "), err)
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestWrongMetadata(t *testing.T) {
	for _, c := range []struct{ key, value, want string }{
		{keyUNetHeads, "0", `sdgo.unet.heads: "0", a number from 1 to 1024 wanted`},
		{keyUNetHeads, "NaN", "a number from"},
		{keyScaleFactor, "-1", "a number from"},
		{keyNativeSize, "1e300", "a number from"},
		{keyGuidance, "-1", "to 1000 wanted"},
		{keyTextFinal, "3", "a number from 1 to 2 wanted"},
		{keyPrediction, "x0", "epsilon and v are"},
		{keyTextActivation, "relu", "quick_gelu and gelu are"},
	} {
		_, err := Open(save(t, filepath.Join(t.TempDir(), "x"), map[string]string{c.key: c.value}, fill(allWeights(tiny()), "F16")))
		require.ErrorContains(t, err, c.want)
	}
}

// The same model in OpenCLIP's layout, as Stable Diffusion 2's original files
// have it: fused projections, and the last layer, which is not used.
func TestOpenCLIP(t *testing.T) {
	want := tiny2()
	want.Text.Layers, want.Text.FinalLayer = 3, 2
	all := fill(allWeights(want), "F16")
	var theirs []safetensors.Tensor
	fused := map[string]*safetensors.Tensor{}
	rename := strings.NewReplacer("embeddings.token_embedding.weight", "token_embedding.weight", "embeddings.position_embedding.weight",
		"positional_embedding", "final_layer_norm", "ln_final", "encoder.layers", "transformer.resblocks", "layer_norm1", "ln_1",
		"layer_norm2", "ln_2", "mlp.fc1", "mlp.c_fc", "mlp.fc2", "mlp.c_proj", "self_attn.out_proj", "attn.out_proj",
		"self_attn.q_proj.", "attn.in_proj_", "self_attn.k_proj.", "attn.in_proj_", "self_attn.v_proj.", "attn.in_proj_")
	for _, third := range []string{"q_proj", "k_proj", "v_proj"} {
		for _, x := range all {
			name, ok := strings.CutPrefix(x.Name, TextPrefix+"text_model.")
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
		if name, ok := strings.CutPrefix(x.Name, TextPrefix+"text_model."); ok {
			x.Name = "cond_stage_model.model." + rename.Replace(name)
		}
		if !strings.Contains(x.Name, "in_proj_") {
			theirs = append(theirs, x)
		}
	}
	theirs = append(theirs, safetensors.Tensor{Name: "cond_stage_model.model.logit_scale", DType: "F16", Data: make([]byte, 2)},
		safetensors.Tensor{Name: "cond_stage_model.model.text_projection", DType: "F16", Shape: []int64{1, 1}, Data: make([]byte, 2)})
	got := open(t, save(t, filepath.Join(t.TempDir(), "x"), nil, theirs))
	for _, x := range all {
		want.Tensors = append(want.Tensors, Tensor{Name: x.Name, Type: types[x.DType], Shape: x.Shape, Bytes: x.Data})
	}
	requireSame(t, want, got)
}

// No file of a few bytes may cost much or do harm.
func FuzzOpen(f *testing.F) {
	lora := mutate.Small()
	lora.Tensors[0].Name, lora.Tensors[1].Name, lora.Tensors[2].Name = "lora_unet_a.lora_up.weight", "lora_unet_a.alpha", "lora_unet_a.lora_down.weight"
	for _, write := range written {
		f.Add(write(lora, mutate.NewScript(nil)))
	}
	f.Add([]byte("PK\x03\x04"))
	f.Fuzz(requireOpen)
}

// Names of every kind of file, in any mixture: whatever is made of them can be
// written, and costs no more than a small multiple of them.
func FuzzNames(f *testing.F) {
	byFile := map[string][]string{}
	for file, all := range published(f) {
		for _, x := range all[:min(len(all), 12)] {
			byFile[file] = append(byFile[file], x.Name)
		}
		for _, x := range all {
			if strings.Contains(x.Name, "locks.0.") && len(byFile[file]) < 60 && !slices.Contains(byFile[file], x.Name) {
				byFile[file] = append(byFile[file], x.Name)
			}
		}
	}
	for _, names := range byFile {
		f.Add(strings.Join(names, "\n"), uint8(6), uint8(64))
	}
	f.Add("lora_unet_down_blocks_0_attentions_0_t"+strings.Repeat("m", 1000)+".lora_up.weight", uint8(4), uint8(4))
	f.Add("lora_unet_a.lora_up.weight", uint8(0), uint8(4))
	f.Add("a.weight\na.scale_weight\na.SCB\na.weight._data\nemb_params", uint8(1), uint8(1))
	f.Fuzz(func(t *testing.T, names string, rows, columns uint8) {
		var all []raw
		for _, name := range strings.Split(names, "\n") {
			shape := []int64{int64(rows), int64(columns)}
			all = append(all, raw{Tensor{Name: name, Type: dtype.F16, Shape: shape, Bytes: make([]byte, 2*int(rows)*int(columns))}, "F16"})
		}
		var m *Model
		var err error
		allocation.Bound(t, len(names), 512, func() {
			m = &Model{Metadata: map[string]string{}}
			err = m.take(slices.Clone(all))
		})
		if err != nil || isDiffusion(m.Arch) {
			return
		}
		if _, err := newPlan(m, Options{Type: dtype.F32}); err != nil {
			t.Fatal(err)
		}
		for _, x := range m.Tensors {
			if err := x.Float32(make([]float32, x.Elements())); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// One tensor of a model replaced by another, and one left out: detection never
// panics, and what it accepts can be written.
func FuzzDetect(f *testing.F) {
	m := smallest()
	m.UNet.HeadDim, m.UNet.LinearProjection, m.Text.Activation = 1, true, "gelu"
	all := append(allWeights(m), Weight{scheduleName, []int64{4}})
	f.Add(uint16(0), uint16(1000), all[0].Name, uint8(2), int64(1), int64(64), int64(1), int64(1))
	f.Add(uint16(90), uint16(1), UNetPrefix+"input_blocks.1.0.in_layers.2.weight", uint8(4), int64(0), int64(-1), int64(1<<40), int64(3))
	f.Add(uint16(50), uint16(1), VAEPrefix+"decoder.up.7.block.0.conv1.weight", uint8(1), int64(1<<62), int64(4), int64(0), int64(0))
	f.Fuzz(func(t *testing.T, at, drop uint16, name string, dims uint8, a, b, c, d int64) {
		m := &Model{Metadata: map[string]string{keyUNetHeadList: "1 2 3"}}
		var tensors []raw
		for i, w := range all {
			if i == int(at)%len(all) {
				w = Weight{name, []int64{a, b, c, d}[:dims%5]}
			}
			if i != int(drop) {
				tensors = append(tensors, raw{Tensor: Tensor{Name: w.Name, Shape: slices.Clone(w.Shape)}})
			}
		}
		if m.take(tensors) != nil || !isDiffusion(m.Arch) {
			return
		}
		if _, scheduled := m.index[scheduleName]; scheduled {
			m.Tensors[m.index[scheduleName]].Bytes = make([]byte, 16)
		}
		if m.detect() == nil {
			if _, err := newPlan(m, Options{}); err != nil {
				t.Fatal(err)
			}
		}
	})
}
