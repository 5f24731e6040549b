package cli

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/safetensors"
)

// towerFile is a small vision tower of Qwen2.5-VL in a file of its own.
func towerFile(t *testing.T, to string) {
	t.Helper()
	const width, ffn, text = 80, 8, 128
	shapes := map[string][]int64{"patch_embed.proj.weight": {width, 3, 2, 14, 14}, "merger.ln_q.weight": {width}, "merger.mlp.0.weight": {4 * width, 4 * width}, "merger.mlp.0.bias": {4 * width},
		"merger.mlp.2.weight": {text, 4 * width}, "merger.mlp.2.bias": {text}}
	for i := range 8 {
		for name, shape := range map[string][]int64{"norm1": {width}, "norm2": {width}, "attn.qkv": {3 * width, width}, "attn.proj": {width, width},
			"mlp.gate_proj": {ffn, width}, "mlp.up_proj": {ffn, width}, "mlp.down_proj": {width, ffn}} {
			name = fmt.Sprintf("blocks.%d.%s", i, name)
			shapes[name+".weight"] = shape
			if len(shape) > 1 {
				shapes[name+".bias"] = shape[:1]
			}
		}
	}
	var all []safetensors.Tensor
	for name, shape := range shapes {
		n := int64(1)
		for _, d := range shape {
			n *= d
		}
		values := make([]float32, n)
		for i := range values {
			values[i] = float32((i*7919)%2048-1024) / 8192
		}
		data := make([]byte, 2*n)
		require.NoError(t, dtype.Encode(dtype.F16, data, values))
		all = append(all, safetensors.Tensor{Name: "visual." + name, DType: "F16", Shape: shape, Data: data})
	}
	out, err := os.Create(to)
	require.NoError(t, err)
	require.NoError(t, safetensors.Write(out, nil, all))
	require.NoError(t, out.Close())
}

// Qwen-Image-Edit on the command line and the server: the text encoder's tower in a file of its own, which the server finds by itself;
// the pictures of both are the same, and say with what they were drawn. Without the tower, or pictures, it says so.
func TestQwenEditByFlagsAndServer(t *testing.T) {
	const transformers, photo = "../testdata/transformers/", "../testdata/preprocess/photo.png"
	folder := t.TempDir()
	at := func(name string) string { return filepath.Join(folder, name) }
	for _, name := range []string{"diffusion_models", "text_encoders", "vae"} {
		require.NoError(t, os.Mkdir(at(name), 0o755))
	}
	rewrite(t, transformers+"qwenimage.safetensors", at("diffusion_models/edit.safetensors"), map[string]string{"sdgo.native_size": "256", "sdgo.qwen_image.edit": "several"})
	withWords(t, transformers+"qwenimage-text.safetensors", "model.embed_tokens.weight", 151680, 128, at("text_encoders/qwen.safetensors"))
	towerFile(t, at("text_encoders/mmproj.safetensors"))
	vae, err := os.ReadFile(transformers + "qwenimage-vae.safetensors")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(at("vae/vae.safetensors"), vae, 0o600))

	args := []string{"txt2img", "-m", at("diffusion_models/edit.safetensors"), "--llm", at("text_encoders/qwen.safetensors"), "--vae", at("vae/vae.safetensors"), "-p", "a fox", "-W", "64", "-H", "64"}
	tower, see := []string{"--llm-vision", at("text_encoders/mmproj.safetensors")}, []string{"--control", "reference,reference", "--control-image", photo + "," + photo}
	out := []string{"-s", "1", "--steps", "2", "-o", filepath.Join(t.TempDir(), "x.png")}
	o := sdgo(t, slices.Concat(args, see, out)...)
	require.Equal(t, ExitFailure, o.code)
	require.Contains(t, o.errors, "without the vision tower of its text encoder (visual.* in --llm FILE, or --llm-vision FILE, which llama.cpp calls mmproj)")
	o = sdgo(t, slices.Concat(args, tower, out)...)
	require.NotEqual(t, ExitOK, o.code)
	require.Contains(t, o.errors, "the model edits pictures: it needs at least one, as a control named reference")

	want, said := drawnBy(t, slices.Concat(args, tower, see)...)
	require.Contains(t, said, "LLM vision: mmproj.safetensors")
	one, _ := drawnBy(t, slices.Concat(args, tower, []string{"--control", "reference", "--control-image", photo})...)
	require.NotEqual(t, want, one)

	s := serve(t, nil, "--models", folder)
	data, err := os.ReadFile(photo)
	require.NoError(t, err)
	picture := base64.StdEncoding.EncodeToString(data)
	got, said := s.own(map[string]any{"model": "edit", "request": map[string]any{"prompt": "a fox", "seed": 1, "steps": 2, "width": 64, "height": 64, "control": "reference,reference"},
		"control_images": []string{picture, picture}})
	require.Equal(t, want, got)
	require.Contains(t, said, "LLM vision: mmproj.safetensors")
	for _, m := range s.read(http.Get(s.url + "/api/v1/models"))["models"].([]any) {
		if m := m.(map[string]any); m["name"] == "edit" {
			require.Equal(t, map[string]any{"llm": "qwen.safetensors", "llm_vision": "mmproj.safetensors", "vae": "vae.safetensors"}, m["parts"])
		}
	}
	o = sdgo(t, "info", at("text_encoders/mmproj.safetensors"))
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Contains(t, o.out, "a vision tower of Qwen2.5-VL")
	merged := filepath.Join(t.TempDir(), "one.gguf")
	o = sdgo(t, "convert", at("diffusion_models/edit.safetensors"), "--llm", at("text_encoders/qwen.safetensors"), "--vae", at("vae/vae.safetensors"), tower[0], tower[1], "--type", "f16", "-o", merged)
	require.Equal(t, ExitOK, o.code, o.errors)
	o = sdgo(t, "info", merged)
	require.Contains(t, o.out, "for editing several pictures")
	require.Contains(t, o.out, "vision tower")
	again, _ := drawnBy(t, slices.Concat([]string{"txt2img", "-m", merged, "-p", "a fox", "-W", "64", "-H", "64"}, see)...)
	require.Equal(t, want, again)
}
