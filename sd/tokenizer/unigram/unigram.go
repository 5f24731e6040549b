// Package unigram turns text into the token ids of T5's text encoders, which FLUX.1, Stable Diffusion 3, Chroma, PixArt
// and DeepFloyd IF have, and of umT5.
//
// It follows the transformers library's T5Tokenizer: the text is normalized by the vocabulary's own table (SentencePiece's
// nmt_nfkc, a form of NFKC), split at white space, each word gets the mark ▁ before it, and is cut into the pieces whose
// probabilities' product is the greatest (unigram language model, Kudo 2018).
//
// A Tokenizer is immutable: every method may be called from many goroutines at once. No input text, valid UTF-8 or not,
// makes it fail or panic; encoding takes time in proportion to the text and the longest piece.
package unigram

import (
	"fmt"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sdgo/sdgo/sd/tokenizer/special"
)

const (
	mark = "▁" // before each word

	// The largest vocabulary in use, umT5's, has 256,384 pieces.
	maxPieces = 1 << 20
	maxPiece  = 1 << 9 // bytes

	// What is not in the vocabulary is this much less probable than its least probable piece, as a logarithm.
	unknownPenalty = 10
)

// Piece is an entry of the vocabulary.
type Piece struct {
	Text  string
	Score float64 // the logarithm of its probability
}

// Tables are a vocabulary as files have it.
type Tables struct {
	Pieces   []Piece          // by id
	Unknown  int32            // the id of what is not in it
	Special  map[string]int32 // tokens that a text may name, as they are
	CharsMap []byte           // SentencePiece's compiled table of the normalization; none if empty
}

// Tokenizer encodes text. Make one with [New], [FromSentencePiece] or [FromJSON].
type Tokenizer struct {
	pieces  []Piece
	ids     map[string]int32
	unknown int32
	least   float64 // the score of what is not in the vocabulary
	tree    tree
	special special.Tokens
	size    int
	chars   *charsMap
}

// New returns a tokenizer for a vocabulary. The error names the piece that is wrong.
func New(tables Tables) (*Tokenizer, error) {
	n := len(tables.Pieces)
	if n < 1 || n > maxPieces {
		return nil, fmt.Errorf("tokenizer: must have 1 to %d pieces, got %d", maxPieces, n)
	}
	if tables.Unknown < 0 || int(tables.Unknown) >= n {
		return nil, fmt.Errorf("tokenizer: the unknown piece must be one of the %d, got %d", n, tables.Unknown)
	}
	t := &Tokenizer{pieces: tables.Pieces, ids: make(map[string]int32, n), unknown: tables.Unknown, least: math.Inf(1)}
	for i, p := range t.pieces {
		if len(p.Text) > maxPiece {
			return nil, fmt.Errorf("tokenizer: piece %d has %d bytes, must be at most %d", i, len(p.Text), maxPiece)
		}
		if math.IsNaN(p.Score) || math.IsInf(p.Score, 0) {
			return nil, fmt.Errorf("tokenizer: piece %d, %.40q, has the score %g", i, p.Text, p.Score)
		}
		t.ids[p.Text] = int32(i)
		t.least = min(t.least, p.Score)
	}
	t.least -= unknownPenalty
	t.tree = newTree(t.ids)
	t.special, t.size = special.New(tables.Special), n
	for text, id := range tables.Special {
		if text == "" || len(text) > maxPiece || id < 0 || id >= 2*maxPieces {
			return nil, fmt.Errorf("tokenizer: special token %.40q has the id %d", text, id)
		}
		t.size = max(t.size, int(id)+1)
	}
	if len(tables.CharsMap) > 0 {
		var err error
		if t.chars, err = newCharsMap(tables.CharsMap); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// Size is one more than the greatest id.
func (t *Tokenizer) Size() int { return t.size }

// ID is that of a piece or of a special token.
func (t *Tokenizer) ID(text string) (id int32, ok bool) {
	if id, ok := t.special.ID(text); ok {
		return id, true
	}
	id, ok = t.ids[text]
	return id, ok
}

// Encode returns the ids of text, without the one that ends it (</s>). Special tokens may be named in the text. Every byte
// that is not valid UTF-8 counts as one U+FFFD.
func (t *Tokenizer) Encode(text string) []int32 {
	var ids []int32
	var l lattice
	plain := func(text string) {
		if t.chars != nil {
			text = t.chars.normalize(text)
		}
		for word := range strings.FieldsFuncSeq(text, unicode.IsSpace) {
			for _, w := range marked(word) {
				ids = t.cut(ids, w, &l)
			}
		}
	}
	t.special.Cut(text, plain, func(id int32) { ids = append(ids, id) })
	return ids
}

// marked puts a mark before a word, unless it has one, and cuts it before each mark.
func marked(word string) []string {
	if !strings.HasPrefix(word, mark) {
		word = mark + word
	}
	if strings.LastIndex(word, mark) == 0 {
		return []string{word}
	}
	var all []string
	for word != "" {
		next := strings.Index(word[len(mark):], mark)
		if next < 0 {
			return append(all, word)
		}
		all = append(all, word[:len(mark)+next])
		word = word[len(mark)+next:]
	}
	return all
}

// lattice has, for each byte of a word, the best way to it: the piece that ends there and where that begins.
type lattice struct {
	score []float64
	from  []int32 // -1: none yet
	id    []int32
	cuts  []int32
}

// cut appends the ids of a word, which is not empty: the pieces with the greatest sum of scores (Viterbi's algorithm);
// of equal ones the first that is found, as in the tokenizers library. What is unknown side by side is one piece.
func (t *Tokenizer) cut(ids []int32, word string, l *lattice) []int32 {
	n := len(word) + 1
	l.score, l.from, l.id = grown(l.score, n), grown(l.from, n), grown(l.id, n)
	for i := range n {
		l.from[i] = -1
	}
	l.score[0] = 0
	reach := func(from, to int, id int32, score float64) {
		if l.from[to] < 0 || score > l.score[to] {
			l.from[to], l.id[to], l.score[to] = int32(from), id, score
		}
	}
	for at := 0; at < len(word); {
		_, size := utf8.DecodeRuneInString(word[at:])
		single := false
		t.tree.prefixes(word[at:], func(length int, id int32) {
			reach(at, at+length, id, l.score[at]+t.pieces[id].Score)
			single = single || length == size
		})
		if !single {
			reach(at, at+size, t.unknown, l.score[at]+t.least)
		}
		at += size
	}
	l.cuts = l.cuts[:0]
	for at := int32(len(word)); at > 0; at = l.from[at] {
		l.cuts = append(l.cuts, at)
	}
	from := int32(0)
	for i := len(l.cuts) - 1; i >= 0; i-- {
		to := l.cuts[i]
		if l.id[to] == t.unknown && i > 0 && l.id[l.cuts[i-1]] == t.unknown {
			continue
		}
		id, ok := t.ids[word[from:to]]
		if !ok {
			id = t.unknown
		}
		ids = append(ids, id)
		from = to
	}
	return ids
}

func grown[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, 2*n)
	}
	return s[:n]
}
