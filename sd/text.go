package sd

import (
	"context"
	"errors"
	"fmt"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/sd/prompt"
)

// embedding is a prompt as the UNet sees it: [length, dim], the text encoder's
// output for each token, chunk after chunk.
type embedding struct {
	data   []float32
	length int // tokens, a multiple of the context length
	dim    int
}

// encode turns a prompt into its embedding. clipSkip counts as in
// [Request.ClipSkip]; 0 means the model's own.
func (m *Model) encode(ctx context.Context, text string, clipSkip int) (embedding, error) {
	segments, tags, err := prompt.Parse(text)
	if err != nil {
		return embedding{}, err
	}
	if len(tags) > 0 {
		return embedding{}, &tagError{tags[0]}
	}
	config := m.weights.Text
	chunks, err := prompt.Chunks(segments, m.tokenizer, prompt.Options{Content: config.ContextLength - 2, Pad: m.padding()})
	if err != nil {
		return embedding{}, err
	}
	layers, err := m.layers(clipSkip)
	if err != nil {
		return embedding{}, err
	}
	net, err := m.text.get()
	if err != nil {
		return embedding{}, err
	}
	e := embedding{length: len(chunks) * config.ContextLength, dim: config.Width}
	e.data = make([]float32, e.length*e.dim)
	name := fmt.Sprintf("hidden.%d", layers)
	for i, chunk := range chunks {
		// One chunk at a time: a graph of one shape serves every prompt.
		z := e.data[i*config.ContextLength*e.dim:][:config.ContextLength*e.dim]
		in := []cgo.Input{{Name: "tokens", Shape: []int64{1, int64(config.ContextLength)}, I32: chunk.Tokens}}
		if err := net.Run(ctx, in, []cgo.Output{{Name: name, Data: z}}); err != nil {
			return embedding{}, err
		}
		if !finite(z) {
			return embedding{}, m.notFinite("the text encoder", m.text)
		}
		prompt.ApplyWeights(z, chunk.Weights, e.dim)
	}
	return e, nil
}

// inField names the field of a request whose text cannot be. Errors that are
// not the text's own stay as they are.
func inField(err error, field string) error {
	var limit *prompt.LimitError
	var weight *prompt.WeightError
	var tag *tagError
	if errors.As(err, &limit) || errors.As(err, &weight) || errors.As(err, &tag) {
		return &RequestError{[]Problem{{field, err.Error()}}}
	}
	return err
}

// tagError is an extra network that the prompt asks for.
type tagError struct{ prompt.Tag }

func (e *tagError) Error() string {
	return fmt.Sprintf("<%s:%s>: extra networks are not supported yet", e.Kind, e.Name)
}
