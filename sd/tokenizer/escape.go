package tokenizer

import (
	"html"
	"strings"
	"unicode/utf8"
)

// unescape is Python's html.unescape: HTML5's rules, with and without the semicolon.
func unescape(text string) string {
	return eachReference(text, func(ref string) (string, int) {
		if strings.HasPrefix(ref, "&#") {
			return unescapeNumber(ref)
		}
		return named(ref), len(ref)
	})
}

// unescapeStrict is ftfy's unescape_html: only references with a semicolon, and names of lower-case letters also in
// upper case.
func unescapeStrict(text string) string {
	return eachReference(text, func(ref string) (string, int) {
		end := strings.IndexByte(ref, ';') + 1
		name := strings.TrimPrefix(ref[1:max(end, 1)], "#")
		if len(name) < 2 || len(name) > 25 || strings.IndexFunc(name[:len(name)-1], isNotAlphanumeric) >= 0 {
			return ref, len(ref)
		}
		ref = ref[:end]
		var s string
		if ref[1] == '#' {
			s = unescape(ref)
		} else if s = named(ref); s == ref && ref == strings.ToUpper(ref) {
			s = strings.ReplaceAll(strings.ToUpper(named(strings.ToLower(ref))), "ß", "SS")
		}
		if strings.HasSuffix(s, ";") && !strings.EqualFold(ref, "&semi;") {
			s = ref // not a name, or one followed by more letters
		}
		return s, end
	})
}

// named decodes a reference by name. Go's table of them lacks two.
func named(ref string) string {
	return html.UnescapeString(missingNames.Replace(ref))
}

var missingNames = strings.NewReplacer("&nGt;", "\u226b\u20d2", "&nLt;", "\u226a\u20d2")

// eachReference calls decode with each piece of text from an '&' to the next, and replaces the bytes that it has read,
// one or more, by the text that it returns.
func eachReference(text string, decode func(ref string) (decoded string, read int)) string {
	var b strings.Builder
	for {
		start := strings.IndexByte(text, '&')
		if start < 0 {
			b.WriteString(text)
			return b.String()
		}
		b.WriteString(text[:start])
		text = text[start:]
		ref := text
		if next := strings.IndexByte(text[1:], '&'); next >= 0 {
			ref = text[:1+next]
		}
		decoded, read := decode(ref)
		b.WriteString(decoded)
		text = text[read:]
	}
}

// unescapeNumber decodes a reference that starts with "&#" and returns its length in bytes.
func unescapeNumber(ref string) (decoded string, read int) {
	base, start := 10, 2
	if len(ref) > 2 && (ref[2] == 'x' || ref[2] == 'X') {
		base, start = 16, 3
	}
	n, i := 0, start
	for ; i < len(ref); i++ {
		d := digit(ref[i])
		if d >= base {
			break
		}
		n = min(n*base+d, utf8.MaxRune+1) // all larger numbers are no character
	}
	if i == start {
		return ref[:start], start
	}
	if i < len(ref) && ref[i] == ';' {
		i++
	}
	return numbered(rune(n)), i
}

// numbered returns the character of a numeric reference. HTML5 reads C1 controls as Windows-1252; Python drops numbers
// that are no text.
func numbered(r rune) string {
	switch {
	case r == 0 || r > utf8.MaxRune || 0xD800 <= r && r <= 0xDFFF:
		return string(replacement)
	case 0x80 <= r && r <= 0x9F:
		return string(windows1252(r))
	case isControl(r), 0xFDD0 <= r && r <= 0xFDEF, r&0xFFFE == 0xFFFE:
		return ""
	}
	return string(r)
}

// digit returns the value of a hexadecimal digit, and 16 for any other byte.
func digit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return 16
}

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

func isNotAlphanumeric(r rune) bool {
	return r > 'z' || !isLetter(byte(r)) && (r < '0' || r > '9')
}
