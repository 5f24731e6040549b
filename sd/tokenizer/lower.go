package tokenizer

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// lower converts text to lower case as Python's str.lower does: Unicode's full mapping, in which İ becomes i and a
// combining dot, and Σ becomes ς at the end of a word (Unicode 15, section 3.13, Final_Sigma).
func lower(text string) string {
	var b strings.Builder
	b.Grow(len(text))
	for i, r := range text {
		switch r {
		case 'İ':
			b.WriteString("i\u0307")
		case 'Σ':
			if isFinalSigma(text, i) {
				b.WriteRune('ς')
			} else {
				b.WriteRune('σ')
			}
		default:
			b.WriteRune(unicode.ToLower(r))
		}
	}
	return b.String()
}

// isFinalSigma reports whether the Σ at text[i:] has a cased character before it and none after it, ignoring
// case-ignorable characters. A scan ends at the next Σ at the latest, so all scans together take linear time.
func isFinalSigma(text string, i int) bool {
	before := false
	for rest := text[:i]; rest != ""; {
		r, n := utf8.DecodeLastRuneInString(rest)
		rest = rest[:len(rest)-n]
		if !isCaseIgnorable(r) {
			before = isCased(r)
			break
		}
	}
	if !before {
		return false
	}
	for _, r := range text[i+len("Σ"):] {
		if !isCaseIgnorable(r) {
			return !isCased(r)
		}
	}
	return true
}

// isCased is Unicode's derived property Cased.
func isCased(r rune) bool {
	return unicode.In(r, unicode.Lu, unicode.Ll, unicode.Lt, unicode.Other_Uppercase, unicode.Other_Lowercase)
}

// isCaseIgnorable is Unicode's derived property Case_Ignorable: marks, formats, modifiers, and the punctuation that
// stands inside words (Word_Break MidLetter, MidNumLet and Single_Quote).
func isCaseIgnorable(r rune) bool {
	return unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Lm, unicode.Sk) ||
		strings.ContainsRune(".':\u00b7\u0387\u055f\u05f4\u2018\u2019\u2024\u2027\ufe13\ufe52\ufe55\uff07\uff0e\uff1a", r)
}
