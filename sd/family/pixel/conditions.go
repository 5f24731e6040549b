package pixel

import (
	"context"
	"fmt"
	"image"
	"math"
	"strconv"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/pipeline"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/sd/tensor"
)

// noClass is a request's Class that stands for none.
const noClass = "none"

// conditioner makes conditions of a class.
type conditioner struct{ *model }

// Check has nothing to check: the pipeline's has found the class.
func (conditioner) Check(*request.Resolved, pipeline.Extras, *request.Error) {}

// Conditions are the same in all steps.
func (c conditioner) Conditions(_ context.Context, q *request.Resolved, _ pipeline.Extras, _ pipeline.Steps, needs pipeline.Needs, _ pipeline.Memo) ([]pipeline.Phase, error) {
	of := func(class float32) *pipeline.Condition {
		out := &pipeline.Condition{}
		if c.c.ClassInput != "" {
			out.Inputs = []engine.Named{{Name: "class", Shape: []int{1}, Data: []float32{class}}}
		}
		return out
	}
	class, err := c.class(q.Class)
	if err != nil {
		return nil, request.Problemf("Class", "%v", err)
	}
	var all pipeline.Conditions
	if needs.Cond {
		all.Cond = of(class)
	}
	if needs.Uncond {
		all.Uncond = of(float32(max(c.c.NullClass, 0)))
	}
	return []pipeline.Phase{{Until: math.MaxInt, Conditions: func() pipeline.Conditions { return all }}}, nil
}

// low draws what the network sees of a picture to enlarge: with noise on it, at the size of
// what is drawn.
func (m *model) low(q *request.Resolved) pipeline.Draw {
	height, width := q.Height/m.factor(), q.Width/m.factor()
	if q.Low == nil { // grey, to measure with
		return func(sampler.Noise) tensor.Tensor { return tensor.New(m.c.LowChannels, height, width) }
	}
	small := tensor.FromImage(q.Low)
	if m.c.LowChannels == 1 {
		small = luminance(small)
	}
	return func(noise sampler.Noise) tensor.Tensor {
		return m.augmented(small, q, noise).Resample(tensor.Bilinear, height, width)
	}
}

// augmented is what the forward process makes of a picture at the request's level.
func (m *model) augmented(x tensor.Tensor, q *request.Resolved, noise sampler.Noise) tensor.Tensor {
	if q.NoiseLevel == 0 {
		return x
	}
	p := m.denoiser.process
	first, last := p.SigmaToT(p.SigmaMin()), p.SigmaToT(p.SigmaMax())
	sigma := p.TToSigma(first + (last-first)*float64(q.NoiseLevel)/request.MaxNoiseLevel)
	out := x.Like()
	noise.Normal(out.Data)
	alpha, scale := p.Alpha(sigma), p.Scale(sigma)
	for i, v := range x.Data {
		out.Data[i] = float32(scale * (alpha*float64(v) + sigma*float64(out.Data[i])))
	}
	return out
}

// class is what the network is given for a request's class, checked before; none is
// the class that stands for it, if there is one.
func (m *model) class(text string) (float32, error) {
	switch {
	case m.c.ClassInput == "", text == "" || text == noClass:
		return float32(max(m.c.NullClass, 0)), nil
	case m.c.ClassInput == convert.ClassValue:
		v, err := strconv.ParseFloat(text, 32)
		if err != nil || !(v >= 0 && v <= 1) {
			return 0, fmt.Errorf("must be a number from 0 to 1, got %.40q", text)
		}
		return float32(v), nil
	}
	n, err := m.names.Find(text, m.c.Classes)
	return float32(n), err
}

