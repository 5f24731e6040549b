package transformer

import (
	"context"
	"fmt"

	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/pipeline"
	"github.com/sdgo/sdgo/sd/prompt"
	"github.com/sdgo/sdgo/sd/qwen"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/sd/tensor"
)

// MaxText bounds a prompt with its template, in tokens: that is how many the diffusers library's pipelines of Z-Image and
// FLUX.2 take. They cut what is more off; here it is an error.
const MaxText = 512

// QwenText is a Qwen3, or a Qwen2.5, that encodes prompts, as [pipeline.Text] says. A prompt is a text for a language model: brackets
// and weights of CLIP's grammar reach it as they are written.
type QwenText struct {
	Encoder *qwen.Encoder
	Think   bool   // the answer of the template begins with no empty thoughts
	Layers  []int  // whose states are side by side: the layers after which they are taken
	Pad     bool   // texts are filled up to MaxText
	Name    string // of the input of conditions

	// Template, if not nil, makes the text of a prompt in place of the chat's, of which the first Drop tokens' states are left
	// out. Most, if not 0, bounds the tokens after these in place of MaxText.
	Template func(prompt string) string
	Drop     int
	Most     int
}

// most bounds the tokens of a text.
func (t *QwenText) most() int {
	if t.Most > 0 {
		return t.Drop + t.Most
	}
	return MaxText
}

// textKey identifies a text that an encoder has encoded.
type textKey struct {
	t    *QwenText
	text string
}

// tokens are those of a prompt in its template, without padding.
func (t *QwenText) tokens(text string) []int32 {
	text = prompt.WithoutTags(text)
	if t.Template != nil {
		return t.Encoder.Tokenizer.Encode(t.Template(text))
	}
	return t.Encoder.Tokenizer.Encode(qwen.Chat(text, t.Think))
}

// Encode encodes a prompt.
func (t *QwenText) Encode(ctx context.Context, text string, _ bool, _ *request.Resolved, with pipeline.Extras, memo pipeline.Memo) (pipeline.Condition, error) {
	key := textKey{t, text}
	if c, ok := memo[key].(pipeline.Condition); ok {
		return c, nil
	}
	length := 0
	if t.Pad {
		length = MaxText
	}
	states, err := t.Encoder.EncodePadded(ctx, t.tokens(text), length, t.Layers, with.Adapters.Text())
	if err != nil {
		return pipeline.Condition{}, err
	}
	all := sideBySide(states)
	if t.Drop > 0 {
		all = tensor.Of(all.Data[t.Drop*all.Width():], all.Height()-t.Drop, all.Width())
	}
	c := pipeline.Condition{Inputs: []engine.Named{{Name: t.Name, Shape: all.Shape, Data: all.Data}}}
	if memo != nil {
		memo[key] = c
	}
	return c, nil
}

// sideBySide joins the states of several layers along the width.
func sideBySide(states []tensor.Tensor) tensor.Tensor {
	if len(states) == 1 {
		return states[0]
	}
	length, width := states[0].Height(), states[0].Width()
	out := tensor.New(length, len(states)*width)
	for i := range length {
		for k, s := range states {
			copy(out.Data[(i*len(states)+k)*width:][:width], s.Data[i*width:][:width])
		}
	}
	return out
}

// Chunks is 1: a text is one run of the encoder. It is an error if it is too long.
func (t *QwenText) Chunks(text string, _ pipeline.Extras) (int, error) {
	if n := len(t.tokens(text)); n > t.most() {
		return 0, &prompt.LimitError{What: fmt.Sprintf("tokens with the template of the chat, %.40q …", text), Got: n, Max: t.most()}
	}
	return 1, nil
}

// Check checks the request's fields about the encoder.
func (t *QwenText) Check(q *request.Resolved, e *request.Error) { CheckPlain(q, e) }

// Idle frees what the encoder holds until the next text.
func (t *QwenText) Idle() { t.Encoder.Network().Rest() }
