package read

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/family"
	"github.com/sdgo/sdgo/internal/fixture"
)

// A folder of either age brings the same table along.
func TestMergesOfBothAges(t *testing.T) {
	text, err := os.ReadFile(fixture.Testdata(t, "nets/sd1-diffusers/tokenizer/merges.txt"))
	require.NoError(t, err)
	merges, err := readMerges(fixture.Testdata(t, "xl/base-diffusers/tokenizer"))
	require.NoError(t, err)
	require.Equal(t, family.MergeList(string(text)), family.MergeList(merges))

	none, err := readMerges(t.TempDir())
	require.NoError(t, err)
	require.Empty(t, none)
}

func TestBadTokenizers(t *testing.T) {
	for text, want := range map[string]string{
		`{`:                      "tokenizer: tokenizer.json: unexpected end",
		`{"model": {}}`:          `the model's type must be BPE, got ""`,
		`{"model": {"type": 1}}`: "tokenizer: tokenizer.json: ",
		`{"model": {"type": "BPE", "merges": ["a b", "c"]}}`:           `merge 1 must be two tokens, got "c"`,
		`{"model": {"type": "BPE", "merges": [["a", "b", "c"]]}}`:      "merge 0 must be two tokens",
		`{"model": {"type": "BPE", "merges": [["a", "b\n#version"]]}}`: "merge 0 must be two tokens, got",
		`{"model": {"type": "BPE", "merges": [7]}}`:                    "merge 0 must be two tokens",
	} {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "tokenizer.json"), []byte(text), 0o666))
		_, err := readMerges(dir)
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
			t.Fatal("not a line for each merge")
		}
	})
}
