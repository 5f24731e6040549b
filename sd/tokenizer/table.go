package tokenizer

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/sdgo/sdgo/sd/tokenizer/bpe"
)

const (
	wordEnd = "</w>" // in a table's text, after a symbol that ends a word
	byteIDs = 2 * 256
	// maxMerges limits a file's table. CLIP's has 48,894 merges; the largest in use have about 250,000.
	maxMerges = 1 << 20
)

// clipMerges is CLIP's table: one merge a line, best rank first. See third_party/licenses/clip-merges.txt.
//
//go:embed clip_merges.txt.gz
var clipMerges []byte

var clip = sync.OnceValue(func() *Tokenizer {
	z, err := gzip.NewReader(bytes.NewReader(clipMerges))
	if err == nil {
		var text []byte
		if text, err = io.ReadAll(z); err == nil {
			var t *Tokenizer
			if t, err = New(strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")); err == nil {
				return t
			}
		}
	}
	panic("tokenizer: the table built into the program is damaged: " + err.Error())
})

// CLIP returns the tokenizer of OpenAI's CLIP and of the OpenCLIP models: 48,894 merges, 49,408 ids. The table is part
// of the program and is decompressed by the first call.
func CLIP() *Tokenizer { return clip() }

// symbol is an entry of the vocabulary: its bytes, and whether it ends a word.
type symbol struct {
	bytes    string
	endsWord bool
}

// table is a vocabulary in CLIP's order: the 256 bytes, the 256 bytes that end a word, and the result of each merge.
// A merge of better rank therefore has a smaller id, and ids are used as ranks.
type table struct {
	byteID  [256]int32 // id of a byte inside a word; the byte that ends a word has the id 256 higher
	symbols []symbol   // by id
	merges  []bpe.Pair // by rank
	merged  bpe.Table
}

// New returns a tokenizer for a merge table: "left right" in each string, best rank first, in the byte alphabet of
// GPT-2 with "</w>" after a symbol that ends a word. CLIP's own table and a GGUF file's tokenizer.ggml.merges have this
// form. The vocabulary is the 256 bytes, the 256 bytes that end a word, the merges in their order, start of text and end
// of text: n merges give 514+n ids.
//
// The error of a table that breaks these rules is a *TableError.
func New(merges []string) (*Tokenizer, error) {
	if len(merges) > maxMerges {
		return nil, &TableError{Field: "merges", Index: -1,
			Reason: fmt.Sprintf("must have at most %d entries, got %d", maxMerges, len(merges))}
	}
	t := &Tokenizer{table{merged: make(bpe.Table, len(merges))}}
	ids := make(map[string]int32, byteIDs+len(merges))
	for _, end := range []string{"", wordEnd} {
		for _, b := range bpe.ByteOrder() {
			if end == "" {
				t.byteID[b] = int32(len(t.symbols))
			}
			ids[string(bpe.Letter(b))+end] = int32(len(t.symbols))
			t.symbols = append(t.symbols, symbol{string([]byte{b}), end != ""})
		}
	}
	for i, text := range merges {
		if err := t.add(ids, text); err != "" {
			return nil, &TableError{Field: "merges", Index: i, Reason: err}
		}
	}
	return t, nil
}

// add appends one merge and returns what is wrong with it, "" if nothing. Both halves must come earlier, and no symbol
// may come twice: then merging pair by pair, best rank first, equals the reference's merging in rounds.
func (t *table) add(ids map[string]int32, text string) (wrong string) {
	left, right, found := strings.Cut(text, " ")
	if !found {
		return fmt.Sprintf("%.40q must be two symbols with a space between", text)
	}
	l, okLeft := ids[left]
	r, okRight := ids[right]
	if !okLeft || !okRight {
		return fmt.Sprintf("%.40q uses a symbol that no earlier entry makes", text)
	}
	if t.symbols[l].endsWord {
		return fmt.Sprintf("%.40q continues a symbol that ends a word", text)
	}
	if _, twice := ids[left+right]; twice {
		return fmt.Sprintf("%.40q makes a symbol that an earlier entry has made", text)
	}
	id := int32(len(t.symbols))
	ids[left+right] = id
	t.symbols = append(t.symbols, symbol{t.symbols[l].bytes + t.symbols[r].bytes, t.symbols[r].endsWord})
	t.merges = append(t.merges, bpe.Pair{Left: l, Right: r})
	t.merged[bpe.Pair{Left: l, Right: r}] = bpe.Merge{ID: id, Rank: id}
	return ""
}

// FromVocabulary returns a tokenizer for a file that has both its vocabulary and its merges, as a GGUF file has in
// tokenizer.ggml.tokens and tokenizer.ggml.merges. The vocabulary must equal the one that New derives from the merges, so
// that ids are rows of the file's token embedding; a *TableError says where it does not.
func FromVocabulary(tokens, merges []string) (*Tokenizer, error) {
	t, err := New(merges)
	if err != nil {
		return nil, err
	}
	if len(tokens) != t.Size() {
		return nil, &TableError{Field: "tokens", Index: -1,
			Reason: fmt.Sprintf("must have %d entries for %d merges, got %d", t.Size(), len(merges), len(tokens))}
	}
	for i, want := range t.Vocabulary() {
		if tokens[i] != want {
			return nil, &TableError{Field: "tokens", Index: i,
				Reason: fmt.Sprintf("must be %.40q in CLIP's order, got %.40q", want, tokens[i])}
		}
	}
	return t, nil
}

// Vocabulary returns the text of every id in order, in the byte alphabet of GPT-2: Size() strings.
func (t *Tokenizer) Vocabulary() []string {
	out := make([]string, 0, t.Size())
	for id := range t.symbols {
		out = append(out, t.spell(int32(id)))
	}
	return append(out, startOfText, endOfText)
}

// Merges returns the table in the form that New takes: Size()-514 strings.
func (t *Tokenizer) Merges() []string {
	out := make([]string, len(t.merges))
	for i, m := range t.merges {
		out[i] = t.spell(m.Left) + " " + t.spell(m.Right)
	}
	return out
}

// spelled are the symbols of a word's bytes.
func (t *table) spelled(word string) []int32 {
	ids := make([]int32, len(word))
	for i := range len(word) {
		ids[i] = t.byteID[word[i]]
	}
	ids[len(word)-1] += 256
	return ids
}

func (t *table) spell(id int32) string {
	s := t.symbols[id]
	var b strings.Builder
	for _, c := range []byte(s.bytes) {
		b.WriteRune(bpe.Letter(c))
	}
	if s.endsWord {
		b.WriteString(wordEnd)
	}
	return b.String()
}

// TableError says what is wrong with a merge table or a vocabulary.
type TableError struct {
	Field  string // "merges" or "tokens"
	Index  int    // the entry, from 0; -1 for the whole list
	Reason string
}

func (e *TableError) Error() string {
	if e.Index < 0 {
		return fmt.Sprintf("tokenizer: %s: %s", e.Field, e.Reason)
	}
	return fmt.Sprintf("tokenizer: %s[%d]: %s", e.Field, e.Index, e.Reason)
}
