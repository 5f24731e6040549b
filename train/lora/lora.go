// Package lora trains LoRAs (Hu et al. 2022, arXiv:2106.09685) of Stable Diffusion 1.x, 2.x
// and XL: products of two thin matrices beside the weights of the UNet's transformers, and
// of the text encoders, which stay as they are, mapped from the file and quantized.
package lora

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/sd/clip"
	"github.com/sdgo/sdgo/sd/pipeline"
	"github.com/sdgo/sdgo/train"
	"github.com/sdgo/sdgo/train/data"
	"github.com/sdgo/sdgo/train/latent"
)

// Layers that are changed.
const (
	Attention   = "attention"   // queries, keys, values and outputs of attention, as the diffusers library's trainer
	Transformer = "transformer" // the feed-forward layers, too, as kohya's scripts
)

// Options say how a LoRA is trained.
type Options struct {
	Rank   int     // 1 to 128
	Alpha  float64 // the factor of the product is Alpha/Rank; 0 is Rank
	Layers string  // Attention or Transformer
	Text   bool    // the text encoders are changed, too

	// Caption is the prompt of pictures without one. CaptionDrop is the share of samples
	// that are trained with an empty prompt, so that guidance works as before.
	Caption     string
	CaptionDrop float64

	Slider *Slider // what is trained, in place of the pictures; nil: the pictures

	latent.Options
}

// Check returns an error for options out of range.
func (o Options) Check() error {
	switch {
	case o.Rank < 1 || o.Rank > 128:
		return fmt.Errorf("the rank must be 1 to 128, got %d", o.Rank)
	case !(o.Alpha >= 0 && o.Alpha <= 1e4):
		return fmt.Errorf("alpha must be 0 to 10000, got %g", o.Alpha)
	case unetLayers[o.Layers] == nil:
		return fmt.Errorf("layers must be %s or %s, got %.40q", Attention, Transformer, o.Layers)
	case !(o.CaptionDrop >= 0 && o.CaptionDrop < 1):
		return fmt.Errorf("the share of samples without a caption must be 0 to below 1, got %g", o.CaptionDrop)
	}
	if err := o.checkSlider(); err != nil {
		return err
	}
	return o.Options.Check()
}

// firstStream is that of the first numbers.
const firstStream = 101

// Task is the task of training a LoRA: a [train.Task].
type Task struct {
	m        *latent.Model
	o        Options
	pictures *latent.Pictures
	captions *latent.Captions
	ends     [2]latent.Encoded // of a slider

	parts   []*part     // the UNet, and the text encoders
	names   []string    // of layers' factors
	weights [][]float32 // the numbers of factors: down and up of each layer
	scratch [][]float32 // their gradients of one run
}

// New makes the task of a model and a set, whose pictures and captions are encoded at once;
// progress is called after each picture.
func New(ctx context.Context, m *latent.Model, set *data.Set, pixels *data.Pixels, o Options, progress func(done, of int)) (*Task, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if o.Alpha == 0 {
		o.Alpha = float64(o.Rank)
	}
	t := &Task{m: m, o: o}
	var err error
	if t.captions, err = latent.NewCaptions(ctx, m, set, latent.CaptionOptions{Seed: o.Seed, Caption: o.Caption, Drop: o.CaptionDrop}); err != nil {
		return nil, err
	}
	if s := o.Slider; s != nil {
		for i, text := range []string{s.Positive, s.Negative} {
			if t.ends[i], err = m.Encode(ctx, text); err != nil {
				return nil, err
			}
		}
	}
	if err := t.find(); err != nil {
		return nil, err
	}
	if err := t.begin(ctx); err != nil {
		return nil, err
	}
	t.pictures, err = latent.NewPictures(ctx, m, set, pixels, o.Options, progress)
	return t, err
}

// encoded is a text as the text encoders give it now.
func (t *Task) encoded(ctx context.Context, text string) (latent.Encoded, error) {
	if t.o.Text && t.m.Learns(text) {
		return t.m.Encode(ctx, text, t.extras()...)
	}
	return t.captions.Encoded(text), nil
}

// extras make the text encoders run with their changes.
func (t *Task) extras() []clip.Extras {
	all := make([]clip.Extras, len(t.m.Texts))
	for i, p := range t.parts[1:] {
		all[i].Run = p.factors.Run
	}
	return all
}

