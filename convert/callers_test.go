package convert

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/gguf"
)

// What callers' code does on the library's goroutines is Convert's error, and
// leaves no file.
func TestCallersCode(t *testing.T) {
	m := open(t, save(t, filepath.Join(t.TempDir(), "in"), nil, fill(allWeights(tiny()), "F32")))
	gone := errors.New("gone")
	quantize := func(uint32, []byte, []float32, int, []float32) error { return nil }
	for want, o := range map[string]Options{
		"Progress panicked: gone (":  {Type: dtype.F16, Progress: func(int64, int64) { panic(gone) }},
		"Progress ended its":         {Type: dtype.F16, Progress: func(int64, int64) { runtime.Goexit() }},
		"Quantize panicked: gone (":  {Type: dtype.Q8_0, Quantize: func(uint32, []byte, []float32, int, []float32) error { panic(gone) }},
		"Quantize ended its":         {Type: dtype.Q8_0, Quantize: func(uint32, []byte, []float32, int, []float32) error { runtime.Goexit(); return nil }},
		"256 are possible":           {Type: dtype.F16, Rules: make([]Rule, 257)},
		"a rule without a pattern":   {Type: dtype.F16, Rules: make([]Rule, 1)},
		"without ggml, which quanti": {Type: dtype.Q8_0},
	} {
		dir := t.TempDir()
		err := Convert(t.Context(), m, filepath.Join(dir, "out.gguf"), o)
		require.ErrorContains(t, err, want)
		if strings.Contains(want, "gone") {
			require.ErrorIs(t, err, gone)
		}
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, left, want)
	}
	out := filepath.Join(t.TempDir(), "out.gguf")
	require.NoError(t, Convert(t.Context(), m, out, Options{Type: dtype.Q8_0, Quantize: quantize}))

	var none context.Context
	require.ErrorContains(t, Convert(none, m, out, Options{}), "ctx must not be nil")
	_, err := Verify(none, m, out)
	require.ErrorContains(t, err, "ctx must not be nil")
	require.NoError(t, m.Close())
	for _, m := range []*Model{m, nil, {}} {
		require.Error(t, Convert(t.Context(), m, out, Options{Type: dtype.F16}))
		_, _, err := Preview(m, Options{Type: dtype.F16})
		require.Error(t, err)
		_, err = Verify(t.Context(), m, out)
		require.ErrorContains(t, err, "without tensors")
	}
	_, err = ParseRule(strings.Repeat("a?", 501) + "=f16")
	require.ErrorContains(t, err, "a pattern of 1002 bytes; at most 1000 are possible")
	require.Less(t, len(err.Error()), 200)
}

// Metadata is no multiple of a header in memory: of long lists the first elements
// are kept, and the number of all.
func TestMetadataIsBounded(t *testing.T) {
	for _, c := range []struct {
		value any
		want  string
	}{
		{[]bool{true, false}, "[true false]"}, {[]string{"a", "b"}, "a\nb"}, {uint32(7), "7"}, {"text", "text"}, {[]uint8{1, 255}, "[1 255]"},
		{make([]bool, 3000), "[" + strings.Repeat("false ", 1000) + "… (3000 in all)]"},
		{make([]string, 1001), strings.Repeat("\n", 1000) + "… (1001 in all)"},
		{make([]float64, 1000), "[" + strings.TrimSpace(strings.Repeat("0 ", 1000)) + "]"},
	} {
		require.Equal(t, c.want, textOf(c.value, maxListed))
	}
	require.Len(t, strings.Split(textOf(make([]string, 50000), maxMerges), "\n"), 50000)

	kvs := []gguf.KV{{Key: "general.architecture", Value: "sd1"}, {Key: "bools", Value: make([]bool, 1<<20)}, {Key: "bytes", Value: bytes.Repeat([]byte{200}, 1<<20)}}
	l, err := gguf.NewLayout(kvs, []gguf.Tensor{{Name: "emb_params", Type: dtype.F32, Shape: []int64{1, 768}}})
	require.NoError(t, err)
	data := make([]byte, l.Size)
	copy(data, l.Header)
	path := filepath.Join(t.TempDir(), "x.gguf")
	require.NoError(t, os.WriteFile(path, data, 0o666))
	m, err := Load(path)
	require.NoError(t, err)
	require.Less(t, len(m.Metadata["bools"])+len(m.Metadata["bytes"]), 12_000)
	require.NoError(t, m.Close())

	large := map[string]string{"a": strings.Repeat("a", 9<<20), "b": strings.Repeat("b", 8<<20)}
	_, err = Load(save(t, filepath.Join(t.TempDir(), "in"), large, fill(allWeights(tiny()), "F16")))
	require.ErrorContains(t, err, "metadata of 17825794 bytes; at most 16777216 are read")
}
