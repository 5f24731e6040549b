// Package t5 runs T5's text encoders: T5 1.1, which FLUX.1, Stable Diffusion 3, Chroma, PixArt and DeepFloyd IF have, and
// umT5. A text becomes the hidden states of its tokens, as in transformers' T5EncoderModel and UMT5EncoderModel.
package t5

import (
	"context"
	"fmt"
	"math"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/tensor"
	"github.com/sdgo/sdgo/sd/tokenizer/unigram"
)

// Tokens that every vocabulary of T5 has.
const (
	padding = 0
	end     = 1 // </s>
)

// MaxTokens bounds the length of a text, in tokens: memory grows with its square.
const MaxTokens = 4096

// Encoder is a text encoder. Its methods may be called from any goroutine.
type Encoder struct {
	Config convert.T5Config

	net       *engine.Network
	tokenizer *unigram.Tokenizer
}

// New creates the text encoder of a file, whose names have the prefix. It is an error if the tokenizer has more tokens
// than the encoder.
func New(h *engine.Host, prefix string, c convert.T5Config, t *unigram.Tokenizer) (*Encoder, error) {
	if size := t.Size(); c.Vocabulary < size {
		return nil, fmt.Errorf("T5 must have at least the tokenizer's %d tokens, got %d", size, c.Vocabulary)
	}
	net, err := h.NewNetwork(engine.Spec{Role: engine.RoleText, Title: "T5", Arch: "t5_encoder", Prefix: prefix, Params: c.Params()})
	if err != nil {
		return nil, err
	}
	return &Encoder{Config: c, net: net, tokenizer: t}, nil
}

// Network is the encoder's network.
func (e *Encoder) Network() *engine.Network { return e.net }

// Tokens are a text's tokens with the one that ends it, at most so many: what is more is cut off, and left says how many
// tokens that are.
func (e *Encoder) Tokens(text string, most int) (ids []int32, left int) {
	ids = e.tokenizer.Encode(text)
	if n := len(ids) - (most - 1); n > 0 {
		ids, left = ids[:most-1], n
	}
	return append(ids, end), left
}

// Padded are tokens with padding after them, for models that attend to it: FLUX.1 and Stable Diffusion 3.
func Padded(ids []int32, length int) []int32 {
	out := make([]int32, max(length, len(ids))) // padding is 0
	copy(out, ids)
	return out
}

// Encode returns the hidden states of tokens, [tokens, Width]. All tokens attend to each other: what padding a model masks is
// left out.
func (e *Encoder) Encode(ctx context.Context, ids []int32, with *engine.Adaptation) (tensor.Tensor, error) {
	return e.EncodeMasked(ctx, ids, len(ids), with)
}

// masked is what is added to products with a token that is not seen.
const masked = -1e9

// EncodeMasked is Encode of tokens of which only the first so many are attended to: Chroma sees the state of a token of padding,
// which no token attends to.
func (e *Encoder) EncodeMasked(ctx context.Context, ids []int32, seen int, with *engine.Adaptation) (tensor.Tensor, error) {
	n := len(ids)
	if seen < 1 || seen > n {
		seen = n
	}
	if n < 1 || n > MaxTokens {
		return tensor.Tensor{}, fmt.Errorf("a text must have 1 to %d tokens, got %d", MaxTokens, n)
	}
	out := tensor.New(n, e.Config.Width)
	in := []cgo.Input{
		{Name: "tokens", Shape: []int64{1, int64(n)}, I32: ids},
		{Name: "buckets", Shape: []int64{int64(n), int64(n)}, I32: buckets(n, e.Config.Buckets)},
	}
	if seen < n {
		mask := make([]float32, n)
		for i := range mask[seen:] {
			mask[seen+i] = masked
		}
		in = append(in, cgo.Input{Name: "mask", Shape: []int64{int64(n)}, F32: mask})
	}
	if err := e.net.Run(ctx, in, []cgo.Output{{Name: "hidden", Data: out.Data}}, with); err != nil {
		return tensor.Tensor{}, err
	}
	if !tensor.Finite(out.Data) {
		return tensor.Tensor{}, e.net.NotFinite()
	}
	return out, nil
}

// farthest is the distance from which on all have one bucket.
const farthest = 128

// buckets has the number of the bucket of each pair of positions, [query, key].
func buckets(length, count int) []int32 {
	all := make([]int32, length*length)
	for q := range length {
		for k := range length {
			all[q*length+k] = bucket(k-q, count)
		}
	}
	return all
}

// bucket is the one of a distance: half of the buckets are for tokens that come later; of each half, half are for one
// distance each, and the others for distances that grow by a factor (Raffel et al. 2020, section 2.1).
func bucket(distance, count int) int32 {
	half := count / 2
	first := 0
	if distance > 0 {
		first = half
	}
	near, far := half/2, max(distance, -distance)
	if far < near {
		return int32(first + far)
	}
	// In float32, as the reference computes it.
	grown := float32(math.Log(float64(float32(far)/float32(near)))) / float32(math.Log(farthest/float64(near))) * float32(half-near)
	return int32(first + min(near+int(grown), half-1))
}
