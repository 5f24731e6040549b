package prompt

import "slices"

// Content is the number of a prompt's tokens in a chunk: CLIP's context length, 77, less start and end of text.
const Content = 75

// defaultMaxChunks limits prompts to 9,600 tokens: each chunk costs another run of the text encoder, and longer
// cross-attention in every step.
const defaultMaxChunks = 128

// Tokenizer has the methods of a tokenizer that Chunks needs; *tokenizer.Tokenizer has them.
type Tokenizer interface {
	Encode(text string) []int32
	BOS() int32
	EOS() int32
}

// Options says how segments are laid out in chunks. Its zero value, with the right Pad, lays them out as
// stable-diffusion.cpp does.
type Options struct {
	// Content is the number of tokens of a chunk without start and end: the text encoder's context length less 2.
	// Zero means 75.
	Content int

	// Pad fills a chunk after its end of text: EOS for SD 1.x, 0 for SD 2.x (OpenCLIP).
	Pad int32

	// CommaBacktrack n > 0: if a chunk ends within n tokens of its last comma, the tokens after that comma move to the
	// next chunk. This is AUTOMATIC1111's "Prompt word wrap length limit", by default 20; stable-diffusion.cpp has none.
	CommaBacktrack int

	// WebUIBreak selects AUTOMATIC1111's BREAK: it ends the chunk even if that is empty, and Pad fills the rest.
	// Otherwise BREAK is as in stable-diffusion.cpp: EOS fills the rest of the chunk, and nothing happens if the chunk
	// is empty. The two differ for a BREAK at the start, a BREAK after BREAK, and if Pad is not EOS.
	WebUIBreak bool

	// MaxChunks is the largest number of chunks. Zero means 128.
	MaxChunks int

	// Words are words that have vectors of their own (textual inversion). A prompt has one where its tokens have the
	// word's, the longest one if several do. As in AUTOMATIC1111, a word takes as many places as it has vectors, all in
	// one chunk.
	Words []Word
}

// Word is a word with vectors of its own.
type Word struct {
	Tokens []int32 // of the word as text; none is no word
	Length int     // the number of its vectors, at least 1
}

// Place is a token of a chunk that stands for a vector of a word.
type Place struct {
	At     int // index in Chunk.Tokens
	Word   int // index in Options.Words
	Vector int // of that word
}

// Chunk is the text encoder's input for one run.
type Chunk struct {
	Tokens  []int32   // [Content+2]: start of text, the prompt's tokens, end of text, padding
	Weights []float32 // [Content+2]: the weight of each token; 1 for start, end and padding
	Places  []Place   // of words' vectors, whose tokens mean nothing
}

// Chunks tokenizes segments one by one and lays their tokens out in as few chunks as possible, at least one. A prompt
// that needs more than MaxChunks is a *LimitError.
func Chunks(segments []Segment, tok Tokenizer, o Options) ([]Chunk, error) {
	if o.Content <= 0 {
		o.Content = Content
	}
	if o.MaxChunks <= 0 {
		o.MaxChunks = defaultMaxChunks
	}
	l := layout{Options: o, bos: tok.BOS(), eos: tok.EOS(), comma: commaOf(tok), lastComma: -1}
	for _, s := range segments {
		if len(l.chunks) > o.MaxChunks {
			break
		}
		if s.Break {
			l.breakHere()
			continue
		}
		if err := l.addAll(tok.Encode(s.Text), float32(s.Weight)); err != nil {
			return nil, err
		}
	}
	if len(l.tokens) > 0 || len(l.chunks) == 0 {
		l.flush()
	}
	if len(l.chunks) > o.MaxChunks {
		return nil, &LimitError{What: "chunks of tokens", Got: len(l.chunks), Max: o.MaxChunks}
	}
	return l.chunks, nil
}

// commaOf returns the id of a comma, or -1 if the tokenizer has no single id for it.
func commaOf(tok Tokenizer) int32 {
	if ids := tok.Encode(","); len(ids) == 1 {
		return ids[0]
	}
	return -1
}

// layout fills chunk after chunk.
type layout struct {
	Options
	bos, eos, comma int32

	chunks    []Chunk
	tokens    []int32 // of the chunk that is being filled, at most Content
	weights   []float32
	places    []Place // with At in tokens
	lastComma int     // its index in tokens, -1 if there is none
}

// addAll adds a segment's tokens, with places for the vectors of words.
func (l *layout) addAll(ids []int32, weight float32) error {
	for len(ids) > 0 {
		w := l.wordAt(ids)
		if w < 0 {
			l.add(ids[0], weight)
			ids = ids[1:]
			continue
		}
		n := l.Words[w].Length
		if n > l.Content {
			return &LimitError{What: "vectors of one word", Got: n, Max: l.Content}
		}
		if len(l.tokens)+n > l.Content {
			l.flush()
		}
		for i := range n {
			l.places = append(l.places, Place{len(l.tokens), w, i})
			l.tokens, l.weights = append(l.tokens, 0), append(l.weights, weight)
		}
		ids = ids[len(l.Words[w].Tokens):]
	}
	return nil
}

// wordAt is the longest word that tokens begin with; -1 if there is none.
func (l *layout) wordAt(ids []int32) int {
	longest := -1
	for i, w := range l.Words {
		n := len(w.Tokens)
		if n > 0 && n <= len(ids) && (longest < 0 || n > len(l.Words[longest].Tokens)) && slices.Equal(w.Tokens, ids[:n]) {
			longest = i
		}
	}
	return longest
}

func (l *layout) add(id int32, weight float32) {
	if id == l.comma {
		l.lastComma = len(l.tokens)
	}
	if len(l.tokens) == l.Content {
		keep := l.Content
		if id != l.comma && l.lastComma >= 0 && l.Content-l.lastComma <= l.CommaBacktrack {
			keep = l.lastComma + 1
		}
		tokens, weights := l.tokens[keep:], l.weights[keep:]
		moved := slices.IndexFunc(l.places, func(p Place) bool { return p.At >= keep })
		var places []Place
		if moved >= 0 {
			places = slices.Clone(l.places[moved:])
			l.places = l.places[:moved]
		}
		for i := range places {
			places[i].At -= keep
		}
		l.tokens, l.weights = l.tokens[:keep], l.weights[:keep]
		l.flush()
		l.tokens, l.weights, l.places = tokens, weights, places
	}
	l.tokens = append(l.tokens, id)
	l.weights = append(l.weights, weight)
}

func (l *layout) breakHere() {
	if l.WebUIBreak {
		l.flush()
		return
	}
	if len(l.tokens) == 0 {
		return
	}
	for len(l.tokens) < l.Content {
		l.tokens = append(l.tokens, l.eos)
		l.weights = append(l.weights, 1)
	}
}

// flush ends the chunk and starts an empty one.
func (l *layout) flush() {
	size := l.Content + 2
	c := Chunk{Tokens: make([]int32, 0, size), Weights: make([]float32, 0, size)}
	c.Tokens = append(append(append(c.Tokens, l.bos), l.tokens...), l.eos)
	c.Weights = append(append(append(c.Weights, 1), l.weights...), 1)
	c.Tokens = append(c.Tokens, slices.Repeat([]int32{l.Pad}, size-len(c.Tokens))...)
	c.Weights = append(c.Weights, slices.Repeat([]float32{1}, size-len(c.Weights))...)
	for _, p := range l.places {
		p.At++ // after the start of text
		c.Places = append(c.Places, p)
	}
	l.chunks = append(l.chunks, c)
	l.tokens, l.weights, l.places, l.lastComma = nil, nil, nil, -1
}
