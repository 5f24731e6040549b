package sd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sd/prompt"
)

// embedding is a prompt as the UNet sees it: [length, dim], the text encoders'
// outputs for each token side by side, chunk after chunk.
type embedding struct {
	data   []float32
	length int // tokens, a multiple of the context length
	dim    int

	pooled []float32 // of SDXL: the whole prompt's
	about  []float32 // of SDXL: pooled and what [Model.describe] adds
}

// textEncoder is one of a model's text encoders: SDXL has two.
type textEncoder struct {
	*part
	config  convert.TextConfig
	padding int32 // token behind a chunk's end
	pools   bool  // whether SDXL's UNet wants its pooled output

	mutex      sync.Mutex
	projection []float32 // of the pooled output: x·P of rows [Width, Pooled]; nil until it is needed
}

// encode turns a prompt into its embedding. clipSkip counts as in
// [Request.ClipSkip]; 0 means the model's own.
func (m *Model) encode(ctx context.Context, text string, clipSkip int) (embedding, error) {
	segments, err := parsePrompt(text)
	if err != nil {
		return embedding{}, err
	}
	all := make([]embedding, len(m.texts))
	for i, t := range m.texts {
		if all[i], err = m.encodeWith(ctx, t, segments, clipSkip); err != nil {
			return embedding{}, err
		}
	}
	return sideBySide(all), nil
}

// parsePrompt parses a prompt without tags: no model here knows any.
func parsePrompt(text string) ([]prompt.Segment, error) {
	segments, tags, err := prompt.Parse(text)
	if err == nil && len(tags) > 0 {
		err = &tagError{tags[0]}
	}
	return segments, err
}

// chunks are the tokens that one of the text encoders is given.
func (m *Model) chunks(t *textEncoder, segments []prompt.Segment) ([]prompt.Chunk, error) {
	return prompt.Chunks(segments, m.tokenizer, prompt.Options{Content: t.config.ContextLength - 2, Pad: t.padding})
}

// encodeWith runs one of the text encoders.
func (m *Model) encodeWith(ctx context.Context, t *textEncoder, segments []prompt.Segment, clipSkip int) (embedding, error) {
	length, width := t.config.ContextLength, t.config.Width
	chunks, err := m.chunks(t, segments)
	if err != nil {
		return embedding{}, err
	}
	layers, err := layers(t.config, clipSkip)
	if err != nil {
		return embedding{}, err
	}
	net, err := t.get(ctx)
	if err != nil {
		return embedding{}, err
	}
	e := embedding{length: len(chunks) * length, dim: width, data: make([]float32, len(chunks)*length*width)}
	kind := "hidden"
	if t.config.NoFinalNorm {
		kind = "state"
	}
	for i, chunk := range chunks {
		// One chunk at a time: a graph of one shape serves every prompt.
		z := e.data[i*length*width:][:length*width]
		in := []cgo.Input{{Name: "tokens", Shape: []int64{1, int64(length)}, I32: chunk.Tokens}}
		out := []cgo.Output{{Name: fmt.Sprintf("%s.%d", kind, layers), Data: z}}
		var last []float32
		if t.pools && i == 0 { // the first chunk's speaks for all, as in AUTOMATIC1111 and ComfyUI
			last = make([]float32, length*width)
			out = append(out, cgo.Output{Name: fmt.Sprintf("hidden.%d", t.config.Layers), Data: last})
		}
		if err := net.Run(ctx, in, out); err != nil {
			return embedding{}, inMemory(err, t.device)
		}
		if !finite(z) || !finite(last) {
			return embedding{}, m.notFinite("the text encoder", t.part)
		}
		if last != nil {
			end := max(0, slices.Index(chunk.Tokens, m.tokenizer.EOS()))
			if e.pooled, err = t.pool(last[end*width:][:width]); err != nil {
				return embedding{}, err
			}
		}
		prompt.ApplyWeights(z, chunk.Weights, width)
	}
	return e, nil
}

// pool projects the state behind the end of a text (Radford et al. 2021, §2.4).
func (t *textEncoder) pool(state []float32) ([]float32, error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	c := t.config
	if t.projection == nil {
		w, ok := t.weights.Tensor(c.Projection)
		if !ok {
			return nil, fmt.Errorf("tensor %q is missing: Stable Diffusion XL wants the text encoder's pooled output", c.Prefix+"text_model.text_projection")
		}
		p := make([]float32, w.Elements())
		if err := w.Float32(p); err != nil {
			return nil, err
		}
		t.projection = p
	}
	out := make([]float32, c.Pooled)
	for k := range out {
		sum := 0.0
		for i, x := range state {
			at := i*c.Pooled + k
			if c.ProjectionLinear {
				at = k*c.Width + i
			}
			sum += float64(x) * float64(t.projection[at])
		}
		out[k] = float32(sum)
	}
	return out, nil
}

// sideBySide joins what several text encoders make of one text.
func sideBySide(all []embedding) embedding {
	if len(all) == 1 {
		return all[0]
	}
	joined := embedding{length: all[0].length}
	for _, e := range all {
		joined.dim += e.dim
		if e.pooled != nil {
			joined.pooled = e.pooled
		}
	}
	joined.data = make([]float32, 0, joined.length*joined.dim)
	for i := range joined.length {
		for _, e := range all {
			joined.data = append(joined.data, e.data[i*e.dim:][:e.dim]...)
		}
	}
	return joined
}

// layers is the number of a text encoder's layers that a clip skip runs; 0 is
// the model's own. Files of SD 2.x may lack the last layer, which clip skip 2,
// the model's own, never runs.
func layers(t convert.TextConfig, clipSkip int) (int, error) {
	if clipSkip == 0 {
		clipSkip = t.ClipSkip
	}
	n := t.FinalLayer + t.ClipSkip - clipSkip
	if n < 1 || n > t.Layers {
		low, high := t.FinalLayer+t.ClipSkip-t.Layers, t.FinalLayer+t.ClipSkip-1
		return 0, &RequestError{[]Problem{{"ClipSkip", fmt.Sprintf("%d, %d to %d wanted: the text encoder has %d layers",
			clipSkip, low, high, t.Layers)}}}
	}
	return n, nil
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
