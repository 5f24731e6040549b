// Package stablediffusion is the family of Stable Diffusion 1.x and 2.x, with their
// models for inpainting and for editing (instruct-pix2pix).
package stablediffusion

import (
	"context"
	"fmt"
	"image"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sd/autoencoder"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/family/ldm"
	"github.com/sdgo/sdgo/sd/pipeline"
	"github.com/sdgo/sdgo/sd/request"
)

// Open makes the pipeline of a model.
func Open(h *engine.Host, o pipeline.Options) (*pipeline.Pipeline, error) {
	m, err := ldm.Open(h, o, check)
	if err != nil {
		return nil, err
	}
	p := m.Pipeline(text{m}, func(q *request.Resolved, _ pipeline.Attached, e *request.Error) {
		m.CheckVariant(q, e)
		refuse(q, e)
	})
	p.LatentRGB = knownLatentRGB(m.Config.VAE)
	return p, nil
}

// knownLatentRGB returns the factors of an autoencoder with the published shapes and
// scale; nil for others.
func knownLatentRGB(v convert.VAEConfig) *autoencoder.LatentRGB {
	if v.Channels == 128 && len(v.ChannelMult) == 4 && v.EmbedDim == 4 && v.Mean == nil && v.Shift == 0 && v.ScaleFactor == 0.18215 {
		return &latentRGB
	}
	return nil
}

// latentRGB are the published factors of its autoencoder, as ComfyUI has them in
// comfy/latent_formats.py.
var latentRGB = autoencoder.LatentRGB{Weights: [][3]float64{
	{0.3512, 0.2297, 0.3227}, {0.3250, 0.4974, 0.2350}, {-0.2829, 0.1762, 0.2721}, {-0.2120, -0.2616, -0.7177}}}

func check(m *ldm.Model) error {
	if n := m.Config.UNet.ADMChannels; n != 0 {
		return fmt.Errorf("the UNet must have no label channels, got %d: only Stable Diffusion XL has them", n)
	}
	return nil
}

// refuse refuses fields that only other families take.
func refuse(q *request.Resolved, e *request.Error) {
	for _, c := range q.MicroConditions() {
		if c.Value != (image.Point{}) {
			e.Add(c.Field, "only Stable Diffusion XL takes it")
		}
	}
	if q.Refiner != "" {
		e.Add("Refiner", "only Stable Diffusion XL has one")
	}
	if q.Request.AestheticScore != nil || q.Request.NegativeAestheticScore != nil {
		e.Add("AestheticScore", "only Stable Diffusion XL's refiner takes aesthetic scores")
	}
}

// text turns texts into the UNet's context.
type text struct{ *ldm.Model }

func (t text) Encode(ctx context.Context, text string, _ bool, q *request.Resolved, with pipeline.Extras, memo pipeline.Memo) (pipeline.Condition, error) {
	e, err := t.Model.Encode(ctx, text, q.ClipSkip, with, memo)
	inputs := append([]engine.Named{{Name: "context", Shape: e.Context.Shape, Data: e.Context.Data}}, t.NoiseLevel(q)...)
	return t.Condition(q.Guidance, inputs...), err
}
