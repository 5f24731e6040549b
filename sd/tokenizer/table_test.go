package tokenizer

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/internal/allocation"
)

func TestTableRoundTrip(t *testing.T) {
	vocabulary, merges := CLIP().Vocabulary(), CLIP().Merges()
	require.Len(t, vocabulary, 49408)
	require.Equal(t, "!", vocabulary[0])
	require.Equal(t, "Ā", vocabulary[188]) // byte 0: the first that does not stand for itself
	require.Equal(t, "Ń", vocabulary[255]) // byte 0xAD: the last
	require.Equal(t, "!</w>", vocabulary[256])
	require.Equal(t, "in", vocabulary[512])
	require.Equal(t, "cat</w>", vocabulary[2368])
	require.Equal(t, []string{startOfText, endOfText}, vocabulary[49406:])

	again, err := FromVocabulary(vocabulary, merges)
	require.NoError(t, err)
	require.Equal(t, CLIP().Encode("a photo of a cat"), again.Encode("a photo of a cat"))
}

func TestCutTable(t *testing.T) {
	tok, err := New(CLIP().Merges()[:2000])
	require.NoError(t, err)
	require.Equal(t, 2514, tok.Size())
	require.Equal(t, int32(2512), tok.BOS())
	require.Equal(t, "castle ", tok.Decode(tok.Encode("castle")))

	none, err := New(nil)
	require.NoError(t, err)
	require.Equal(t, 514, none.Size())
	require.Equal(t, []int32{66, 64, 83 + 256}, none.Encode("cat"))
}

func TestTableErrors(t *testing.T) {
	for reason, merges := range map[string][]string{
		`merges[0]: "ab" must be two symbols with a space between`:                              {"ab"},
		`merges[1]: "xy z" uses a symbol that no earlier entry makes`:                           {"a b", "xy z"},
		`merges[0]: "a b c" uses a symbol that no earlier entry makes`:                          {"a b c"},
		`merges[0]: " b" uses a symbol that no earlier entry makes`:                             {" b"},
		`merges[0]: "é b" uses a symbol that no earlier entry makes`:                            {"\u4e2d b"},
		`merges[0]: "a</w> b" continues a symbol that ends a word`:                              {"a</w> b"},
		`merges[1]: "a b" makes a symbol that an earlier entry has made`:                        {"a b", "a b"},
		`merges[3]: "a ab" makes a symbol that an earlier entry has made`:                       {"a a", "a b", "aa b", "a ab"},
		`merges: must have at most 1048576 entries, got 1048577`:                                make([]string, 1<<20+1),
		`merges[0]: "` + strings.Repeat("x", 40) + `" must be two symbols with a space between`: {strings.Repeat("x", 1<<16)},
	} {
		_, err := New(merges)
		var table *TableError
		require.ErrorAs(t, err, &table)
		require.Equal(t, "tokenizer: "+strings.Replace(reason, "é", "\u4e2d", 1), err.Error())
	}

	merges := []string{"a b", "ab c</w>"}
	good, err := New(merges)
	require.NoError(t, err)
	_, err = FromVocabulary(good.Vocabulary()[1:], merges)
	require.EqualError(t, err, "tokenizer: tokens: must have 516 entries for 2 merges, got 515")
	wrong := slices.Clone(good.Vocabulary())
	wrong[512] = "ba"
	_, err = FromVocabulary(wrong, merges)
	require.EqualError(t, err, `tokenizer: tokens[512]: must be "ab" in CLIP's order, got "ba"`)
	_, err = FromVocabulary(nil, []string{"?"})
	require.ErrorContains(t, err, "merges[0]")
}

// Any table of a file is either refused, or encodes without loss.
func FuzzNew(f *testing.F) {
	f.Add("a b\nab c</w>\nĠ Ń", "abc cab")
	f.Add("< /\n</ w\n</w >", "</w>")
	f.Add("a a\naa aa\naaaa aaaa\naaaaaaaa aaaaaaaa", "aaaaaaaaaaaaaaaa")
	f.Add(strings.Repeat("\n", 5000), "")
	f.Add("a b\na b", "ab")
	f.Fuzz(func(t *testing.T, lines, text string) {
		var tok *Tokenizer
		var err error
		allocation.Bound(t, len(lines), 64, func() { tok, err = New(strings.Split(lines, "\n")) })
		if err != nil || len(text) > 1<<12 {
			return
		}
		require.Equal(t, withoutGaps(clean(text)), withoutGaps(tok.Decode(tok.Encode(text))))
		again, err := FromVocabulary(tok.Vocabulary(), tok.Merges())
		require.NoError(t, err)
		require.Equal(t, tok.Encode(text), again.Encode(text))
	})
}
