// Package special finds the tokens that a text may name as they are, such as <|im_start|> and </s>: they are cut out
// before a tokenizer looks at the rest.
package special

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Tokens are some tokens by their texts. The zero value has none.
type Tokens struct {
	byFirst map[byte][]token // by their first byte, the longest first
}

type token struct {
	text string
	id   int32
}

// New makes them; an empty text is no token's.
func New(ids map[string]int32) Tokens {
	t := Tokens{map[byte][]token{}}
	for text, id := range ids {
		if text != "" {
			t.byFirst[text[0]] = append(t.byFirst[text[0]], token{text, id})
		}
	}
	for _, all := range t.byFirst {
		slices.SortFunc(all, func(a, b token) int { return len(b.text) - len(a.text) })
	}
	return t
}

// ID is that of a token.
func (t Tokens) ID(text string) (id int32, ok bool) {
	if found, ok := t.at(text); ok && found.text == text {
		return found.id, true
	}
	return 0, false
}

// at is the longest token that a text begins with.
func (t Tokens) at(text string) (token, bool) {
	if text == "" {
		return token{}, false
	}
	for _, s := range t.byFirst[text[0]] {
		if strings.HasPrefix(text, s.text) {
			return s, true
		}
	}
	return token{}, false
}

// Cut calls plain with what is between the tokens of a text, also where that is nothing, and found with each of them, in
// their order. Every byte that is not valid UTF-8 counts as one U+FFFD.
func (t Tokens) Cut(text string, plain func(text string), found func(id int32)) {
	if !utf8.ValidString(text) {
		text = string([]rune(text))
	}
	from := 0
	for at := 0; at < len(text); {
		s, ok := t.at(text[at:])
		if !ok {
			at++
			continue
		}
		plain(text[from:at])
		found(s.id)
		at += len(s.text)
		from = at
	}
	plain(text[from:])
}

// Added is a token as a file tokenizer.json of the tokenizers library has it.
type Added struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
}

// IDs are the tokens of a file. One that is not cut out as it is, is an error that names it.
func IDs(all []Added) (map[string]int32, error) {
	ids := make(map[string]int32, len(all))
	for _, a := range all {
		if a.SingleWord || a.LStrip || a.RStrip || a.Normalized {
			return nil, fmt.Errorf("tokenizer.json: token %.40q: single_word, lstrip, rstrip and normalized must be false", a.Content)
		}
		ids[a.Content] = a.ID
	}
	return ids, nil
}
