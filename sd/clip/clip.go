// Package clip runs CLIP's text encoders. A text becomes the hidden states of its
// tokens, and for some models a pooled embedding of the whole text.
package clip

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/prompt"
	"github.com/sdgo/sdgo/sd/tensor"
	"github.com/sdgo/sdgo/sd/tokenizer"
)

// Encoder is one text encoder. Its methods may be called from any goroutine.
type Encoder struct {
	Config convert.TextConfig

	// Pools makes Encode return the pooled output, too; Plain, without its projection.
	Pools, Plain bool

	host      *engine.Host
	net       *engine.Network
	tokenizer *tokenizer.Tokenizer
	padding   int32 // token after a chunk's end of text

	mutex      sync.Mutex
	projection []float32 // of the pooled output, as it is stored; nil until it is needed
}

// New creates the text encoder of a file. It is an error if the tokenizer has more
// tokens than the encoder.
func New(h *engine.Host, c convert.TextConfig, t *tokenizer.Tokenizer) (*Encoder, error) {
	if size := t.Size(); c.Vocabulary < size {
		return nil, fmt.Errorf("the text encoder must have at least the tokenizer's %d tokens, got %d", size, c.Vocabulary)
	}
	// OpenAI's CLIP was trained with end tokens as padding, OpenCLIP, whose activation
	// is gelu, with token 0.
	padding := t.EOS()
	if c.Activation == "gelu" {
		padding = 0
	}
	net, err := h.NewNetwork(engine.Spec{Role: engine.RoleText, Title: "the text encoder", Arch: "clip_text", Prefix: c.Prefix, Params: c.Params()})
	if err != nil {
		return nil, err
	}
	return &Encoder{Config: c, host: h, net: net, tokenizer: t, padding: padding}, nil
}

// Network is the encoder's network.
func (e *Encoder) Network() *engine.Network { return e.net }

// commaBacktrack is AUTOMATIC1111's default of its "Prompt word wrap length limit".
const commaBacktrack = 20

// Word is a textual inversion: a word with vectors of its own.
type Word interface {
	Name() string
	Length() int // the number of its vectors

	// Vectors are [Length, width] numbers for an encoder: of SDXL "l" or "g", of other
	// models "".
	Vectors(encoder string, width int) ([]float32, error)
}

// Extras are what is not in the model's file.
type Extras struct {
	Adaptation *engine.Adaptation // of the network; nil without one
	Words      []Word
	Encoder    string // the encoder's name for Word.Vectors

	// Run runs the network, in place of what it does itself with Adaptation, with changes
	// that are trained. nil: it does that.
	Run func(ctx context.Context, in []cgo.Input, out []cgo.Output) error
}

// run runs the network.
func (e *Encoder) run(ctx context.Context, in []cgo.Input, out []cgo.Output, with Extras) error {
	if with.Run != nil {
		return with.Run(ctx, in, out)
	}
	return e.net.Run(ctx, in, out, with.Adaptation)
}

// Chunks are a text's chunks of tokens; the encoder runs once for each. It is an error if
// a word in the text has no vectors for the encoder.
func (e *Encoder) Chunks(segments []prompt.Segment, with Extras) ([]prompt.Chunk, error) {
	o := prompt.Options{Content: e.Config.ContextLength - 2, Pad: e.padding, CommaBacktrack: commaBacktrack, WebUIBreak: true}
	for _, w := range with.Words { // two ways to write each: ComfyUI's, and AUTOMATIC1111's
		for _, prefix := range []string{"embedding:", ""} {
			o.Words = append(o.Words, prompt.Word{Tokens: e.tokenizer.Encode(prefix + w.Name()), Length: w.Length()})
		}
	}
	chunks, err := prompt.Chunks(segments, e.tokenizer, o)
	if err != nil {
		return nil, err
	}
	for _, c := range chunks {
		for _, p := range c.Places {
			if _, err := with.Words[p.Word/2].Vectors(with.Encoder, e.Config.Width); err != nil {
				return nil, err
			}
		}
	}
	return chunks, nil
}

// vectors are the inputs that put words' vectors in place of tokens; none without words.
func (e *Encoder) vectors(c prompt.Chunk, with Extras) ([]cgo.Input, error) {
	if len(c.Places) == 0 {
		return nil, nil
	}
	length, width := e.Config.ContextLength, e.Config.Width
	keep, all := slices.Repeat([]float32{1}, length), make([]float32, length*width)
	for _, p := range c.Places {
		v, err := with.Words[p.Word/2].Vectors(with.Encoder, width)
		if err != nil {
			return nil, err
		}
		keep[p.At] = 0
		copy(all[p.At*width:][:width], v[p.Vector*width:])
	}
	return []cgo.Input{{Name: "keep", Shape: []int64{1, int64(length)}, F32: keep},
		{Name: "vectors", Shape: []int64{1, int64(length), int64(width)}, F32: all}}, nil
}