// check checks a request.
func (m *model) check(q *request.Resolved, _ pipeline.Attached, e *request.Error) {
	m.refuse(q, e)
	m.checkClass(q, e)
	if m.coder == nil && m.c.Latent() {
		switch {
		case m.c.EDM2 != nil:
			if q.TAESD == "" { // else that is refused
				e.Add("TAESD", "the model's latents have their own mean and deviation, and its file has no autoencoder for them")
			}
		case q.TAESD == "" || q.TAESDPreviewOnly:
			e.Add("TAESD", "the model's file has no autoencoder: a tiny one must be named, or the model opened with another file's (--vae)")
		case q.Image != nil:
			e.Add("Image", "the model's file has no autoencoder to begin with a picture: the model must be opened with another file's (--vae)")
		}
	}
	if m.c.LowChannels > 0 {
		switch {
		case q.Low == nil && q.Request.ImageFile == "":
			e.Add("Image", "the model enlarges pictures: it needs one")
		case len(q.Request.Hires) > 0:
			e.Add("Hires", "the model enlarges pictures itself")
		}
	}
}

// checkClass finds the class, which becomes a number, and turns guidance off where there
// is nothing to be guided away from.
func (m *model) checkClass(q *request.Resolved, e *request.Error) {
	none := q.Class == "" || q.Class == noClass
	switch {
	case m.c.ClassInput == "":
		if !none {
			e.Add("Class", "the model has no classes")
		}
		q.Class = ""
	case none && m.c.ClassInput == convert.ClassValue:
		e.Add("Class", "the model draws by a number from 0 to 1, which must be given")
	case none && m.c.NullClass < 0:
		e.Add("Class", "the model draws by class, which must be given: 0 to %d%s", m.c.Classes-1, m.example())
	case none:
		q.Class = noClass
	default:
		v, err := m.class(q.Class)
		if err != nil {
			e.Add("Class", "%v", err)
			return
		}
		q.Class = strconv.FormatFloat(float64(v), 'g', -1, 32)
	}
	if !none && m.c.NullClass >= 0 {
		return
	}
	why := "the model was not trained without classes, which guidance needs"
	if none && m.c.NullClass >= 0 {
		why = "guidance is towards a Class, and there is none"
	}
	if g := q.Request.Guidance; g != nil && *g != 1 {
		e.Add("Guidance", "%s: must be 1, got %g", why, *g)
	}
	q.Guidance, q.Guide.Scale = 1, 1
	for i := range q.Hires {
		if g := q.Hires[i].Guidance; g != nil && *g != 1 {
			e.Add(fmt.Sprintf("Hires[%d].Guidance", i), "%s: must be 1, got %g", why, *g)
		}
		q.Hires[i].Request.Guidance, q.Hires[i].Request.Guide.Scale = 1, 1
	}
}

// example is a name of a class, for errors.
func (m *model) example() string {
	if name := m.names.Name(min(207, m.c.Classes-1)); name != "" {
		return fmt.Sprintf(", or a name such as %q", name)
	}
	return ""
}

// refuse refuses fields that other families take.
func (m *model) refuse(q *request.Resolved, e *request.Error) {
	for _, f := range []struct{ field, text string }{{"Prompt", q.Prompt}, {"NegativePrompt", q.NegativePrompt}} {
		if f.text != "" {
			e.Add(f.field, "the model takes no text: %s", m.instead())
		}
	}
	if t := q.Interpolate; t != nil && t.Prompt != nil {
		e.Add("Interpolate.Prompt", "the model takes no text")
	}
	for _, c := range q.MicroConditions() {
		if c.Value != (image.Point{}) {
			e.Add(c.Field, "only Stable Diffusion XL takes it")
		}
	}
	for _, f := range []struct {
		field string
		set   bool
	}{{"ClipSkip", q.ClipSkip != 0}, {"Adapters", len(q.Adapters) > 0}, {"Refiner", q.Refiner != ""}, {"ImageGuidance", q.Request.ImageGuidance != nil},
		{"AestheticScore", q.Request.AestheticScore != nil || q.Request.NegativeAestheticScore != nil}} {
		if f.set {
			e.Add(f.field, "models that draw without text have no use for it")
		}
	}
}

// instead says what tells the model what to draw.
func (m *model) instead() string {
	switch {
	case m.c.ClassInput != "":
		return "a Class says what it draws"
	case m.c.LowChannels > 0:
		return "it enlarges a picture"
	}
	return "it draws what it was trained on"
}
