package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/internal/mutate"
)

// tinyTensors are those of a model of the SD 1 family that is as small as CLIP's
// vocabulary lets it be: random weights of about unit gain.
var tinyTensors = sync.OnceValue(func() []safetensors.Tensor {
	text := convert.TextConfig{Prefix: convert.TextPrefix, Vocabulary: 49408, ContextLength: 77, Width: 64, FFN: 128, Layers: 2}
	unet := convert.UNetConfig{InChannels: 4, OutChannels: 4, ModelChannels: 32, ChannelMult: []int{1, 2}, NumResBlocks: 1,
		TransformerDepth: []int{1, 0}, MiddleDepth: 1, ContextDim: 64}
	vae := convert.VAEConfig{ImageChannels: 3, Channels: 32, ChannelMult: []int{1, 2}, NumResBlocks: 1, ZChannels: 4, EmbedDim: 4, QuantConv: true, HasEncoder: true}
	var all []safetensors.Tensor
	for _, w := range append(append(text.Weights(), unet.Weights()...), vae.Weights()...) {
		data := mutate.Weight(w.Name, w.Shape).Data
		all = append(all, safetensors.Tensor{Name: w.Name, DType: "F16", Shape: w.Shape, Data: data})
	}
	return all
})

// tinyFile are the bytes of a file with those tensors.
var tinyFile = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	if err := safetensors.Write(&b, nil, tinyTensors()); err != nil {
		panic(err)
	}
	return b.Bytes()
})

// tinyModel writes the tiny model to a new folder and returns its path.
func tinyModel(t testing.TB) string {
	path := filepath.Join(t.TempDir(), "tiny.safetensors")
	require.NoError(t, os.WriteFile(path, tinyFile(), 0o666))
	return path
}

// outcome is what a run of the program left.
type outcome struct {
	code        int
	out, errors string
}

// sdgo runs a command line.
func sdgo(t testing.TB, args ...string) outcome {
	return sdgoContext(t, context.Background(), args...)
}

func sdgoContext(t testing.TB, ctx context.Context, args ...string) outcome {
	t.Helper()
	var out, errors bytes.Buffer
	code := Run(ctx, args, strings.NewReader("a prompt from a pipe\n"), &out, &errors)
	return outcome{code, out.String(), errors.String()}
}

// requireError checks a run that must fail: exit code, one line with some words, and
// nothing on standard output.
func (o outcome) requireError(t *testing.T, code int, words ...string) {
	t.Helper()
	require.Equal(t, code, o.code, o.errors)
	require.Empty(t, o.out)
	require.True(t, strings.HasPrefix(o.errors, "sdgo: "), o.errors)
	require.Equal(t, 1, strings.Count(o.errors, "\n"), o.errors)
	for _, w := range words {
		require.Contains(t, o.errors, w)
	}
}

// requireFiles checks what is in a folder.
func requireFiles(t *testing.T, folder string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	have := []string{}
	for _, e := range entries {
		have = append(have, e.Name())
	}
	require.ElementsMatch(t, names, have)
}

// requireEvent reads an event of a name.
func requireEvent(t *testing.T, line, name string, fields any) {
	t.Helper()
	var e struct{ Event string }
	require.NoError(t, json.Unmarshal([]byte(line), &e), line)
	require.Equal(t, name, e.Event)
	require.NoError(t, json.Unmarshal([]byte(line), fields), line)
}
