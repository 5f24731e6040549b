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

// Gradients are those of some scalar by the vectors of with.Words, [Length, width] each,
// given its gradient by the tokens that [Encoder.Encode] returns for the same text and the
// model's own clip skip: what textual inversion is trained with (Gal et al. 2022,
// arXiv:2208.01618). No token may have a weight but 1.
func (e *Encoder) Gradients(ctx context.Context, segments []prompt.Segment, with Extras, seed []float32) ([][]float32, error) {
	length, width := e.Config.ContextLength, e.Config.Width
	chunks, err := e.Chunks(segments, with)
	if err != nil {
		return nil, err
	}
	layers, err := e.Layers(0)
	if err != nil {
		return nil, err
	}
	if len(seed) != len(chunks)*length*width {
		return nil, fmt.Errorf("the gradient of %d chunks must have %d elements, got %d", len(chunks), len(chunks)*length*width, len(seed))
	}
	all := make([][]float32, len(with.Words))
	for i, w := range with.Words {
		all[i] = make([]float32, w.Length()*width)
	}
	for i, chunk := range chunks {
		if slices.ContainsFunc(chunk.Weights, func(w float32) bool { return w != 1 }) {
			return nil, errors.New("gradients of prompts with weights are not computed")
		}
		inputs, err := e.vectors(chunk, with)
		if err != nil {
			return nil, err
		}
		if inputs == nil {
			continue // no word
		}
		inputs = append(inputs, cgo.Input{Name: "tokens", Shape: []int64{1, int64(length)}, I32: chunk.Tokens},
			cgo.Input{Name: "d_" + e.output(layers), Shape: []int64{1, int64(length), int64(width)}, F32: seed[i*length*width:][:length*width]})
		by := make([]float32, length*width)
		if err := e.net.Run(ctx, inputs, []cgo.Output{{Name: "d:vectors", Data: by}}, with.Adaptation); err != nil {
			return nil, err
		}
		for _, p := range chunk.Places {
			dst := all[p.Word/2][p.Vector*width:][:width]
			for k, v := range by[p.At*width:][:width] {
				dst[k] += v
			}
		}
	}
	return all, nil
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
