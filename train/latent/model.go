// Package latent has what trainings for the models of Stable Diffusion 1.x and 2.x share: the
// model, whose own weights stay as they are, pictures as latents, and noisy batches of them.
package latent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"slices"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sd/clip"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/family/ldm"
	"github.com/sdgo/sdgo/sd/pipeline"
	"github.com/sdgo/sdgo/sd/prompt"
	"github.com/sdgo/sdgo/sd/tensor"
)

// Model is the model for which something is trained.
type Model struct {
	Host     *engine.Host
	Config   *convert.StableDiffusion
	Text     *clip.Encoder
	Pipeline *pipeline.Pipeline
}

// Device says where a model runs.
type Device struct {
	Threads  int    // of the CPU; 0: one for each physical core
	Backend  string // as `sdgo devices` lists it; "" the CPU
	Segments int    // parts of the UNet that are computed twice: less memory, more time; 0: none
}

// Open opens a model's file. Models with two text encoders, and those for inpainting and
// editing, are refused.
func Open(path string, d Device) (*Model, error) {
	o := engine.Options{Threads: d.Threads, Backend: d.Backend, GradientSegments: d.Segments}
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
	m.Config, m.Text, m.Pipeline = l.Config, l.Texts[0], l.Pipeline(nil, nil)
	return m, nil
}

func (m *Model) check(l *ldm.Model) error {
	switch {
	case len(l.Texts) != 1 || l.Config.UNet.ADMChannels > 0:
		return errors.New("only models with one text encoder can be trained: Stable Diffusion 1.x and 2.x")
	case l.Config.Variant != "":
		return fmt.Errorf("models of the kind %s cannot be trained", l.Config.Variant)
	case l.Config.UNet.GuidanceDim > 0:
		return errors.New("models that were distilled for a guidance scale cannot be trained")
	case !l.Config.VAE.HasEncoder:
		return errors.New("the model's autoencoder has no encoder, which pictures need")
	}
	return nil
}

// Close frees the model.
func (m *Model) Close() error { return m.Host.Close() }

// Hash is a hash of the text encoder's and the UNet's first layers: another model has
// another one.
func (m *Model) Hash() string {
	h := sha256.New()
	for _, name := range []string{m.Text.Config.Prefix + "text_model.final_layer_norm.weight", convert.UNetPrefix + "input_blocks.0.0.weight", convert.UNetPrefix + "out.2.weight"} {
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

// Inputs are the UNet's for a batch with its conditions.
func (m *Model) Inputs(b *Batch, c []pipeline.Condition) []cgo.Input {
	return m.Pipeline.Denoiser.Inputs(b.Shape, b.X, b.Times, c)
}

// Condition is that of an encoded text, [tokens, width].
func Condition(t tensor.Tensor) pipeline.Condition {
	return pipeline.Condition{Inputs: []engine.Named{{Name: "context", Shape: t.Shape, Data: t.Data}}}
}

// Memory is what a step with gradients of some outputs takes beside the model's weights, in
// bytes: of the largest bucket. factors are those of a LoRA that is trained; nil without.
func (m *Model) Memory(ctx context.Context, p *Pictures, gradients []string, factors *engine.Factors) (uint64, error) {
	largest := image.Point{}
	for _, i := range p.pixels.Bucket {
		if s := p.pixels.Buckets[i]; s.X*s.Y > largest.X*largest.Y {
			largest = s
		}
	}
	b := &Batch{Shape: m.Pipeline.Denoiser.Latent(largest.X, largest.Y), Times: make([]float32, p.o.Batch)}
	c := pipeline.Condition{Inputs: []engine.Named{{Name: "context", Shape: []int{m.Text.Config.ContextLength, m.Config.UNet.ContextDim}}}}
	in := m.Inputs(b, slices.Repeat([]pipeline.Condition{c}, p.o.Batch))
	estimate := func(in []cgo.Input, out []cgo.Output) (uint64, error) {
		if factors != nil {
			return factors.Estimate(ctx, in, out)
		}
		return m.Pipeline.Denoiser.Network().Estimate(ctx, in, out)
	}
	forward, err := estimate(in, []cgo.Output{{Name: "out"}})
	if err != nil {
		return 0, err
	}
	var out []cgo.Output
	for _, name := range gradients {
		out = append(out, cgo.Output{Name: name})
	}
	in = append(in, cgo.Input{Name: "d_out", Shape: tensor.Batch(p.o.Batch, b.Shape)})
	backward, err := estimate(in, out)
	return forward + backward, err
}
