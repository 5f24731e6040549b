package sd

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/sd/tokenizer/bpe"
)

// byteTokens are the files of a tokenizer of Qwen's kind that has a token for each byte and two special ones.
func byteTokens(t *testing.T, folder string) {
	t.Helper()
	vocabulary := map[string]int{}
	for _, b := range bpe.ByteOrder() {
		vocabulary[string(bpe.Letter(b))] = 7 + len(vocabulary)
	}
	require.NoError(t, os.MkdirAll(folder, 0o755))
	for name, v := range map[string]any{"vocab.json": vocabulary, "tokenizer_config.json": map[string]any{"added_tokens_decoder": map[string]any{
		"1": map[string]any{"content": "<|im_start|>", "special": true}, "2": map[string]any{"content": "<|im_end|>", "special": true}}}} {
		data, err := json.Marshal(v)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), data, 0o644))
	}
	require.NoError(t, os.WriteFile(filepath.Join(folder, "merges.txt"), []byte("#version: 0.2\n"), 0o644))
}

// A folder's own vocabulary is the one that its texts are read with, as vocab.json and merges.txt and as tokenizer.json, and goes into
// files that are written.
func TestFolderTokenizerOfQwen(t *testing.T) {
	path, o := zImageParts(t, Options{})
	folder := zImageFolder(t, o, path, 3)
	byteTokens(t, filepath.Join(folder, "tokenizer"))
	r := Request{Prompt: "a fox", Width: 64, Height: 64, Steps: 1, Seed: 1}
	const tokens = 1 + len("user\na fox") + 1 + len("\n") + 1 + len("assistant\n")
	draw := func(path string) []float32 {
		m, err := Open(path, Options{})
		require.NoError(t, err)
		defer m.Close()
		require.Equal(t, []int{tokens, 24}, conditionsOf(t, m, r).Cond.Inputs[0].Shape, "a token for each byte")
		return latentOf(t, m, r, nil).Data
	}
	want := draw(folder)
	one := filepath.Join(t.TempDir(), "one.gguf")
	m, err := convert.Load(folder)
	require.NoError(t, err)
	require.NoError(t, convert.Convert(t.Context(), m, one, convert.Options{Type: dtype.F16}))
	require.NoError(t, m.Close())
	require.Equal(t, want, draw(one))

	m, err = convert.Load(one)
	require.NoError(t, err)
	data := string(m.QwenTokenizer)
	require.NoError(t, m.Close())
	other := zImageFolder(t, o, path, 3)
	require.NoError(t, os.MkdirAll(filepath.Join(other, "tokenizer"), 0o755))
	file := filepath.Join(other, "tokenizer", "tokenizer.json")
	require.NoError(t, os.WriteFile(file, []byte(data), 0o644))
	require.Equal(t, want, draw(other))

	for _, c := range []struct {
		edit    func(v map[string]any)
		refused string
	}{
		{func(v map[string]any) { v["added_tokens"] = []any{} }, "the model's own tokenizer must have the special token <|im_start|>"},
		{func(v map[string]any) { v["model"].(map[string]any)["type"] = "WordPiece" }, "the model must be BPE"},
	} {
		var v map[string]any
		require.NoError(t, json.Unmarshal([]byte(data), &v))
		c.edit(v)
		text, err := json.Marshal(v)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file, text, 0o644))
		_, err = Open(other, Options{})
		require.ErrorContains(t, err, c.refused)
	}
	require.NoError(t, os.Remove(file))
	byteTokens(t, filepath.Join(other, "tokenizer"))
	require.NoError(t, os.Remove(filepath.Join(other, "tokenizer", "merges.txt")))
	_, err = Open(other, Options{})
	require.ErrorContains(t, err, "vocab.json must have merges.txt beside it")
}

// Whether klein is distilled is in its folder's model_index.json: the steps and guidance that suit it follow.
func TestFlux2FolderSaysWhetherItIsDistilled(t *testing.T) {
	for _, distilled := range []any{nil, true, false} {
		dir := t.TempDir()
		write := func(name string, v any) {
			data, err := json.Marshal(v)
			require.NoError(t, err)
			require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o644))
		}
		index := map[string]any{"_class_name": "Flux2KleinPipeline", "transformer": []string{"diffusers", "Flux2Transformer2DModel"}, "vae": []string{"diffusers", "AutoencoderKLFlux2"},
			"text_encoder": []string{"transformers", "Qwen3ForCausalLM"}}
		if distilled != nil {
			index["is_distilled"] = distilled
		}
		write("model_index.json", index)
		write("vae/config.json", map[string]any{"_class_name": "AutoencoderKLFlux2", "norm_num_groups": 4})
		for to, from := range map[string]string{"transformer/diffusion_pytorch_model": filepath.Join(transformersFolder, "flux2.safetensors"),
			"vae/diffusion_pytorch_model": filepath.Join(transformersFolder, "flux2-vae.safetensors"), "text_encoder/model": qwenFile(t, "flux2-text.safetensors", 16)} {
			data, err := os.ReadFile(from)
			require.NoError(t, err)
			require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, to)), 0o755))
			require.NoError(t, os.WriteFile(filepath.Join(dir, to+".safetensors"), data, 0o644))
		}
		defaults := func(path string) (int, float64) {
			m, err := Open(path, Options{})
			require.NoError(t, err)
			defer m.Close()
			d, err := m.resolved(Request{Prompt: "a fox"})
			require.NoError(t, err)
			return d.Steps, d.Guidance
		}
		steps, guidance := defaults(dir)
		want := []any{4, 1.0}
		if distilled == false {
			want = []any{50, 4.0}
		}
		require.Equal(t, want, []any{steps, guidance}, distilled)
		one := filepath.Join(t.TempDir(), "one.safetensors")
		m, err := convert.Load(dir)
		require.NoError(t, err)
		require.NoError(t, convert.Convert(t.Context(), m, one, convert.Options{Type: dtype.F16, Safetensors: true}))
		require.NoError(t, m.Close())
		steps, guidance = defaults(one)
		require.Equal(t, want, []any{steps, guidance}, "a file made of it")
	}
}
