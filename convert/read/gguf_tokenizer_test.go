package read

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/gguf"
	"github.com/sdgo/sdgo/convert/model"
)

// T5's vocabulary of a file of llama.cpp's is a tokenizer.json of the tokenizers library.
func TestGGUFT5(t *testing.T) {
	meta := func(edit func(m map[string]any)) *gguf.File {
		m := map[string]any{"tokenizer.ggml.model": "t5", "tokenizer.ggml.tokens": []string{"<pad>", "</s>", "<unk>", "▁a"}, "tokenizer.ggml.scores": []float32{0, 0, 0, -2.5},
			"tokenizer.ggml.token_type": []int32{3, 3, 2, 1}, "tokenizer.ggml.precompiled_charsmap": []int8{1, -1}}
		edit(m)
		f := &gguf.File{}
		for k, v := range m {
			f.Meta = append(f.Meta, gguf.KV{Key: k, Value: v})
		}
		return f
	}
	said := map[string]string{}
	require.NoError(t, ggufT5(meta(func(map[string]any) {}), said))
	var file struct {
		Added      []struct{ Content string } `json:"added_tokens"`
		Normalizer struct {
			Table string `json:"precompiled_charsmap"`
		} `json:"normalizer"`
		Model struct {
			Unknown int      `json:"unk_id"`
			Vocab   [][2]any `json:"vocab"`
		} `json:"model"`
	}
	require.NoError(t, json.Unmarshal([]byte(said[model.KeyT5Tokenizer]), &file))
	require.Len(t, file.Added, 2)
	require.Equal(t, "</s>", file.Added[1].Content)
	require.Equal(t, base64.StdEncoding.EncodeToString([]byte{1, 255}), file.Normalizer.Table)
	require.Equal(t, 2, file.Model.Unknown)
	require.Equal(t, [2]any{"▁a", -2.5}, file.Model.Vocab[3])

	said = map[string]string{}
	require.NoError(t, ggufT5(meta(func(m map[string]any) { m["tokenizer.ggml.model"] = "gpt2" }), said))
	require.Empty(t, said)
	require.ErrorContains(t, ggufT5(meta(func(m map[string]any) { m["tokenizer.ggml.scores"] = []float32{1} }), said), "must have a score for each token")
	require.ErrorContains(t, ggufT5(meta(func(m map[string]any) { m["tokenizer.ggml.scores"] = []float32{0, 0, 0, float32(math.NaN())} }), said), "the vocabulary of T5")
	require.Empty(t, said)
}
