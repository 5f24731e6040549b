// Package tokenizer turns text into the token ids of CLIP's text encoders and back.
//
// It follows OpenAI's reference (simple_tokenizer.py in openai/CLIP) and open_clip, which shares it: repair the text,
// undo HTML escapes, collapse white space, lower-case, split into words, and merge each word's bytes by rank
// (byte-pair encoding, Sennrich et al. 2016, over the byte alphabet of GPT-2, Radford et al. 2019).
//
// The repair step is the reference's call of ftfy.fix_text without its guessing of wrong encodings: terminal escapes
// and control characters go, curly quotes become straight, full-width forms and Latin ligatures become plain letters,
// the text is put in normal form C. Programs disagree here (transformers 5 only normalises, stable-diffusion.cpp does
// nothing beyond ASCII); on text without such characters all of them give the same ids, and so does this package.
//
// A Tokenizer is immutable: every method may be called from many goroutines at once. No input text, valid UTF-8 or not,
// makes it fail or panic, and encoding a text of n bytes takes O(n log n) time.
package tokenizer

import (
	"strings"

	"github.com/sdgo/sdgo/sd/tokenizer/bpe"
)

// The two special tokens. In a text they are encoded as their ids, as in the reference.
const (
	startOfText = "<|startoftext|>"
	endOfText   = "<|endoftext|>"
)

// Tokenizer encodes and decodes with one merge table. Make one with CLIP, New or FromVocabulary.
type Tokenizer struct {
	table
}

// Encode returns the ids of text, without start and end of text. The result may have any length, 0 included; ids are in
// [0, Size()). Every byte that is not valid UTF-8 counts as one U+FFFD.
func (t *Tokenizer) Encode(text string) []int32 {
	var ids []int32
	var m bpe.Merger
	for rest := clean(text); rest != ""; {
		word := rest[:wordLength(rest)]
		rest = rest[len(word):]
		switch {
		case word == startOfText:
			ids = append(ids, t.BOS())
		case word == endOfText:
			ids = append(ids, t.EOS())
		case !isGap(word):
			ids = m.Merge(ids, t.merged, t.spelled(word))
		}
	}
	return ids
}

// Decode returns the text of ids: words in lower case, each followed by one space. Special tokens are written out, and
// U+FFFD stands for ids outside [0, Size()) and for bytes that form no character.
func (t *Tokenizer) Decode(ids []int32) string {
	var b strings.Builder
	for _, id := range ids {
		switch {
		case id >= 0 && int(id) < len(t.symbols):
			s := t.symbols[id]
			b.WriteString(s.bytes)
			if s.endsWord {
				b.WriteByte(' ')
			}
		case id == t.BOS():
			b.WriteString(startOfText)
		case id == t.EOS():
			b.WriteString(endOfText)
		default:
			b.WriteRune(replacement)
		}
	}
	return eachInvalidByteReplaced(b.String())
}

// BOS returns the id of start of text: 49406 in CLIP's own table.
func (t *Tokenizer) BOS() int32 { return int32(len(t.symbols)) }

// EOS returns the id of end of text, always one above BOS: 49407 in CLIP's own table.
func (t *Tokenizer) EOS() int32 { return t.BOS() + 1 }

// Size returns the number of ids, which is the number of rows of a model's token embedding: 49408 for CLIP's own table.
func (t *Tokenizer) Size() int { return len(t.symbols) + 2 }
