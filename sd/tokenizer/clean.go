package tokenizer

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

const replacement = utf8.RuneError // U+FFFD

// clean is the reference's whitespace_clean(basic_clean(text)).lower().
func clean(text string) string {
	text = eachInvalidByteReplaced(text)
	if !isPlain(text) {
		text = unescape(unescape(repair(text)))
	}
	return lower(strings.Join(strings.Fields(text), " "))
}

func eachInvalidByteReplaced(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	return string([]rune(text))
}

// isPlain reports whether neither repair nor unescape changes the text: it is ASCII without '&' and without control
// characters other than white space.
func isPlain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c > '~' || c == '&' || isControl(rune(c)) {
			return false
		}
	}
	return true
}

// repair is ftfy.fix_text of ftfy 6 without its fix_encoding. It also works line by line, and unescapes HTML in the
// lines before the first one with a '<'.
func repair(text string) string {
	var b strings.Builder
	escapes := true
	for line := range strings.Lines(text) {
		escapes = escapes && !strings.Contains(line, "<")
		b.WriteString(repairLine(line, escapes))
	}
	return b.String()
}

// repairLine repeats the repairs until they change nothing, because one may make work for another. The limit, which ftfy
// does not have, keeps text like "&amp;amp;amp;…" from taking quadratic time. Go's normaliser makes text stream-safe: it
// inserts U+034F after 30 marks in a row, which Python's does not.
func repairLine(line string, escapes bool) string {
	for range 8 {
		before := line
		if escapes {
			line = unescapeStrict(line)
		}
		line = strings.Map(windows1252, line)
		line = plainForms.Replace(line)
		line = normalWidth(line)
		line = withoutTerminalEscapes(line)
		line = strings.Map(withoutControls, line)
		line = norm.NFC.String(line)
		if line == before {
			break
		}
	}
	return line
}

// plainForms replaces Latin ligatures and digraphs by their letters and curly quotes by straight ones.
var plainForms = strings.NewReplacer(
	"Ĳ", "IJ", "ĳ", "ij", "ŉ", "'n",
	"Ǳ", "DZ", "ǲ", "Dz", "ǳ", "dz", "Ǆ", "DŽ", "ǅ", "Dž", "ǆ", "dž",
	"Ǉ", "LJ", "ǈ", "Lj", "ǉ", "lj", "Ǌ", "NJ", "ǋ", "Nj", "ǌ", "nj",
	"ﬀ", "ff", "ﬁ", "fi", "ﬂ", "fl", "ﬃ", "ffi", "ﬄ", "ffl", "ﬅ", "ſt", "ﬆ", "st",
	"\u02bc", "'", "\u2018", "'", "\u2019", "'", "\u201a", "'", "\u201b", "'",
	"\u201c", `"`, "\u201d", `"`, "\u201e", `"`, "\u201f", `"`,
)

// normalWidth replaces full-width and half-width forms and the ideographic space by the characters they are forms of.
func normalWidth(text string) string {
	isForm := func(r rune) bool { return r == 0x3000 || 0xFF01 <= r && r <= 0xFFEF }
	if strings.IndexFunc(text, isForm) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if isForm(r) {
			b.WriteString(norm.NFKC.String(string(r)))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// withoutTerminalEscapes removes ESC [ digits and semicolons, letter.
func withoutTerminalEscapes(text string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, "\x1b[")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		text = strings.TrimLeft(after, "0123456789;")
		if text != "" && isLetter(text[0]) {
			text = text[1:]
		} else {
			b.WriteString("\x1b[")
			text = after
		}
	}
}

// withoutControls removes control characters without a meaning in text; strings.Map drops negative runes.
func withoutControls(r rune) rune {
	if isControl(r) || 0x206A <= r && r <= 0x206F || r == 0xFEFF || 0xFFF9 <= r && r <= 0xFFFC {
		return -1
	}
	return r
}

// isControl reports whether a character is an ASCII control character other than white space.
func isControl(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' && r != '\f' && r != '\r' || r == 0x7F
}

// c1 has the characters of Windows-1252 at 0x80 to 0x9F; where it has none, the control character stays.
var c1 = [32]rune{
	'€', 0x81, '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', 0x8D, 'Ž', 0x8F,
	0x90, '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', 0x9D, 'ž', 'Ÿ',
}

// windows1252 maps a C1 control character to the Windows-1252 character of the same number, as browsers do.
func windows1252(r rune) rune {
	if 0x80 <= r && r <= 0x9F {
		return c1[r-0x80]
	}
	return r
}
