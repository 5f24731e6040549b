package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/safetensors"
)

// withWords copies a text encoder's file, and gives it a table of so many words, which those
// in testdata leave out for its size.
func withWords(t *testing.T, from, table string, rows, width int, to string) {
	t.Helper()
	values := make([]float32, rows*width)
	for i := range values {
		values[i] = float32((i*7919)%2048-1024) / 512
	}
	words := make([]byte, 2*len(values))
	require.NoError(t, dtype.Encode(dtype.F16, words, values))
	rewrite(t, from, to, nil, safetensors.Tensor{Name: table, DType: "F16", Shape: []int64{int64(rows), int64(width)}, Data: words})
}

// rewrite copies a file with other metadata and further tensors, or others of their names.
func rewrite(t *testing.T, from, to string, metadata map[string]string, more ...safetensors.Tensor) {
	t.Helper()
	data, err := os.ReadFile(from)
	require.NoError(t, err)
	f, err := safetensors.Parse(data)
	require.NoError(t, err)
	f.Tensors = append(slices.DeleteFunc(f.Tensors, func(x safetensors.Tensor) bool {
		return slices.ContainsFunc(more, func(m safetensors.Tensor) bool { return m.Name == x.Name })
	}), more...)
	out, err := os.Create(to)
	require.NoError(t, err)
	require.NoError(t, safetensors.Write(out, metadata, f.Tensors))
	require.NoError(t, out.Close())
}

// Transformers whose text encoders and autoencoders are files of their own draw what the
// command line draws that names these files; one that lacks a part says so.
func TestServedParts(t *testing.T) {
	folder := t.TempDir()
	const flux, transformers = "../testdata/flux/flux/", "../testdata/transformers/"
	for to, from := range map[string]string{"diffusion_models/dev.safetensors": flux + "transformer/diffusion_pytorch_model.safetensors",
		"text_encoders/t5xxl.safetensors": flux + "text_encoder_2/model.safetensors", "text_encoders/tokenizer.json": flux + "tokenizer_2/tokenizer.json",
		"diffusion_models/z.safetensors": transformers + "zimage.safetensors", "vae/z-ae.safetensors": transformers + "zimage-vae.safetensors", "diffusion_models/klein.safetensors": transformers + "flux2.safetensors",
		"diffusion_models/half.safetensors": "../testdata/flux/sd35/transformer/diffusion_pytorch_model.safetensors"} {
		data, err := os.ReadFile(from)
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(folder, to)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(folder, to), data, 0o600))
	}
	at := func(name string) string { return filepath.Join(folder, name) }
	withWords(t, transformers+"zimage-text.safetensors", "model.embed_tokens.weight", 151680, 24, at("text_encoders/qwen.safetensors"))
	withWords(t, flux+"text_encoder/model.safetensors", "embeddings.token_embedding.weight", 49408, 64, at("text_encoders/clip_l.safetensors"))
	require.NoError(t, os.MkdirAll(at("vae"), 0o755))
	rewrite(t, flux+"vae/diffusion_pytorch_model.safetensors", at("vae/ae.safetensors"), map[string]string{"sdgo.vae.norm_groups": "8"})
	for name, text := range map[string]string{"dev": `{"vae": "ae"}`, "z": `{"vae": "vae/z-ae"}`} { // both may fit
		require.NoError(t, os.WriteFile(at("diffusion_models/"+name+".parts.json"), []byte(text), 0o600))
	}
	s := serve(t, nil, "--models", folder)
	models := map[string]map[string]any{}
	for _, m := range s.read(http.Get(s.url + "/api/v1/models"))["models"].([]any) {
		models[m.(map[string]any)["name"].(string)] = m.(map[string]any)
	}
	for name, c := range map[string]struct {
		args  []string
		parts map[string]any
	}{
		"dev": {[]string{"--clip-l", at("text_encoders/clip_l.safetensors"), "--t5xxl", at("text_encoders/t5xxl.safetensors"), "--t5-tokenizer", at("text_encoders/tokenizer.json"), "--vae", at("vae/ae.safetensors")},
			map[string]any{"clip_l": "clip_l.safetensors", "t5xxl": "t5xxl.safetensors", "t5_tokenizer": "tokenizer.json", "vae": "ae.safetensors"}},
		"z": {[]string{"--llm", at("text_encoders/qwen.safetensors"), "--vae", at("vae/z-ae.safetensors")}, map[string]any{"llm": "qwen.safetensors", "vae": "z-ae.safetensors"}},
	} {
		want, _ := drawnBy(t, append([]string{"txt2img", "-m", at("diffusion_models/" + name + ".safetensors"), "-p", "a fox", "-W", "64", "-H", "64"}, c.args...)...)
		require.Equal(t, "checkpoint", models[name]["kind"], models[name])
		require.Equal(t, c.parts, models[name]["parts"], name)
		got, said := s.own(map[string]any{"model": name, "request": map[string]any{"prompt": "a fox", "seed": 1, "steps": 2, "width": 64, "height": 64}})
		require.True(t, bytes.Equal(want, got), "%s: another picture than the command line's: %s", name, said)
		require.Contains(t, said, "VAE: "+c.parts["vae"].(string))

		// What a request does not say is the model's, here and where the web UI has defaults of its own.
		_, said = s.own(map[string]any{"model": name, "request": map[string]any{"prompt": "a fox", "seed": 1, "width": 64, "height": 64}})
		_, web := pictureOfText(t, s.post("/sdapi/v1/txt2img", map[string]any{"prompt": "a fox", "seed": 1, "width": 64, "height": 64, "override_settings": map[string]any{"sd_model_checkpoint": name}})["images"].([]any)[0])
		for _, text := range []string{said, web} {
			for _, one := range []struct{ setting, key string }{{"Steps", "steps"}, {"CFG scale", "guidance"}, {"Sampler", "sampler"}, {"Schedule type", "schedule"}} {
				value, err := json.Marshal(models[name][one.key])
				require.NoError(t, err)
				require.Contains(t, strings.ToLower(text), strings.ToLower(one.setting+": "+strings.Trim(string(value), `"`)), name)
			}
		}
	}
	for name, lacks := range map[string]string{"klein": "a Qwen", "half": "its text encoder CLIP-G"} {
		require.Equal(t, "incomplete", models[name]["kind"], models[name])
		require.Contains(t, models[name]["why"], lacks)
		reply, err := http.Post(s.url+"/api/v1/jobs", "application/json", strings.NewReader(`{"model": "`+name+`", "request": {"prompt": "a fox"}}`))
		require.NoError(t, err)
		text, err := io.ReadAll(reply.Body)
		reply.Body.Close()
		require.NoError(t, err)
		require.Equal(t, http.StatusConflict, reply.StatusCode, "%s", text)
		require.Contains(t, string(text), lacks)
		require.NotContains(t, string(text), folder)
	}
}