// Names implements [train.Task].
func (t *Task) Names() []string { return t.names }

// Weights implements [train.Task].
func (t *Task) Weights() [][]float32 { return t.weights }

// Change implements [train.Task].
func (t *Task) Change(ctx context.Context, change func()) error {
	change()
	for _, p := range t.parts {
		if err := p.factors.Update(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Gradients implements [train.Task].
func (t *Task) Gradients(ctx context.Context, n uint64, sum [][]float32) (train.Loss, error) {
	b, err := t.pictures.Batch(n)
	if err != nil {
		return train.Loss{}, err
	}
	texts := make([]string, len(b.Items))
	for k, item := range b.Items {
		texts[k] = t.captions.Text(item, b.Numbers[k])
	}
	value, err := t.gradients(ctx, b, texts, sum)
	return train.Loss{Value: value}, err
}

// gradients adds those of a batch with its samples' texts.
func (t *Task) gradients(ctx context.Context, b *latent.Batch, texts []string, sum [][]float32) (float64, error) {
	var c []pipeline.Condition
	for _, text := range texts {
		e, err := t.encoded(ctx, text)
		if err != nil {
			return 0, err
		}
		c = append(c, t.m.Condition(e, b.Shape))
	}
	if t.o.Slider != nil {
		if err := t.slide(ctx, b, texts); err != nil {
			return 0, err
		}
	}
	prediction := make([]float32, len(b.X))
	out := append(t.outputs(t.parts[0]), cgo.Output{Name: "out", Data: prediction})
	by := map[string][]float32{} // by the UNet's inputs that texts give
	if t.o.Text {
		for _, in := range c[0].Inputs {
			by[in.Name] = make([]float32, len(c)*len(in.Data))
			out = append(out, cgo.Output{Name: "d:" + in.Name, Data: by[in.Name]})
		}
	}
	if err := t.parts[0].factors.Run(ctx, t.m.Inputs(b, c), out); err != nil {
		return 0, err
	}
	t.add(t.parts[0], sum)
	for k, text := range texts {
		if err := t.textGradients(ctx, text, share(by["context"], k, len(c)), share(by["y"], k, len(c)), sum); err != nil {
			return 0, err
		}
	}
	return b.Loss(prediction)
}

// share is that of one sample of n.
func share(all []float32, k, n int) []float32 { return all[k*len(all)/n:][:len(all)/n] }

// textGradients adds those by the text encoders' factors of a text's sample, given those by
// the UNet's inputs.
func (t *Task) textGradients(ctx context.Context, text string, context, y []float32, sum [][]float32) error {
	if !t.o.Text || !t.m.Learns(text) {
		return nil
	}
	seeds, extras := t.m.TextSeeds(context, y), t.extras()
	for i, p := range t.parts[1:] {
		err := t.m.Texts[i].FactorGradients(ctx, latent.Segments(text), extras[i], seeds[i], t.outputs(p), func() { t.add(p, sum) })
		if err != nil {
			return err
		}
	}
	return nil
}

// Elements is the number of weights that are trained, which are all of the LoRA's.
func (t *Task) Elements() (all, trained int) {
	for _, w := range t.weights {
		all += len(w)
	}
	return all, all
}

// Hash is a hash of the numbers.
func (t *Task) Hash() string {
	h := sha256.New()
	for _, w := range t.weights {
		for _, v := range w {
			fmt.Fprintf(h, "%x,", math.Float32bits(v))
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Memory is what a step takes beside the model's weights, with a number of states for each
// weight of the LoRA, in bytes.
func (t *Task) Memory(ctx context.Context, states int) (uint64, error) {
	gradients := t.outputs(t.parts[0])
	if t.o.Text {
		gradients = append(gradients, cgo.Output{Name: "d:context"})
		if t.m.Config.UNet.ADMChannels > 0 {
			gradients = append(gradients, cgo.Output{Name: "d:y"})
		}
	}
	bytes, err := t.m.Memory(ctx, t.pictures, gradients, t.parts[0].factors)
	all, _ := t.Elements()
	return bytes + 4*uint64(all)*uint64(4+states), err
}

// Close does nothing: the model is the caller's.
func (t *Task) Close() {}
