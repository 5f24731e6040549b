// Package sdxl is the family of Stable Diffusion XL and its refiner (Podell et al.
// 2023, arXiv:2307.01952).
package sdxl

import (
	"context"
	"fmt"
	"image"
	"math"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sd/autoencoder"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/family/ldm"
	"github.com/sdgo/sdgo/sd/pipeline"
	"github.com/sdgo/sdgo/sd/request"
)

// model is a base model or a refiner.
type model struct {
	*ldm.Model
	refines bool
}

// Open makes the pipeline of a model.
func Open(h *engine.Host, o pipeline.Options) (*pipeline.Pipeline, error) {
	m := &model{refines: h.Weights.Family == convert.SDXLRefiner}
	var err error
	if m.Model, err = ldm.Open(h, o, m.complete); err != nil {
		return nil, err
	}
	p := m.Pipeline(m, m.check)
	p.LatentRGB = knownLatentRGB(m.Config.VAE)
	return p, nil
}

// knownLatentRGB returns the factors of an autoencoder with the published shapes and
// scale; nil for others.
func knownLatentRGB(v convert.VAEConfig) *autoencoder.LatentRGB {
	if v.Channels == 128 && len(v.ChannelMult) == 4 && v.EmbedDim == 4 && v.Mean == nil && v.Shift == 0 && v.ScaleFactor == 0.13025 {
		return &latentRGB
	}
	return nil
}

// latentRGB are the published factors of its autoencoder, as ComfyUI has them in
// comfy/latent_formats.py.
var latentRGB = autoencoder.LatentRGB{Weights: [][3]float64{
	{0.3651, 0.4232, 0.4341}, {-0.2533, -0.0042, 0.1068}, {0.1076, 0.1111, -0.0362}, {-0.3165, -0.2492, -0.2188}},
	Bias: [3]float64{0.1084, -0.0175, -0.0011}}

// microConditions is the number of SDXL's micro-conditions (diffusers: add_time_ids):
// the original size, the crop's top left corner and the target size. The refiner has an
// aesthetic score in place of the target size.
func (m *model) microConditions() int {
	if m.refines {
		return 5
	}
	return 6
}

func (m *model) complete(l *ldm.Model) error { return Complete(l, m.microConditions()) }

// Complete makes the last text encoder of a model pool, and checks that the UNet's label
// channels match its pooled text embedding and a number of micro-conditions.
func Complete(l *ldm.Model, microConditions int) error {
	t := l.Texts[len(l.Texts)-1]
	t.Pools = true
	if t.Config.Projection == "" {
		return fmt.Errorf("tensor %q is missing: Stable Diffusion XL needs the text encoder's pooled output", t.Config.Prefix+"text_model.text_projection")
	}
	adm, n := l.Config.UNet.ADMChannels, microConditions
	if rest := adm - t.Config.Pooled; rest < 2*n || rest%(2*n) != 0 {
		return fmt.Errorf("the UNet's %d label channels do not match the text encoder's pooled embedding of %d numbers", adm, t.Config.Pooled)
	}
	return nil
}

// Label is the UNet's input "y", of a number of channels: a pooled text embedding and
// micro-conditions.
func Label(channels int, pooled []float32, microConditions []float64) []float32 {
	y := append([]float32(nil), pooled...)
	width := (channels - len(pooled)) / len(microConditions)
	for _, v := range microConditions {
		y = append(y, sinusoids(v, width)...)
	}
	return y
}

// Encode encodes a text and the request's micro-conditions. For the base model the
// embedding of an empty negative prompt is replaced by zeros, as in AUTOMATIC1111,
// stable-diffusion.cpp and, by default, diffusers (force_zeros_for_empty_prompt),
// unless the file says otherwise. The refiner gets the empty text's embedding.
func (m *model) Encode(ctx context.Context, text string, negative bool, q *request.Resolved, with pipeline.Extras, memo pipeline.Memo) (pipeline.Condition, error) {
	e, err := m.Model.Encode(ctx, text, q.ClipSkip, with, memo)
	if err != nil {
		return pipeline.Condition{}, err
	}
	if negative && text == "" && !m.refines && !m.Config.EncodesEmpty {
		e = ldm.Encoding{Context: e.Context.Like(), Pooled: make([]float32, len(e.Pooled))}
	}
	y := Label(m.Config.UNet.ADMChannels, e.Pooled, m.addTimeIDs(q, negative))
	return m.Condition(q.Guidance,
		engine.Named{Name: "context", Shape: e.Context.Shape, Data: e.Context.Data},
		engine.Named{Name: "y", Shape: []int{len(y)}, Data: y}), nil
}

// addTimeIDs are the micro-conditions of a request (diffusers: add_time_ids).
func (m *model) addTimeIDs(q *request.Resolved, negative bool) []float64 {
	size := func(p image.Point) image.Point {
		if p == (image.Point{}) {
			return image.Pt(q.Width, q.Height)
		}
		return p
	}
	original, target := size(q.OriginalSize), size(q.TargetSize)
	ids := []float64{float64(original.Y), float64(original.X), float64(q.CropTopLeft.Y), float64(q.CropTopLeft.X)}
	switch {
	case !m.refines:
		return append(ids, float64(target.Y), float64(target.X))
	case negative:
		return append(ids, q.NegativeAestheticScore)
	}
	return append(ids, q.AestheticScore)
}

// sinusoids is the sinusoidal embedding of timesteps and micro-conditions (Ho et al.
// 2020, after Vaswani et al. 2017): cosines, then sines.
func sinusoids(v float64, width int) []float32 {
	half := width / 2
	out := make([]float32, width)
	for i := range half {
		angle := v * math.Exp(-math.Log(10000)*float64(i)/float64(half))
		out[i], out[half+i] = float32(math.Cos(angle)), float32(math.Sin(angle))
	}
	return out
}

// check checks the family's own fields of a request, and the refiner.
func (m *model) check(q *request.Resolved, with pipeline.Attached, e *request.Error) {
	m.CheckVariant(q, e)
	refines := m.refines
	if p := with.Models[q.Refiner]; p != nil {
		if other, ok := of(p); !ok || !other.IsPlain() {
			e.Add("Refiner", "%s is %s; it must be a plain model of Stable Diffusion XL's family", p.Host.Name, p.Host.Weights.Description)
		} else {
			refines = refines || other.refines
		}
	}
	if !refines && (q.Request.AestheticScore != nil || q.Request.NegativeAestheticScore != nil) {
		e.Add("AestheticScore", "only Stable Diffusion XL's refiner takes aesthetic scores")
	}
	if m.refines && q.Image == nil {
		e.Add("Image", "the model is a refiner: it needs an initial picture, or to be the Refiner of a base model")
	}
}

// of returns the model of a pipeline of this family.
func of(p *pipeline.Pipeline) (*model, bool) {
	prompts, ok := p.Conditioner.(pipeline.Prompts)
	if !ok {
		return nil, false
	}
	m, ok := prompts.Text.(*model)
	return m, ok
}
