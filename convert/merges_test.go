package convert

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A folder of either age brings the same table along.
func TestMergesOfBothAges(t *testing.T) {
	text, err := os.ReadFile("../testdata/nets/sd1-diffusers/tokenizer/merges.txt")
	require.NoError(t, err)
	m := &Model{Metadata: map[string]string{}}
	require.NoError(t, m.readMerges("../testdata/xl/base-diffusers/tokenizer"))
	require.Equal(t, mergeList(string(text)), mergeList(m.Metadata[keyMerges]))

	none := &Model{Metadata: map[string]string{}}
	require.NoError(t, none.readMerges(t.TempDir()))
	require.Empty(t, none.Metadata)
}

func TestBadTokenizers(t *testing.T) {
	for text, want := range map[string]string{
		`{`:                      "tokenizer: tokenizer.json: unexpected end",
		`{"model": {}}`:          `a model of type "", BPE wanted`,
		`{"model": {"type": 1}}`: "tokenizer: tokenizer.json: ",
		`{"model": {"type": "BPE", "merges": ["a b", "c"]}}`:           `merge 1: "c", two tokens wanted`,
		`{"model": {"type": "BPE", "merges": [["a", "b", "c"]]}}`:      "merge 0: two tokens wanted",
		`{"model": {"type": "BPE", "merges": [["a", "b\n#version"]]}}`: "merge 0: ",
		`{"model": {"type": "BPE", "merges": [7]}}`:                    "merge 0: two tokens wanted",
	} {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "tokenizer.json"), []byte(text), 0o666))
		err := (&Model{Metadata: map[string]string{}}).readMerges(dir)
		require.ErrorContains(t, err, want)
	}
}

func FuzzTokenizerJSON(f *testing.F) {
	f.Add([]byte(`{"model": {"type": "BPE", "merges": ["a b", ["c", "d</w>"]]}}`))
	f.Add([]byte(`{"model": {"type": "BPE", "merges": [[], [1, 2], null]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var j tokenizerJSON
		if json.Unmarshal(data, &j) != nil {
			return
		}
		text, err := j.merges()
		if err == nil && strings.Count(text, "\n") != len(j.Model.Merges) {
			t.Fatal("a line for each merge wanted")
		}
	})
}
