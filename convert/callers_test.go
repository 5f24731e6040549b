package convert

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/internal/fixture"
)

// What callers' code does on the library's goroutines is Convert's error, and
// leaves no file.
func TestCallersCode(t *testing.T) {
	m := open(t, fixture.SaveNew(t, nil, fixture.Fill(fixture.Weights(fixture.Tiny()), "F32")))
	gone := errors.New("gone")
	quantize := func(uint32, []byte, []float32, int, []float32) error { return nil }
	for want, o := range map[string]Options{
		"Progress panicked: gone (":  {Type: dtype.F16, Progress: func(int64, int64) { panic(gone) }},
		"Progress ended its":         {Type: dtype.F16, Progress: func(int64, int64) { runtime.Goexit() }},
		"Quantize panicked: gone (":  {Type: dtype.Q8_0, Quantize: func(uint32, []byte, []float32, int, []float32) error { panic(gone) }},
		"Quantize ended its":         {Type: dtype.Q8_0, Quantize: func(uint32, []byte, []float32, int, []float32) error { runtime.Goexit(); return nil }},
		"must be at most 256 rules":  {Type: dtype.F16, Rules: make([]Rule, 257)},
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
	require.ErrorContains(t, err, "its pattern must be at most 1000 bytes, got 1002")
	require.Less(t, len(err.Error()), 200)
}

func open(t testing.TB, path string) *Model {
	m, err := Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { m.Close() })
	return m
}
