package t5

import (
	"context"
	"errors"
	"strings"

	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/prompt"
	"github.com/sdgo/sdgo/sd/tensor"
	"github.com/sdgo/sdgo/sd/tokenizer/unigram"
)

// ReadTokenizer reads a vocabulary: a file tokenizer.json of the tokenizers library, or SentencePiece's spiece.model.
func ReadTokenizer(data []byte) (*unigram.Tokenizer, error) {
	if len(data) == 0 {
		return nil, errors.New("there is no vocabulary of T5 beside the model: give its tokenizer.json or spiece.model (--t5-tokenizer FILE)")
	}
	if data[0] == '{' {
		return unigram.FromJSON(data)
	}
	return unigram.FromSentencePiece(data)
}

// Prompt is a prompt's tokens, with the one that ends it, and for each a weight that its state is multiplied by.
type Prompt struct {
	Tokens  []int32
	Weights []float32
}

// Prompt turns the segments of a prompt into tokens. Text whose weights are all 1 is one text; else each segment is one
// of its own, as in ComfyUI. It is an error if there are more than most tokens.
func (e *Encoder) Prompt(segments []prompt.Segment, most int) (p Prompt, err error) {
	plain := true
	for _, s := range segments {
		plain = plain && s.Weight == 1
	}
	if plain {
		var whole strings.Builder
		for _, s := range segments {
			if whole.WriteString(s.Text); s.Break {
				whole.WriteString(" ")
			}
		}
		segments = []prompt.Segment{{Text: whole.String(), Weight: 1}}
	}
	for _, s := range segments {
		for _, id := range e.tokenizer.Encode(s.Text) {
			p.Tokens, p.Weights = append(p.Tokens, id), append(p.Weights, float32(s.Weight))
		}
	}
	p.Tokens, p.Weights = append(p.Tokens, end), append(p.Weights, 1)
	if n := len(p.Tokens); n > most {
		return p, &prompt.LimitError{What: "tokens of T5, of which the model sees no more", Got: n, Max: most}
	}
	return p, nil
}

// EncodePadded returns the states of a prompt's tokens and of padding up to a length, which all attend to each other, as FLUX.1
// and Stable Diffusion 3 see them.
func (e *Encoder) EncodePadded(ctx context.Context, p Prompt, length int, with *engine.Adaptation) (tensor.Tensor, error) {
	z, err := e.Encode(ctx, Padded(p.Tokens, length), with)
	if err != nil {
		return z, err
	}
	e.weigh(z, p)
	return z, nil
}

// EncodeWithOnePad returns the states of a prompt's tokens and of one token of padding, which none attends to, as Chroma sees them:
// of at most so many tokens.
func (e *Encoder) EncodeWithOnePad(ctx context.Context, p Prompt, most int, with *engine.Adaptation) (tensor.Tensor, error) {
	return e.EncodeBeside(ctx, p, min(len(p.Tokens)+1, most), with)
}

// EncodeBeside returns the states of a prompt's tokens and of padding up to a length. No token attends to the padding, and its states
// count, as DeepFloyd IF has it.
func (e *Encoder) EncodeBeside(ctx context.Context, p Prompt, length int, with *engine.Adaptation) (tensor.Tensor, error) {
	z, err := e.EncodeMasked(ctx, Padded(p.Tokens, length), len(p.Tokens), with)
	if err != nil {
		return z, err
	}
	e.weigh(z, p)
	return z, nil
}

// weigh multiplies the states of tokens by their weights.
func (e *Encoder) weigh(z tensor.Tensor, p Prompt) {
	prompt.ApplyWeights(z.Data[:len(p.Tokens)*e.Config.Width], p.Weights, e.Config.Width)
}
