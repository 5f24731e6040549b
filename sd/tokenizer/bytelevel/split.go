package bytelevel

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// wordLength is the length of the word that a text begins with, which is not empty: what Qwen's regular expression
// matches there. Its alternatives, in their order:
//
//	(?i:'s|'t|'re|'ve|'m|'ll|'d)       a contraction
//	[^\r\n\p{L}\p{N}]?\p{L}+           letters, with one character before them
//	\p{N}                              a digit
//	 ?[^\s\p{L}\p{N}]+[\r\n]*          punctuation, with a space before and line ends after
//	\s*[\r\n]+                         white space up to its last line end
//	\s+(?!\S)                          white space but for the last one before a word
//	\s+
func wordLength(text string) int {
	if n := contraction(text); n > 0 {
		return n
	}
	first, size := utf8.DecodeRuneInString(text)
	if unicode.IsLetter(first) {
		return run(text, unicode.IsLetter)
	}
	if unicode.IsNumber(first) {
		return size
	}
	if first != '\r' && first != '\n' {
		if n := run(text[size:], unicode.IsLetter); n > 0 {
			return size + n
		}
	}
	space := 0
	if first == ' ' {
		space = 1
	}
	if n := run(text[space:], isPunctuation); n > 0 {
		n += space
		return n + run(text[n:], isLineEnd)
	}
	return gapLength(text)
}

// contraction is the length of what begins with an apostrophe, in letters of either case. ſ is one of s.
func contraction(text string) int {
	if text[0] != '\'' {
		return 0
	}
	for _, end := range []string{"s", "t", "re", "ve", "m", "ll", "d", "ſ"} {
		if len(text) > len(end) && strings.EqualFold(text[1:1+len(end)], end) {
			return 1 + len(end)
		}
	}
	return 0
}

// gapLength is the length of a word of white space, with which the text begins.
func gapLength(text string) int {
	n := run(text, unicode.IsSpace)
	if last := strings.LastIndexAny(text[:n], "\r\n"); last >= 0 {
		return last + 1
	}
	if n == len(text) {
		return n
	}
	if _, size := utf8.DecodeLastRuneInString(text[:n]); n > size {
		return n - size
	}
	return n
}

// run is the length of the characters of a kind that a text begins with.
func run(text string, is func(rune) bool) int {
	for i, r := range text {
		if !is(r) {
			return i
		}
	}
	return len(text)
}

func isPunctuation(r rune) bool {
	return !unicode.IsSpace(r) && !unicode.IsLetter(r) && !unicode.IsNumber(r)
}

func isLineEnd(r rune) bool { return r == '\r' || r == '\n' }
