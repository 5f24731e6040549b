package sd

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/gguf"
)

// mmprojName is what llama.cpp calls a tensor of the tower.
func mmprojName(name string) string {
	for _, r := range [][2]string{{`^visual\.blocks\.`, "v.blk."}, {`\.norm(\d)\.`, ".ln$1."}, {`attn\.proj`, "attn_out"}, {`mlp\.(\w+)_proj`, "ffn_$1"},
		{`^visual\.merger\.ln_q`, "v.post_ln"}, {`^visual\.merger\.mlp`, "mm"}} {
		name = regexp.MustCompile(r[0]).ReplaceAllString(name, r[1])
	}
	return name
}

// mmprojFile is the tiny tower as llama.cpp's converter writes it: queries, keys and values apart, and the patches' frames.
func mmprojFile(t *testing.T, pattern uint32, change func([]gguf.Tensor) []gguf.Tensor) string {
	t.Helper()
	var all []gguf.Tensor
	for _, x := range towerTensors(t) {
		add := func(name string, shape []int64, data []byte) {
			all = append(all, gguf.Tensor{Name: name, Type: dtype.F32, Shape: shape, Data: data})
		}
		switch name := mmprojName(x.Name); {
		case strings.Contains(name, "attn.qkv"):
			n := len(x.Data) / 3
			for i, part := range []string{"attn_q", "attn_k", "attn_v"} {
				add(strings.Replace(name, "attn.qkv", part, 1), append([]int64{x.Shape[0] / 3}, x.Shape[1:]...), x.Data[i*n:(i+1)*n])
			}
		case strings.HasSuffix(name, "patch_embed.proj.weight"):
			const square = 4 * 14 * 14
			var frames [2][]byte
			for at := 0; at < len(x.Data); at += square {
				frames[at/square%2] = append(frames[at/square%2], x.Data[at:at+square]...)
			}
			add("v.patch_embd.weight", []int64{x.Shape[0], 3, 14, 14}, frames[0])
			add("v.patch_embd.weight.1", []int64{x.Shape[0], 3, 14, 14}, frames[1])
		default:
			add(name, x.Shape, x.Data)
		}
	}
	if change != nil {
		all = change(all)
	}
	layout, err := gguf.NewLayout([]gguf.KV{{Key: "general.architecture", Value: "clip"}, {Key: "clip.projector_type", Value: "qwen2.5vl_merger"},
		{Key: "clip.vision.n_wa_pattern", Value: pattern}, {Key: "clip.vision.patch_size", Value: uint32(14)}}, all)
	require.NoError(t, err)
	file := make([]byte, layout.Size)
	copy(file, layout.Header)
	for i, x := range all {
		copy(file[layout.Offsets[i]:], x.Data)
	}
	path := filepath.Join(t.TempDir(), "mmproj.gguf")
	require.NoError(t, os.WriteFile(path, file, 0o644))
	return path
}

