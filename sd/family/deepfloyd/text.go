package deepfloyd

import (
	"context"
	"strings"

	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/pipeline"
	"github.com/sdgo/sdgo/sd/prompt"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/sd/t5"
	"github.com/sdgo/sdgo/sd/tensor"
)

// textKey identifies a text that a model has encoded.
type textKey struct {
	m    *model
	text string
}

// Encode encodes a text with T5: the states of its tokens and of the padding after them, which none attends to. An empty
// text is encoded like others.
func (m *model) Encode(ctx context.Context, text string, _ bool, q *request.Resolved, _ pipeline.Extras, memo pipeline.Memo) (pipeline.Condition, error) {
	z, err := pipeline.Remembered(memo, textKey{m, text}, func() (z tensor.Tensor, err error) {
		p, err := m.prompt(text)
		if err != nil {
			return z, err
		}
		return m.t5.EncodeBeside(ctx, p, tokens, nil)
	})
	if err != nil {
		return pipeline.Condition{}, err
	}
	c := pipeline.Condition{Inputs: []engine.Named{{Name: "context", Shape: z.Shape, Data: z.Data}}}
	if m.denoiser.enlarges() {
		c.Inputs = append(c.Inputs, engine.Named{Name: "noise_level", Shape: []int{}, Data: []float32{float32(q.NoiseLevel)}})
	}
	return c, nil
}

// prompt is a text's tokens. The models were trained on texts in small letters.
func (m *model) prompt(text string) (t5.Prompt, error) {
	segments, _, err := prompt.Parse(text)
	if err != nil {
		return t5.Prompt{}, err
	}
	for i := range segments {
		segments[i].Text = strings.ToLower(segments[i].Text)
	}
	return m.t5.Prompt(segments, tokens)
}

// Chunks is the number of runs of the text encoder that a text takes.
func (m *model) Chunks(text string, _ pipeline.Extras) (int, error) {
	_, err := m.prompt(text)
	return 1, err
}

// Check has nothing to check.
func (m *model) Check(*request.Resolved, *request.Error) {}

// Idle is called when all texts are encoded.
func (m *model) Idle() { m.t5.Network().Rest() }
