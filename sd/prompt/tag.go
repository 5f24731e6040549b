package prompt

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Tag is an extra network that a prompt asks for.
type Tag struct {
	Kind string   // "lora", "hypernet", …; letters, digits and underscores
	Name string   // may be empty
	Args []string // what follows the name, as written
}

// takeTags removes what matches <(\w+):([^>]+)> from text, and returns the rest and the tags in order.
func takeTags(text string) (rest string, tags []Tag) {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, "<")
		b.WriteString(before)
		if !found {
			return b.String(), tags
		}
		text = after
		n := strings.IndexFunc(after, isNotWord)
		if n < 1 || after[n] != ':' {
			b.WriteByte('<')
			continue
		}
		content, behind, closed := strings.Cut(after[n+1:], ">")
		if !closed { // without another '>' there is no other tag
			return b.String() + "<" + after, tags
		}
		if content == "" {
			b.WriteByte('<')
			continue
		}
		args := strings.Split(content, ":")
		tags = append(tags, Tag{Kind: after[:n], Name: args[0], Args: args[1:]})
		text = behind
	}
}

// isWord tells the characters of Python's \w.
func isWord(r rune) bool {
	return r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r)
}

func isNotWord(r rune) bool { return !isWord(r) }

// endsInWord and startsWithWord tell whether a word would go on beyond the end or the start of text.
func endsInWord(text string) bool {
	r, _ := utf8.DecodeLastRuneInString(text)
	return isWord(r)
}

func startsWithWord(text string) bool {
	r, _ := utf8.DecodeRuneInString(text)
	return isWord(r)
}
