// Package qwen runs the text stacks of Qwen's language models, which Z-Image and FLUX.2 klein (Qwen3) and Qwen-Image
// (Qwen2.5-VL) have for text encoders. A text becomes the hidden states of its tokens after some of the layers, as in
// transformers' Qwen3Model and Qwen2Model.
package qwen

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/tensor"
	"github.com/sdgo/sdgo/sd/tokenizer/bytelevel"
)

// MaxTokens bounds the length of a text, in tokens.
const MaxTokens = 4096

// Padding is the token that fills texts up, <|endoftext|>.
const Padding = 151643

// Chat is a prompt in the template of Qwen3's chats, as its tokenizer's apply_chat_template makes it with
// add_generation_prompt. Without thinking the answer begins with thoughts that are empty.
func Chat(prompt string, think bool) string {
	text := "<|im_start|>user\n" + prompt + "<|im_end|>\n<|im_start|>assistant\n"
	if !think {
		text += "<think>\n\n</think>\n\n"
	}
	return text
}

// Final stands for the states of the last layer after the final norm.
const Final = 0

// Encoder is a text stack. Its methods may be called from any goroutine.
type Encoder struct {
	Config    convert.QwenConfig
	Tokenizer *bytelevel.Tokenizer

	net *engine.Network
}

// Open creates the text stack of a model, whose names have the prefix, with the tokenizer that its file brings, or else Qwen's.
func Open(h *engine.Host, prefix string, c convert.QwenConfig) (*Encoder, error) {
	t := bytelevel.Qwen()
	if data := h.Weights.QwenTokenizer; data != nil {
		var err error
		if t, err = bytelevel.FromJSON(data); err != nil {
			return nil, err
		}
		for _, name := range []string{"<|im_start|>", "<|im_end|>"} { // without which templates would be other words
			if _, ok := t.Special(name); !ok {
				return nil, fmt.Errorf("the model's own tokenizer must have the special token %s", name)
			}
		}
	}
	return New(h, prefix, c, t)
}

// New creates the text stack of a file, whose names have the prefix. It is an error if the tokenizer has more tokens than
// it.
func New(h *engine.Host, prefix string, c convert.QwenConfig, t *bytelevel.Tokenizer) (*Encoder, error) {
	if size := t.Size(); c.Vocabulary < size {
		return nil, fmt.Errorf("the text encoder must have at least the tokenizer's %d tokens, got %d", size, c.Vocabulary)
	}
	net, err := h.NewNetwork(engine.Spec{Role: engine.RoleText, Title: "the text encoder", Arch: "qwen_text", Prefix: prefix, Params: c.Params()})
	if err != nil {
		return nil, err
	}
	return &Encoder{Config: c, Tokenizer: t, net: net}, nil
}

// Network is the encoder's network.
func (e *Encoder) Network() *engine.Network { return e.net }

// Encode returns the states of tokens after each of some layers, [tokens, Width] each: 1 to Layers, without the final norm,
// or [Final]. transformers' hidden_states[k] is layer k, and its last one Final.
func (e *Encoder) Encode(ctx context.Context, ids []int32, layers []int, with *engine.Adaptation) ([]tensor.Tensor, error) {
	return e.EncodePadded(ctx, ids, len(ids), layers, with)
}

// EncodePadded is Encode of tokens with [Padding] after them, which they do not attend to, to a length: transformers' with
// an attention_mask. The states are those of all.
func (e *Encoder) EncodePadded(ctx context.Context, ids []int32, length int, layers []int, with *engine.Adaptation) ([]tensor.Tensor, error) {
	n := max(len(ids), length)
	if len(ids) < 1 || n > MaxTokens {
		return nil, fmt.Errorf("a text must have 1 to %d tokens, got %d", MaxTokens, n)
	}
	places := make([][3]int, n)
	for p := range places {
		places[p] = [3]int{p, p, p}
	}
	in := append(e.turns(places), cgo.Input{Name: "tokens", Shape: []int64{1, int64(len(ids))}, I32: ids})
	if rest := n - len(ids); rest > 0 {
		in = append(in, cgo.Input{Name: "padding", Shape: []int64{1, int64(rest)}, I32: slices.Repeat([]int32{Padding}, rest)})
	}
	return e.states(ctx, in, n, layers, with)
}

// states runs the network for so many tokens.
func (e *Encoder) states(ctx context.Context, in []cgo.Input, n int, layers []int, with *engine.Adaptation) ([]tensor.Tensor, error) {
	all, outputs := make([]tensor.Tensor, len(layers)), make([]cgo.Output, len(layers))
	for i, layer := range layers {
		name := "hidden"
		if layer != Final {
			name = fmt.Sprintf("state.%d", layer)
		}
		all[i] = tensor.New(n, e.Config.Width)
		outputs[i] = cgo.Output{Name: name, Data: all[i].Data}
	}
	if err := e.net.Run(ctx, in, outputs, with); err != nil {
		return nil, err
	}
	for _, t := range all {
		if !tensor.Finite(t.Data) {
			return nil, e.net.NotFinite()
		}
	}
	return all, nil
}

// turns are the tables of the rotary position embedding (Su et al. 2021) of tokens at these places.
func (e *Encoder) turns(places [][3]int) []cgo.Input {
	cos, sin := angles(places, e.Config.HeadChannels, e.Config.RopeBase)
	shape := []int64{int64(len(places)), int64(e.Config.HeadChannels / 2)}
	return []cgo.Input{{Name: "cos", Shape: shape, F32: cos}, {Name: "sin", Shape: shape, F32: sin}}
}

// angles are the cosines and sines of tokens' places in time, row and column, [tokens, dim/2] each. The first quarter of the
// angles turns by time, the next three eighths by the row, the others by the column, as Qwen2.5-VL's mrope_section 16, 24, 24 has
// it. Tokens of texts have three places that are the same.
func angles(places [][3]int, dim int, base float64) (cos, sin []float32) {
	half := dim / 2
	for _, p := range places {
		for j := range half {
			axis := 2
			if j < half/4 {
				axis = 0
			} else if j < half*5/8 {
				axis = 1
			}
			angle := float64(p[axis]) * math.Pow(base, -2*float64(j)/float64(dim))
			cos, sin = append(cos, float32(math.Cos(angle))), append(sin, float32(math.Sin(angle)))
		}
	}
	return cos, sin
}

// Demand is the encoder's memory on a GPU for a text of so many tokens; ok is false on the CPU.
func (e *Encoder) Demand(tokens int) (d engine.Demand, ok bool, err error) {
	half := int64(e.Config.HeadChannels / 2)
	n := int64(tokens)
	return engine.DemandOf(e.net, "hidden", cgo.Input{Name: "tokens", Shape: []int64{1, n}},
		cgo.Input{Name: "cos", Shape: []int64{n, half}}, cgo.Input{Name: "sin", Shape: []int64{n, half}})
}
