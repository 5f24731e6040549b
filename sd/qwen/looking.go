package qwen

import (
	"context"
	"fmt"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/tensor"
)

// MaxPictures bounds how many pictures a text has.
const MaxPictures = 8

// PictureToken is what stands for a picture in a text.
const PictureToken = "<|image_pad|>"

// Pictured splits the tokens of a text with so many pictures where these are. It is an error if PictureToken is there more
// or fewer times, or nothing is before, between, or after them.
func (e *Encoder) Pictured(ids []int32, pictures int) ([][]int32, error) {
	mark, ok := e.Tokenizer.Special(PictureToken)
	if !ok {
		return nil, fmt.Errorf("the model's tokenizer must have the special token %s", PictureToken)
	}
	texts := [][]int32{nil}
	for _, id := range ids {
		if id == mark {
			texts = append(texts, nil)
			continue
		}
		texts[len(texts)-1] = append(texts[len(texts)-1], id)
	}
	if n := len(texts) - 1; n != pictures {
		return nil, fmt.Errorf("a prompt must not have %s, which stands for a picture, got it %d times beside %d pictures", PictureToken, n-pictures, pictures)
	}
	for _, text := range texts {
		if len(text) == 0 {
			return nil, fmt.Errorf("there must be text before, between and after pictures")
		}
	}
	return texts, nil
}

// EncodePictured is [Encoder.Encode] of texts with a picture between one and the next: Qwen2.5-VL with what its [Tower] sees.
// The states are those of all tokens. A picture's tokens have the place in time where the text before it ends, and from there on
// rows and columns; the text goes on after the largest of these, as transformers' get_rope_index has it.
func (e *Encoder) EncodePictured(ctx context.Context, texts [][]int32, pictures []Seen, layers []int, with *engine.Adaptation) ([]tensor.Tensor, error) {
	if len(pictures) > MaxPictures || len(texts) != len(pictures)+1 {
		return nil, fmt.Errorf("there must be at most %d pictures, and a text more than these, got %d and %d", MaxPictures, len(pictures), len(texts))
	}
	var places [][3]int
	var in []cgo.Input
	next := 0
	for k, ids := range texts {
		name := "tokens"
		if k > 0 {
			p := pictures[k-1]
			for i := range p.Rows * p.Columns {
				places = append(places, [3]int{next, next + i/p.Columns, next + i%p.Columns})
			}
			next += max(p.Rows, p.Columns)
			in = append(in, cgo.Input{Name: fmt.Sprintf("picture.%d", k-1), Shape: p.Tokens.Batch(1), F32: p.Tokens.Data})
			name = fmt.Sprintf("after.%d", k-1)
		}
		for range ids {
			places = append(places, [3]int{next, next, next})
			next++
		}
		in = append(in, cgo.Input{Name: name, Shape: []int64{1, int64(len(ids))}, I32: ids})
	}
	if n := len(places); n > MaxTokens {
		return nil, fmt.Errorf("a text with its pictures must have at most %d tokens, got %d", MaxTokens, n)
	}
	return e.states(ctx, append(in, e.turns(places)...), len(places), layers, with)
}
