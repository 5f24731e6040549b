package special

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCut(t *testing.T) {
	tokens := New(map[string]int32{"<a>": 1, "<a>b": 2, "<": 3, "": 4})
	cut := func(text string) (all []any) {
		tokens.Cut(text, func(s string) { all = append(all, s) }, func(id int32) { all = append(all, id) })
		return all
	}
	for text, want := range map[string][]any{
		"": {""}, "x": {"x"}, "<a>": {"", int32(1), ""}, "x<a>b<a>y": {"x", int32(2), "", int32(1), "y"}, "<<a": {"", int32(3), "", int32(3), "a"}, "a\xff": {"a\ufffd"},
	} {
		require.Equal(t, want, cut(text), "%q", text)
	}
	id, ok := tokens.ID("<a>")
	require.True(t, ok)
	require.Equal(t, int32(1), id)
	for _, text := range []string{"", "<a", "<a>bc", "x"} {
		_, ok := tokens.ID(text)
		require.False(t, ok, text)
	}
	_, ok = Tokens{}.ID("<a>")
	require.False(t, ok)
}

func TestIDs(t *testing.T) {
	ids, err := IDs([]Added{{ID: 3, Content: "</s>"}})
	require.NoError(t, err)
	require.Equal(t, map[string]int32{"</s>": 3}, ids)
	_, err = IDs([]Added{{Content: "<x>", LStrip: true}})
	require.EqualError(t, err, `tokenizer.json: token "<x>": single_word, lstrip, rstrip and normalized must be false`)
}
