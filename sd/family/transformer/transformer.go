// Package transformer has what families of diffusion transformers share: the process of flow matching with its shifts, the
// tables of rotary position embeddings, a Qwen3 as the text encoder, autoencoders' checks.
package transformer

import (
	"errors"
	"math"
	"strings"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/autoencoder"
	"github.com/sdgo/sdgo/sd/pipeline"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/sd/tensor"
)

// Process is the process of a model of flow matching for a picture of so many tokens.
func Process(f convert.Flow, tokens int) *sampler.Process {
	shift := f.Shift
	if d := f.Dynamic; d != nil {
		slope := (d.MaxShift - d.BaseShift) / (d.MaxTokens - d.BaseTokens)
		shift = math.Exp(d.BaseShift + slope*(float64(tokens)-d.BaseTokens))
	}
	return sampler.Flow(shift).WithTerminal(f.Terminal)
}

// ProcessFor is [Process] for requests, as [pipeline.Pipeline.ProcessFor] takes it: side is a token's, in pixels, and
// times, if not nil, what the network is given for a noise level. nil where the picture's size does not matter.
func ProcessFor(f convert.Flow, side int, times func(sigma float64) float64) func(q *request.Resolved) *sampler.Process {
	if f.Dynamic == nil {
		return nil
	}
	return func(q *request.Resolved) *sampler.Process {
		p := Process(f, q.Width/side*(q.Height/side))
		if times != nil {
			p = p.WithNetTime(times)
		}
		return p
	}
}

// Rope collects the cosines and sines of a sequence's rotary position embedding (Su et al. 2021), [tokens, sum of Axes / 2]
// each: a token has a place along each axis, which turns that many channels of a head.
type Rope struct {
	Base     float64
	Axes     []int // even
	Cos, Sin []float32
}

// Add adds a token. Axes beyond its places are at 0.
func (r *Rope) Add(place ...int) {
	for axis, d := range r.Axes {
		p := 0
		if axis < len(place) {
			p = place[axis]
		}
		for j := range d / 2 {
			angle := float64(p) * math.Pow(r.Base, -2*float64(j)/float64(d))
			r.Cos, r.Sin = append(r.Cos, float32(math.Cos(angle))), append(r.Sin, float32(math.Sin(angle)))
		}
	}
}

// Shape is that of a table.
func (r *Rope) Shape() []int64 {
	half := 0
	for _, d := range r.Axes {
		half += d / 2
	}
	return []int64{int64(len(r.Cos) / half), int64(half)}
}

// Lacks is the error of a file that lacks networks which other files bring; nil of one that has them. Each is named, with
// the flag that adds it.
func Lacks(description string, missing map[string]bool, order ...string) error {
	var all []string
	for _, what := range order {
		if missing[what] {
			all = append(all, what)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return errors.New(description + " without " + strings.Join(all, " and ") + ": these flags add them while drawing, convert's for good")
}

// CheckPlain refuses what transformers take in no form: CLIP's layers, perturbed attention, pictures as conditions.
func CheckPlain(q *request.Resolved, e *request.Error) {
	if q.ClipSkip != 0 {
		e.Add("ClipSkip", "must be 0: the model has no text encoder of CLIP whose last layers could be left out, got %d", q.ClipSkip)
	}
	if q.Request.ImageGuidance != nil {
		e.Add("ImageGuidance", "only models for editing (instruct-pix2pix) have it")
	}
	if q.Request.AestheticScore != nil || q.Request.NegativeAestheticScore != nil {
		e.Add("AestheticScore", "only Stable Diffusion XL's refiner takes aesthetic scores")
	}
	for _, c := range q.MicroConditions() {
		if c.Value.X != 0 || c.Value.Y != 0 {
			e.Add(c.Field, "only Stable Diffusion XL has sizes for conditions")
		}
	}
}

// FluxLatentRGB are the published factors of FLUX.1's latents, which Z-Image and Chroma share, as ComfyUI has them in
// comfy/latent_formats.py; nil for an autoencoder of other shapes or another scale.
func FluxLatentRGB(v convert.VAEConfig) *autoencoder.LatentRGB {
	if v.Channels == 128 && len(v.ChannelMult) == 4 && v.EmbedDim == 16 && v.Mean == nil && v.Shift == 0.1159 && v.ScaleFactor == 0.3611 {
		return &fluxLatentRGB
	}
	return nil
}

var fluxLatentRGB = autoencoder.LatentRGB{Weights: [][3]float64{
	{-0.0346, 0.0244, 0.0681}, {0.0034, 0.0210, 0.0687}, {0.0275, -0.0668, -0.0433}, {-0.0174, 0.0160, 0.0617},
	{0.0859, 0.0721, 0.0329}, {0.0004, 0.0383, 0.0115}, {0.0405, 0.0861, 0.0915}, {-0.0236, -0.0185, -0.0259},
	{-0.0245, 0.0250, 0.1180}, {0.1008, 0.0755, -0.0421}, {-0.0515, 0.0201, 0.0011}, {0.0428, -0.0012, -0.0036},
	{0.0817, 0.0765, 0.0749}, {-0.1264, -0.0522, -0.1103}, {-0.0280, -0.0881, -0.0499}, {-0.1262, -0.0982, -0.0778}},
	Bias: [3]float64{-0.0329, -0.0718, -0.0851}}

// Named is a condition's input of a name; the zero value if there is none.
func Named(c pipeline.Condition, name string) (shape []int, data []float32) {
	for _, in := range c.Inputs {
		if in.Name == name {
			return in.Shape, in.Data
		}
	}
	return nil, nil
}

// Batched are inputs of the network that all conditions of a batch have in the same shape, one after another; those that
// they lack are left out.
func Batched(c []pipeline.Condition, names ...string) (inputs []cgo.Input) {
	for _, name := range names {
		one, _ := Named(c[0], name)
		if one == nil {
			continue
		}
		in := cgo.Input{Name: name, Shape: tensor.Batch(len(c), one)}
		for _, each := range c {
			_, data := Named(each, name)
			in.F32 = append(in.F32, data...)
		}
		inputs = append(inputs, in)
	}
	return inputs
}