// The tower in a file of its own, in llama.cpp's form and in the authors', and in that of another text encoder, draws the same bits as in
// the text encoder's, and is written into one file.
func TestQwenEditTowerApart(t *testing.T) {
	path, o := qwenEditParts(t, nil, Options{})
	r := Request{Prompt: "a fox", Width: 64, Height: 64, Steps: 1, Seed: 1, Guidance: Float(1), Controls: []RequestControl{{Name: Reference, Image: painted(90, 70)}}}
	draw := func(path string, o Options) *Result {
		t.Helper()
		m, err := Open(path, o)
		require.NoError(t, err)
		defer m.Close()
		result, err := m.Generate(t.Context(), r)
		require.NoError(t, err)
		return result
	}
	want := draw(path, o).Images[0].Image.Pix
	_, apart := qwenImageParts(t, Options{})
	_, err := Open(path, Options{LLM: mmprojFile(t, 8, nil), VAE: o.VAE})
	require.ErrorContains(t, err, "a vision tower of Qwen2.5-VL with llama.cpp's names; expected a Qwen text encoder")
	whole, err := convert.Load(o.LLM)
	require.NoError(t, err)
	require.Contains(t, whole.Description, "with its vision tower")
	require.NoError(t, whole.Close())
	for _, file := range []string{mmprojFile(t, 8, nil), o.LLM} {
		apart.LLMVision = file
		drawn := draw(path, apart)
		require.Equal(t, want, drawn.Images[0].Image.Pix, file)
		require.Equal(t, filepath.Base(file), drawn.Images[0].Params.LLMVision)
	}
	m, err := convert.Assemble(convert.Components{Model: path, VAE: o.VAE, LLM: apart.LLM, LLMVision: mmprojFile(t, 8, nil)})
	require.NoError(t, err)
	one := filepath.Join(t.TempDir(), "one.gguf")
	require.NoError(t, convert.Convert(t.Context(), m, one, convert.Options{Keep: true}))
	require.NoError(t, m.Close())
	require.Equal(t, want, draw(one, Options{}).Images[0].Image.Pix)
	alone := filepath.Join(t.TempDir(), "alone.safetensors")
	tower, err := convert.Load(mmprojFile(t, 8, nil))
	require.NoError(t, err)
	require.Equal(t, convert.QwenVision, tower.Family)
	require.NoError(t, convert.Convert(t.Context(), tower, alone, convert.Options{Keep: true, Safetensors: true}))
	require.NoError(t, tower.Close())
	apart.LLMVision = alone
	require.Equal(t, want, draw(path, apart).Images[0].Image.Pix)
}

// Towers of other models, and files that are broken, are refused by name.
func TestQwenEditTowerRefuses(t *testing.T) {
	path, o := qwenImageParts(t, Options{})
	path = renamedFile(t, path, func(name string) string { return name })
	for want, c := range map[string]struct {
		pattern uint32
		change  func([]gguf.Tensor) []gguf.Tensor
	}{
		"clip.vision.n_wa_pattern must be 8, as in all published Qwen2.5-VL, got \"4\"": {4, nil},
		"\"v.patch_embd.weight.1\" must have the shape [width, 3, 14, 14], as \"v.patch_embd.weight\", got [160 3 7 14]": {8, func(all []gguf.Tensor) []gguf.Tensor {
			i := slices.IndexFunc(all, func(x gguf.Tensor) bool { return x.Name == "v.patch_embd.weight.1" })
			all[i].Shape, all[i].Data = []int64{160, 3, 7, 14}, all[i].Data[:len(all[i].Data)/2]
			return all
		}},
		"\"v.patch_embd.weight.1\" must be floating-point numbers of the type of \"v.patch_embd.weight\", got f16": {8, func(all []gguf.Tensor) []gguf.Tensor {
			i := slices.IndexFunc(all, func(x gguf.Tensor) bool { return x.Name == "v.patch_embd.weight.1" })
			all[i].Type, all[i].Data = dtype.F16, all[i].Data[:len(all[i].Data)/2]
			return all
		}},
		"blocks.3.attn": {8, func(all []gguf.Tensor) []gguf.Tensor {
			return slices.DeleteFunc(all, func(x gguf.Tensor) bool { return x.Name == "v.blk.3.attn_k.weight" })
		}},
	} {
		o.LLMVision = mmprojFile(t, c.pattern, c.change)
		_, err := Open(path, o)
		require.ErrorContains(t, err, want)
	}
	o.LLMVision = o.VAE
	_, err := Open(path, o)
	require.ErrorContains(t, err, "expected a vision tower of Qwen2.5-VL")
	z, zo := zImageParts(t, Options{})
	zo.LLMVision = mmprojFile(t, 8, nil)
	_, err = Open(z, zo)
	require.ErrorContains(t, err, "a vision tower of Qwen2.5-VL: a model of this family has no such component")
}
