package prompt

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Tag is a tag of an extra network in a prompt.
type Tag struct {
	Kind string   // "lora", "hypernet", …; letters, digits and underscores
	Name string   // may be empty
	Args []string // what follows the name, as written
}

// Tags are the tags of a prompt, in their order.
func Tags(text string) []Tag {
	_, tags := takeTags(text)
	return tags
}

// WithoutTags is a prompt without its tags: what is left for encoders that take texts as they are written.
func WithoutTags(text string) string {
	rest, _ := takeTags(text)
	return rest
}

// String is the tag as it is written.
func (t Tag) String() string {
	return "<" + t.Kind + ":" + strings.Join(append([]string{t.Name}, t.Args...), ":") + ">"
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
		content, rest, closed := strings.Cut(after[n+1:], ">")
		if !closed { // without another '>' there is no other tag
			return b.String() + "<" + after, tags
		}
		if content == "" {
			b.WriteByte('<')
			continue
		}
		args := strings.Split(content, ":")
		tags = append(tags, Tag{Kind: after[:n], Name: args[0], Args: args[1:]})
		text = rest
	}
}

// isWord reports whether a character is one of Python's \w.
func isWord(r rune) bool {
	return r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r)
}

func isNotWord(r rune) bool { return !isWord(r) }

// endsInWord and startsWithWord report whether a word would continue beyond the end or the start of text.
func endsInWord(text string) bool {
	r, _ := utf8.DecodeLastRuneInString(text)
	return isWord(r)
}

func startsWithWord(text string) bool {
	r, _ := utf8.DecodeRuneInString(text)
	return isWord(r)
}