// Encoding is an encoded text.
type Encoding struct {
	Tokens tensor.Tensor // [tokens, Width], chunk after chunk, multiplied by the prompt's weights
	Pooled []float32     // [Pooled] if the encoder pools, else nil
}

// Encode encodes a text. clipSkip n leaves out the last n-1 layers; 0 means the model's
// own. [Encoder.Layers] has its range.
func (e *Encoder) Encode(ctx context.Context, segments []prompt.Segment, clipSkip int, with Extras) (Encoding, error) {
	length, width := e.Config.ContextLength, e.Config.Width
	chunks, err := e.Chunks(segments, with)
	if err != nil {
		return Encoding{}, err
	}
	layers, err := e.Layers(clipSkip)
	if err != nil {
		return Encoding{}, err
	}
	out := Encoding{Tokens: tensor.New(len(chunks)*length, width)}
	states := e.output(layers)
	for i, chunk := range chunks {
		// One chunk at a time, so that all prompts use a graph of one shape.
		z := out.Tokens.Data[i*length*width:][:length*width]
		outputs := []cgo.Output{{Name: states, Data: z}}
		var last []float32
		if e.Pools && i == 0 { // the first chunk's pooled output is used, as in AUTOMATIC1111 and ComfyUI
			last = make([]float32, length*width)
			outputs = append(outputs, cgo.Output{Name: fmt.Sprintf("hidden.%d", e.Config.Layers), Data: last})
		}
		inputs, err := e.vectors(chunk, with)
		if err != nil {
			return Encoding{}, err
		}
		inputs = append(inputs, cgo.Input{Name: "tokens", Shape: []int64{1, int64(length)}, I32: chunk.Tokens})
		if err := e.run(ctx, inputs, outputs, with); err != nil {
			return Encoding{}, err
		}
		if !tensor.Finite(z) || !tensor.Finite(last) {
			return Encoding{}, e.net.NotFinite()
		}
		if last != nil {
			if out.Pooled, err = e.pool(last[e.end(chunk)*width:][:width]); err != nil {
				return Encoding{}, err
			}
		}
		prompt.ApplyWeights(z, chunk.Weights, width)
	}
	return out, nil
}

// end is the place of a chunk's end of text.
func (e *Encoder) end(c prompt.Chunk) int { return max(0, slices.Index(c.Tokens, e.tokenizer.EOS())) }

// project gives to each product of the projection of the pooled output, an element of the
// state and one of the output.
func (e *Encoder) project(each func(state, pooled int, weight float32)) error {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	c := e.Config
	if e.Plain {
		return slices.Clone(state), nil
	}
	if e.projection == nil {
		w, ok := e.host.Weights.Tensor(c.Projection)
		if !ok {
			return fmt.Errorf("tensor %q is missing: the model needs the text encoder's pooled output", c.Prefix+"text_model.text_projection")
		}
		p := make([]float32, w.Elements())
		if err := w.Float32(p); err != nil {
			return err
		}
		e.projection = p
	}
	for k := range c.Pooled {
		for i := range c.Width {
			at := i*c.Pooled + k
			if c.ProjectionLinear {
				at = k*c.Width + i
			}
			each(i, k, e.projection[at])
		}
	}
	return nil
}

// pool projects the state of the end-of-text token (Radford et al. 2021, §2.4).
func (e *Encoder) pool(state []float32) ([]float32, error) {
	sums := make([]float64, e.Config.Pooled)
	if err := e.project(func(i, k int, weight float32) { sums[k] += float64(state[i]) * float64(weight) }); err != nil {
		return nil, err
	}
	out := make([]float32, len(sums))
	for k, sum := range sums {
		out[k] = float32(sum)
	}
	return out, nil
}

// Layers is the number of layers that run with a clip skip; 0 is the model's own. Files
// of SD 2.x may lack the last layer, because their own clip skip, 2, never runs it.
func (e *Encoder) Layers(clipSkip int) (int, error) {
	c := e.Config
	if clipSkip == 0 {
		clipSkip = c.ClipSkip
	}
	n := c.FinalLayer + c.ClipSkip - clipSkip
	if n < 1 || n > c.Layers {
		low, high := c.FinalLayer+c.ClipSkip-c.Layers, c.FinalLayer+c.ClipSkip-1
		return 0, fmt.Errorf("must be %d to %d, got %d: the text encoder has %d layers", low, high, clipSkip, c.Layers)
	}
	return n, nil
}
