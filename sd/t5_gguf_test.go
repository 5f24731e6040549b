package sd

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/gguf"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/sd/t5"
)

// The vocabulary in a T5 of llama.cpp's is one that texts are read with.
func TestT5VocabularyOfGGUF(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "testdata", "texts", "t5.safetensors"))
	require.NoError(t, err)
	f, err := safetensors.Parse(data)
	require.NoError(t, err)
	var all []gguf.Tensor
	for _, x := range f.Tensors {
		all = append(all, gguf.Tensor{Name: x.Name, Type: dtype.F16, Shape: x.Shape, Data: x.Data})
	}
	layout, err := gguf.NewLayout([]gguf.KV{
		{Key: "general.architecture", Value: "t5"}, {Key: "tokenizer.ggml.model", Value: "t5"},
		{Key: "tokenizer.ggml.tokens", Value: []string{"<pad>", "</s>", "<unk>", "▁a", "▁fox", "▁f", "o", "x"}},
		{Key: "tokenizer.ggml.scores", Value: []float32{0, 0, 0, -2, -3, -1, -4, -4}}, {Key: "tokenizer.ggml.token_type", Value: []int32{3, 3, 2, 1, 1, 1, 1, 1}},
	}, all)
	require.NoError(t, err)
	file := make([]byte, layout.Size)
	copy(file, layout.Header)
	for i, x := range all {
		copy(file[layout.Offsets[i]:], x.Data)
	}
	path := filepath.Join(t.TempDir(), "t5.gguf")
	require.NoError(t, os.WriteFile(path, file, 0o644))
	m, err := convert.Load(path)
	require.NoError(t, err)
	defer m.Close()
	words, err := t5.ReadTokenizer([]byte(m.Metadata["sdgo.tokenizer.t5"]))
	require.NoError(t, err)
	require.Equal(t, []int32{3, 4}, words.Encode("a fox"))
}
