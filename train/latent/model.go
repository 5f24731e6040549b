// Package latent has what trainings for the models of Stable Diffusion 1.x, 2.x and XL share:
// the model, whose own weights stay as they are, pictures as latents, and noisy batches of
// them.
package latent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sd/clip"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/family/ldm"
	"github.com/sdgo/sdgo/sd/family/sdxl"
	"github.com/sdgo/sdgo/sd/pipeline"
	"github.com/sdgo/sdgo/sd/prompt"
	"github.com/sdgo/sdgo/sd/tensor"
	"github.com/sdgo/sdgo/train/network"
)

// Model is the model for which something is trained.
type Model struct {
	Host     *engine.Host
	Config   *convert.StableDiffusion
	Texts    []*clip.Encoder // two of Stable Diffusion XL
	Pipeline *pipeline.Pipeline
}

// Device says where a model runs.
type Device struct {
	Threads  int    // of the CPU; 0: one for each physical core
	Backend  string // as `sdgo devices` lists it; "" the CPU
	Segments int    // parts of the UNet that are computed twice: less memory, more time; 0: none
}

// Open opens a model's file. Models for inpainting and editing, and refiners, are refused.
func Open(path string, d Device) (*Model, error) {
	o := engine.Options{Threads: d.Threads, Backend: d.Backend, GradientSegments: d.Segments, Lean: true}
	if o.Backend == "" {
		o.Backend = "cpu"
	}
	h, err := engine.Open(engine.NameOf(path), o, func() (*convert.Model, error) { return convert.Open(path) })
	if err != nil {
		return nil, err
	}
	m := &Model{Host: h}
	l, err := ldm.Open(h, pipeline.Options{}, m.check)
	if err != nil {
		h.Abandon()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	m.Config, m.Texts, m.Pipeline = l.Config, l.Texts, l.Pipeline(nil, nil)
	return m, nil
}

// microConditions is how many Stable Diffusion XL takes: the original size, the crop's
// corner and the target size.
const microConditions = 6

func (m *Model) check(l *ldm.Model) error {
	xl := m.Host.Weights.Family == convert.SDXL
	switch {
	case !xl && (len(l.Texts) != 1 || l.Config.UNet.ADMChannels > 0):
		return errors.New("only models of Stable Diffusion 1.x, 2.x and XL can be trained, not refiners")
	case l.Config.Variant != "":
		return fmt.Errorf("models of the kind %s cannot be trained", l.Config.Variant)
	case l.Config.UNet.GuidanceDim > 0:
		return errors.New("models that were distilled for a guidance scale cannot be trained")
	case !l.Config.VAE.HasEncoder:
		return errors.New("the model's autoencoder has no encoder, which pictures need")
	case xl && len(l.Texts) != 2:
		return fmt.Errorf("a model of Stable Diffusion XL must have two text encoders, got %d", len(l.Texts))
	case xl:
		return sdxl.Complete(l, microConditions)
	}
	return nil
}

// Close frees the model.
func (m *Model) Close() error { return m.Host.Close() }

// Hash is a hash of the text encoder's and the UNet's first layers: another model has
// another one.
func (m *Model) Hash() string {
	h := sha256.New()
	for _, name := range []string{m.Texts[0].Config.Prefix + "text_model.final_layer_norm.weight", convert.UNetPrefix + "input_blocks.0.0.weight", convert.UNetPrefix + "out.2.weight"} {
		if t, ok := m.Host.Weights.Tensor(name); ok {
			h.Write(t.Bytes)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Size is the side of the pictures that the model was trained on, in pixels.
func (m *Model) Size() int { return m.Host.Weights.NativeSize }

// Multiple is what the sides of pictures must be multiples of.
func (m *Model) Multiple() int { return 8 * m.Pipeline.Autoencoder.Factor() }

// Segments are a text as it is: a caption's parentheses are no weights.
func Segments(text string) []prompt.Segment { return []prompt.Segment{{Text: text, Weight: 1}} }

// Encoded is a text as its encoders give it.
type Encoded []clip.Encoding

// Encode encodes a text of one chunk, which is as it is (see [Segments]); with are the
// encoders' extras, none or one for each of them.
func (m *Model) Encode(ctx context.Context, text string, with ...clip.Extras) (Encoded, error) {
	all := make(Encoded, len(m.Texts))
	for i, t := range m.Texts {
		var extras clip.Extras
		if len(with) > 0 {
			extras = with[i]
		}
		var err error
		if all[i], err = t.Encode(ctx, Segments(text), 0, extras); err != nil {
			return nil, err
		}
		if all[i].Tokens.Height() != t.Config.ContextLength {
			return nil, fmt.Errorf("a caption must be at most %d tokens long: %.80q", t.Config.ContextLength-2, text)
		}
	}
	return all, nil
}

// Nothing is what stands for no text: the empty one, or zeros where that is what models draw
// with.
func (m *Model) Nothing(ctx context.Context) (Encoded, error) {
	all, err := m.Encode(ctx, "")
	if err != nil || !m.zeros() {
		return all, err
	}
	for i, e := range all {
		all[i] = clip.Encoding{Tokens: e.Tokens.Like(), Pooled: make([]float32, len(e.Pooled))}
	}
	return all, nil
}

// zeros reports whether no text is zeros.
func (m *Model) zeros() bool { return len(m.Texts) > 1 && !m.Config.EncodesEmpty }

// Learns reports whether a text's encoding depends on the text encoders.
func (m *Model) Learns(text string) bool { return text != "" || !m.zeros() }

// Condition is that of an encoded text, for latents of a shape. Stable Diffusion XL is told
// that the picture always had the size that it has, whole.
func (m *Model) Condition(e Encoded, shape []int) pipeline.Condition {
	joined := ldm.SideBySide(e)
	c := pipeline.Condition{Inputs: []engine.Named{{Name: "context", Shape: joined.Context.Shape, Data: joined.Context.Data}}}
	if n := m.Config.UNet.ADMChannels; n > 0 {
		factor := m.Pipeline.Autoencoder.Factor()
		h, w := float64(shape[1]*factor), float64(shape[2]*factor)
		c.Inputs = append(c.Inputs, engine.Named{Name: "y", Shape: []int{n}, Data: sdxl.Label(n, joined.Pooled, []float64{h, w, 0, 0, h, w})})
	}
	return c
}

// TextSeeds are the gradients by each encoder's encoding of a text, given those by the
// UNet's inputs "context" and "y", which is nil of models without it.
func (m *Model) TextSeeds(context, y []float32) []clip.Seed {
	all := make([]clip.Seed, len(m.Texts))
	at, whole := 0, m.Config.UNet.ContextDim
	for i, t := range m.Texts {
		width := t.Config.Width
		all[i].Tokens = make([]float32, 0, t.Config.ContextLength*width)
		for row := 0; row < len(context); row += whole {
			all[i].Tokens = append(all[i].Tokens, context[row+at:][:width]...)
		}
		if at += width; t.Pools {
			all[i].Pooled = y[:t.Config.Pooled]
		}
	}
	return all
}

// Inputs are the UNet's for a batch with its conditions, and those of its loss.
func (m *Model) Inputs(b *Batch, c []pipeline.Condition) []cgo.Input {
	in := m.Pipeline.Denoiser.Inputs(b.Shape, b.X, b.Times, c)
	return append(in, network.Squared("out", tensor.Batch(len(c), b.Shape), b.Target, b.factors)...)
}

// Memory is what a step with gradients of some outputs takes beside the model's weights, in
// bytes: of the largest bucket. factors are those of a LoRA that is trained; nil without.
// more are inputs beside those of a batch.
func (m *Model) Memory(ctx context.Context, p *Pictures, gradients []cgo.Output, factors *engine.Factors, more ...cgo.Input) (uint64, error) {
	size := p.Largest()
	b := &Batch{Shape: m.Pipeline.Denoiser.Latent(size.X, size.Y), Times: make([]float32, p.o.Batch)}
	c := pipeline.Condition{Inputs: []engine.Named{{Name: "context", Shape: []int{m.Texts[0].Config.ContextLength, m.Config.UNet.ContextDim}}}}
	if n := m.Config.UNet.ADMChannels; n > 0 {
		c.Inputs = append(c.Inputs, engine.Named{Name: "y", Shape: []int{n}})
	}
	in, out := append(m.Inputs(b, slices.Repeat([]pipeline.Condition{c}, p.o.Batch)), more...), append(gradients, cgo.Output{Name: "out"})
	if factors != nil {
		return factors.Estimate(ctx, in, out)
	}
	return m.Pipeline.Denoiser.Network().Estimate(ctx, in, out)
}
