package prompt

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// letters is a tokenizer whose tokens are bytes, without spaces.
type letters struct{}

func (letters) BOS() int32 { return 1000 }
func (letters) EOS() int32 { return 1001 }
func (letters) Encode(text string) (ids []int32) {
	for _, b := range []byte(strings.ReplaceAll(text, " ", "")) {
		ids = append(ids, int32(b))
	}
	return ids
}

// shown is a chunk as text: letters, digits for the vectors of words, counted from 1, and
// the weights where they are not 1.
func shown(c Chunk) string {
	out := []byte{}
	for _, id := range c.Tokens[1:] {
		if id == 1001 {
			break
		}
		out = append(out, byte(id))
	}
	for _, p := range c.Places {
		out[p.At-1] = "0123456789"[p.Vector+1]
	}
	return string(out)
}

func TestWords(t *testing.T) {
	o := Options{Content: 10, Pad: 1001, CommaBacktrack: 4, WebUIBreak: true, Words: []Word{
		{(letters{}).Encode("cat"), 3}, {(letters{}).Encode("cats"), 2}, {(letters{}).Encode("x"), 1}, {nil, 1}}}
	for text, want := range map[string][]string{
		"acatb":         {"a123b"},
		"acatsb":        {"a12b"}, // the longest word
		"catcat":        {"123123"},
		"xx":            {"11"},
		"abcdefgcat":    {"abcdefg123"},
		"abcdefghcat":   {"abcdefgh", "123"},   // it does not fit: as a whole into the next chunk
		"abcdefghijcat": {"abcdefghij", "123"}, // of a chunk that is full
		"abcdef,xhij":   {"abcdef,", "1hij"},   // what follows a late comma moves with its words
		"abcdefg,xijkl": {"abcdefg,", "1ijkl"},
		"ca BREAK t":    {"ca", "t"},
		"":              {""},
	} {
		segments, _, err := Parse(text)
		require.NoError(t, err)
		chunks, err := Chunks(segments, letters{}, o)
		require.NoError(t, err)
		var got []string
		for _, c := range chunks {
			require.Len(t, c.Tokens, 12)
			got = append(got, shown(c))
		}
		require.Equal(t, want, got, text)
	}
	segments, _, err := Parse("a (cat:1.5) b")
	require.NoError(t, err)
	chunks, err := Chunks(segments, letters{}, o)
	require.NoError(t, err)
	require.Equal(t, []float32{1, 1, 1.5, 1.5, 1.5, 1, 1}, chunks[0].Weights[:7], "brackets weigh all of a word's vectors")
	require.Equal(t, []Place{{2, 0, 0}, {3, 0, 1}, {4, 0, 2}}, chunks[0].Places)

	o.Words[0].Length = 11
	_, err = Chunks(segments, letters{}, o)
	require.ErrorContains(t, err, "prompt: 11 vectors of one word; at most 10 are supported")
	without, err := Chunks(segments, letters{}, Options{Content: 10})
	require.NoError(t, err)
	require.False(t, slices.ContainsFunc(without, func(c Chunk) bool { return c.Places != nil }))
}

func TestTagsOfPrompts(t *testing.T) {
	require.Equal(t, []Tag{{"lora", "a b", []string{"0.5", "te=1"}}, {"lyco", "c", []string{}}}, Tags("x <lora:a b:0.5:te=1> y<lyco:c>"))
	require.Empty(t, Tags("x < y > z"))
	require.Equal(t, "<lora:a:0.5>", Tags("<lora:a:0.5>")[0].String())
}
