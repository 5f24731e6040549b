package read

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/gguf"
	"github.com/sdgo/sdgo/internal/fixture"
)

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
	_, err = Load(fixture.SaveNew(t, large, fixture.Fill(fixture.Weights(fixture.Tiny()), "F16")))
	require.ErrorContains(t, err, "metadata of 17825794 bytes; at most 16777216 are read")
}
