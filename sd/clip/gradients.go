package clip

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/sd/prompt"
)

// output is the network's output with the states after some layers.
func (e *Encoder) output(layers int) string {
	if e.Config.NoFinalNorm {
		return fmt.Sprintf("state.%d", layers)
	}
	return fmt.Sprintf("hidden.%d", layers)
}

// Seed is the gradient of some scalar by what [Encoder.Encode] returns for a text and the
// model's own clip skip.
type Seed struct {
	Tokens []float32 // of each chunk, [chunks, tokens, width]
	Pooled []float32 // nil: none
}

// Gradients are those of some scalar by the vectors of with.Words, [Length, width] each:
// what textual inversion is trained with (Gal et al. 2022, arXiv:2208.01618). No token may
// have a weight but 1.
func (e *Encoder) Gradients(ctx context.Context, segments []prompt.Segment, with Extras, seed Seed) ([][]float32, error) {
	width := e.Config.Width
	all := make([][]float32, len(with.Words))
	for i, w := range with.Words {
		all[i] = make([]float32, w.Length()*width)
	}
	by := make([]float32, e.Config.ContextLength*width)
	outputs := func(c prompt.Chunk) []cgo.Output {
		if len(c.Places) == 0 {
			return nil // no word
		}
		return []cgo.Output{{Name: "d:vectors", Data: by}}
	}
	err := e.differentiate(ctx, segments, with, seed, outputs, func(c prompt.Chunk) {
		for _, p := range c.Places {
			dst := all[p.Word/2][p.Vector*width:][:width]
			for k, v := range by[p.At*width:][:width] {
				dst[k] += v
			}
		}
	})
	return all, err
}

// FactorGradients computes outputs "d:adapter:…" of with.Run, the gradients of a scalar by
// changes that are trained, for each chunk, and calls add after each. No token may have a
// weight but 1.
func (e *Encoder) FactorGradients(ctx context.Context, segments []prompt.Segment, with Extras, seed Seed, out []cgo.Output, add func()) error {
	return e.differentiate(ctx, segments, with, seed, func(prompt.Chunk) []cgo.Output { return out }, func(prompt.Chunk) { add() })
}

// differentiate runs each chunk that has outputs.
func (e *Encoder) differentiate(ctx context.Context, segments []prompt.Segment, with Extras, seed Seed, outputs func(prompt.Chunk) []cgo.Output, add func(prompt.Chunk)) error {
	each := e.Config.ContextLength * e.Config.Width
	chunks, err := e.Chunks(segments, with)
	if err != nil {
		return err
	}
	if len(seed.Tokens) != len(chunks)*each {
		return fmt.Errorf("the gradient of %d chunks must have %d elements, got %d", len(chunks), len(chunks)*each, len(seed.Tokens))
	}
	for i, chunk := range chunks {
		if slices.ContainsFunc(chunk.Weights, func(w float32) bool { return w != 1 }) {
			return errors.New("gradients of prompts with weights are not computed")
		}
		out := outputs(chunk)
		if out == nil {
			continue
		}
		of := Seed{Tokens: seed.Tokens[i*each:][:each]}
		if i == 0 {
			of.Pooled = seed.Pooled
		}
		in, err := e.seeds(chunk, of)
		if err != nil {
			return err
		}
		words, err := e.vectors(chunk, with)
		if err != nil {
			return err
		}
		in = append(in, words...)
		in = append(in, cgo.Input{Name: "tokens", Shape: []int64{1, int64(e.Config.ContextLength)}, I32: chunk.Tokens})
		if err := e.run(ctx, in, out, with); err != nil {
			return err
		}
		add(chunk)
	}
	return nil
}

// seeds are the inputs that are gradients of a chunk's outputs.
func (e *Encoder) seeds(chunk prompt.Chunk, seed Seed) ([]cgo.Input, error) {
	length, width := e.Config.ContextLength, e.Config.Width
	layers, err := e.Layers(0)
	if err != nil {
		return nil, err
	}
	shape := []int64{1, int64(length), int64(width)}
	states, last := e.output(layers), fmt.Sprintf("hidden.%d", e.Config.Layers)
	if seed.Pooled == nil {
		return []cgo.Input{{Name: "d_" + states, Shape: shape, F32: seed.Tokens}}, nil
	}
	if len(seed.Pooled) != e.Config.Pooled {
		return nil, fmt.Errorf("the gradient of the pooled output must have %d elements, got %d", e.Config.Pooled, len(seed.Pooled))
	}
	// The pooled output is made of the state of the text's end.
	by := make([]float32, length*width)
	if states == last {
		copy(by, seed.Tokens)
	}
	row := by[e.end(chunk)*width:][:width]
	if err := e.project(func(i, k int, weight float32) { row[i] += weight * seed.Pooled[k] }); err != nil {
		return nil, err
	}
	in := []cgo.Input{{Name: "d_" + last, Shape: shape, F32: by}}
	if states != last {
		in = append(in, cgo.Input{Name: "d_" + states, Shape: shape, F32: seed.Tokens})
	}
	return in, nil
}

// Rows are the embeddings of a text's tokens, one row for each.
func (e *Encoder) Rows(text string) ([][]float32, error) {
	name := e.Config.Prefix + "text_model.embeddings.token_embedding.weight"
	t, ok := e.host.Weights.Tensor(name)
	if !ok {
		return nil, fmt.Errorf("tensor %q is missing", name)
	}
	table := make([]float32, t.Elements())
	if err := t.Float32(table); err != nil {
		return nil, err
	}
	var rows [][]float32
	for _, id := range e.tokenizer.Encode(text) {
		rows = append(rows, slices.Clone(table[int(id)*e.Config.Width:][:e.Config.Width]))
	}
	return rows, nil
}
