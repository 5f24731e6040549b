package tokenizer

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// kind is one of the reference's character classes.
type kind int

const (
	gap     kind = iota // between words: nothing the pattern matches
	letters             // \p{L}
	number              // \p{N}
	other               // [^\s\p{L}\p{N}]
)

func kindOf(r rune) kind {
	switch {
	case unicode.IsLetter(r):
		return letters
	case unicode.IsNumber(r):
		return number
	case unicode.IsSpace(r) || r == ypogegrammeni:
		return gap
	default:
		return other
	}
}

// The pattern ignores case, and U+0345 is the only mark whose other cases are letters: it is in no class.
const ypogegrammeni = '\u0345'

// contractions in the order of the pattern. The third is "'s" with the long s, which is equal when case is ignored.
var contractions = [...]string{"'s", "'ſ", "'t", "'re", "'ve", "'m", "'ll", "'d"}

// wordLength returns the length in bytes of the first word of text, which is not empty, or of the gap before it: of
// the first match of the reference's pattern
//
//	<|startoftext|> | <|endoftext|> | 's | 't | 're | 've | 'm | 'll | 'd | \p{L}+ | \p{N} | [^\s\p{L}\p{N}]+
func wordLength(text string) int {
	for _, special := range [...]string{startOfText, endOfText} {
		if strings.HasPrefix(text, special) {
			return len(special)
		}
	}
	if text[0] == '\'' {
		for _, c := range contractions {
			if strings.HasPrefix(text, c) {
				return len(c)
			}
		}
	}
	r, n := utf8.DecodeRuneInString(text)
	k := kindOf(r)
	if k == number {
		return n
	}
	for n < len(text) {
		r, size := utf8.DecodeRuneInString(text[n:])
		if kindOf(r) != k {
			break
		}
		n += size
	}
	return n
}

// isGap reports whether a character is between words.
func isGap(word string) bool {
	r, _ := utf8.DecodeRuneInString(word)
	return kindOf(r) == gap
}
