// Package bytelevel turns text into the token ids of Qwen's language models (Qwen2, Qwen2.5, Qwen3), which Z-Image,
// FLUX.2 klein and Qwen-Image have for text encoders.
//
// It follows the transformers library's Qwen2Tokenizer: special tokens are cut out of the text, the rest is put in
// normal form C and split into words, whose bytes merge by rank (byte-pair encoding over the byte alphabet of GPT-2).
//
// A Tokenizer is immutable: every method may be called from many goroutines at once. No input text, valid UTF-8 or not,
// makes it fail or panic, and encoding a text of n bytes takes O(n log n) time.
package bytelevel

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/sdgo/sdgo/sd/tokenizer/bpe"
	"github.com/sdgo/sdgo/sd/tokenizer/special"
)

const (
	maxTokens  = 1 << 20
	maxSpecial = 1 << 12
)

// qwenMerges are Qwen's: one merge a line, best rank first. See third_party/licenses/qwen-merges.txt.
//
//go:embed qwen_merges.txt.gz
var qwenMerges []byte

// Tokenizer encodes text. Make one with [Qwen] or [New].
type Tokenizer struct {
	byteID  [256]int32
	merged  bpe.Table
	tokens  []string // the bytes of each id, "" where there is none
	special special.Tokens
}

// Tables are a vocabulary as files have it.
type Tables struct {
	Tokens  map[string]int32 // in GPT-2's byte alphabet: the 256 bytes and what the merges make
	Merges  []string         // "left right", the best rank first
	Special map[string]int32 // tokens that a text may name, as they are
}

var qwen = sync.OnceValue(func() *Tokenizer {
	z, err := gzip.NewReader(bytes.NewReader(qwenMerges))
	if err == nil {
		var text []byte
		if text, err = io.ReadAll(z); err == nil {
			var t *Tokenizer
			if t, err = New(ordered(strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"), qwenSpecial())); err == nil {
				return t
			}
		}
	}
	panic("bytelevel: the table built into the program is damaged: " + err.Error())
})

// Qwen returns the tokenizer of Qwen2.5 and Qwen3: 151,387 merges, and the special tokens of Qwen3 from 151,643 on.
// The table is part of the program and is decompressed by the first call.
func Qwen() *Tokenizer { return qwen() }

// qwenSpecial are Qwen3's special tokens, in their order.
func qwenSpecial() []string {
	return []string{
		"<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>", "<|quad_start|>",
		"<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>", "<tool_call>", "</tool_call>",
		"<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>",
		"<think>", "</think>",
	}
}

// ordered is a vocabulary whose ids are the order of the bytes, the merges and the special tokens.
func ordered(merges, specials []string) Tables {
	t := Tables{Tokens: map[string]int32{}, Merges: merges, Special: map[string]int32{}}
	for _, b := range bpe.ByteOrder() {
		t.Tokens[string(bpe.Letter(b))] = int32(len(t.Tokens))
	}
	for _, m := range merges {
		t.Tokens[strings.Replace(m, " ", "", 1)] = int32(len(t.Tokens))
	}
	for i, s := range specials {
		t.Special[s] = int32(len(t.Tokens) + i)
	}
	return t
}

// New returns a tokenizer for a vocabulary. The error names the entry that is wrong: a byte without a token, an id that
// is negative or given twice, a merge of tokens or into a token that there is not.
func New(tables Tables) (*Tokenizer, error) {
	if n := len(tables.Tokens); n > maxTokens || len(tables.Merges) > maxTokens {
		return nil, fmt.Errorf("tokenizer: must have at most %d tokens and as many merges, got %d and %d", maxTokens, n, len(tables.Merges))
	}
	if n := len(tables.Special); n > maxSpecial {
		return nil, fmt.Errorf("tokenizer: must have at most %d special tokens, got %d", maxSpecial, n)
	}
	t := &Tokenizer{merged: make(bpe.Table, len(tables.Merges)), special: special.New(tables.Special)}
	if err := t.addTokens(tables); err != nil {
		return nil, err
	}
	for _, b := range bpe.ByteOrder() {
		id, ok := tables.Tokens[string(bpe.Letter(b))]
		if !ok {
			return nil, fmt.Errorf("tokenizer: the byte %#02x has no token", b)
		}
		t.byteID[b] = id
	}
	for rank, text := range tables.Merges {
		left, right, found := strings.Cut(text, " ")
		l, okLeft := tables.Tokens[left]
		r, okRight := tables.Tokens[right]
		id, ok := tables.Tokens[left+right]
		if !found || !okLeft || !okRight || !ok {
			return nil, fmt.Errorf("tokenizer: merges[%d]: %.40q must be two tokens with a space between, which together are a third", rank, text)
		}
		pair := bpe.Pair{Left: l, Right: r}
		if _, twice := t.merged[pair]; twice {
			return nil, fmt.Errorf("tokenizer: merges[%d]: %.40q is there twice", rank, text)
		}
		t.merged[pair] = bpe.Merge{ID: id, Rank: int32(rank)}
	}
	return t, nil
}

// addTokens fills in what ids stand for.
func (t *Tokenizer) addTokens(tables Tables) error {
	add := func(text string, id int32, as string) error {
		if id < 0 || id >= 2*maxTokens {
			return fmt.Errorf("tokenizer: token %.40q has the id %d, must be 0 to %d", text, id, 2*maxTokens-1)
		}
		for int(id) >= len(t.tokens) {
			t.tokens = append(t.tokens, make([]string, int(id)+1-len(t.tokens))...)
		}
		if as == "" || t.tokens[id] != "" {
			return fmt.Errorf("tokenizer: token %.40q is empty, or its id %d is another's", text, id)
		}
		t.tokens[id] = as
		return nil
	}
	for text, id := range tables.Tokens {
		if _, also := tables.Special[text]; also {
			continue
		}
		bytes, ok := bpe.Bytes(text)
		if !ok {
			return fmt.Errorf("tokenizer: token %.40q has a character that stands for no byte", text)
		}
		if err := add(text, id, bytes); err != nil {
			return err
		}
	}
	for text, id := range tables.Special {
		if err := add(text, id, text); err != nil {
			return err
		}
	}
	return nil
}

// Size is one more than the greatest id.
func (t *Tokenizer) Size() int { return len(t.tokens) }

// Special is the id of a special token.
func (t *Tokenizer) Special(text string) (id int32, ok bool) { return t.special.ID(text) }

// Encode returns the ids of text, in which special tokens may be named. Every byte that is not valid UTF-8 counts as one
// U+FFFD.
func (t *Tokenizer) Encode(text string) []int32 {
	var ids []int32
	var m bpe.Merger
	var word []int32
	plain := func(text string) {
		for rest := norm.NFC.String(text); rest != ""; {
			n := wordLength(rest)
			word = word[:0]
			for _, b := range []byte(rest[:n]) {
				word = append(word, t.byteID[b])
			}
			ids = m.Merge(ids, t.merged, word)
			rest = rest[n:]
		}
	}
	t.special.Cut(text, plain, func(id int32) { ids = append(ids, id) })
	return ids
}

// Decode returns the text of ids; U+FFFD stands for ids that there are not and for bytes that form no character.
func (t *Tokenizer) Decode(ids []int32) string {
	var b strings.Builder
	for _, id := range ids {
		if id < 0 || int(id) >= len(t.tokens) || t.tokens[id] == "" {
			b.WriteRune(utf8.RuneError)
			continue
		}
		b.WriteString(t.tokens[id])
	}
	return strings.ToValidUTF8(b.String(), string(utf8.RuneError))
}
