package api

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/prompt"
	"github.com/sdgo/sdgo/sd/tokenizer"
)

func TestCountTokens(t *testing.T) {
	for _, c := range []struct {
		text           string
		tokens, chunks int
	}{
		{"", 0, 1},
		{"a photo of a cat", 5, 1},
		{"a (photo:1.3) of [a] <lora:style:0.5> cat", 5, 1}, // weights and tags are no tokens
		{"a cat BREAK a dog", 4, 2},
		{"a cat AND a small brown dog :0.5", 4, 1}, // the longest part
		{"a [cat:big dog:1]", 3, 1},
	} {
		v, err := countTokens(c.text, tokenizer.CLIP(), nil)
		require.NoError(t, err)
		require.Equal(t, tokensView{c.tokens, c.chunks, 75}, v, c.text)
	}
	// Words with vectors of their own take as many places.
	words := []prompt.Word{{Tokens: tokenizer.CLIP().Encode("shiny"), Length: 3}, {Tokens: tokenizer.CLIP().Encode("big dog"), Length: 1}}
	for text, n := range map[string]int{"a shiny cat": 5, "a (Shiny:1.2) big dog": 5, "shiny shiny": 6, "a cat": 2} {
		v, err := countTokens(text, tokenizer.CLIP(), words)
		require.NoError(t, err)
		require.Equal(t, tokensView{n, 1, 75}, v, text)
	}
	long := ""
	for range 76 {
		long += "cat "
	}
	v, err := countTokens(long, tokenizer.CLIP(), nil)
	require.NoError(t, err)
	require.Equal(t, tokensView{76, 2, 75}, v)
	for range 13 {
		long += long
	}
	_, err = countTokens(long, tokenizer.CLIP(), nil)
	require.Error(t, err)
}
