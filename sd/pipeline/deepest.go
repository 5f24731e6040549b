package pipeline

import (
	"context"
	"fmt"
	"slices"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/direction"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/sd/tensor"
)

// Directions change the deepest features of the denoiser, what its middle block returns, where
// it answers to the prompt (h-space: Kwon et al. 2022, arXiv:2210.10960).

// DeepestFeatures is a denoiser that has them: the output "h" and the input "h_add".
type DeepestFeatures interface {
	// DeepestShape is their shape for a picture's latent, [channels, height, width].
	DeepestShape(latent []int) []int
}

// directed is a direction of a drawing.
type directed struct {
	direction  *direction.Direction
	strength   float64
	start, end float64 // parts of the steps
}

// deepest is what is done to the deepest features in one run.
type deepest struct {
	shape  []int
	all    []directed
	record func(timestep float64, h []float32)
	made   *int // steps
	steps  int
}

// deepestOf is that for one answer: nil for nothing.
type deepestOf struct {
	shape []int
	add   []float32
	tell  func(h []float32)
}

// newDeepest is nil where nothing is done.
func newDeepest(d Drawing, made *int, steps int) *deepest {
	if len(d.directed) == 0 && d.record == nil {
		return nil
	}
	net, _ := d.model.Denoiser.(DeepestFeatures) // which is checked
	return &deepest{net.DeepestShape(d.model.Denoiser.Latent(d.Width, d.Height)), d.directed, d.record, made, steps}
}

// at is what is done at a timestep; drawn says that the answer is to the prompt.
func (h *deepest) at(timestep float64, drawn bool) deepestOf {
	out := deepestOf{shape: h.shape}
	if !drawn {
		return out
	}
	if h.record != nil {
		out.tell = func(of []float32) { h.record(timestep, of) }
	}
	for i, takesPart := range h.parts() {
		if !takesPart {
			continue
		}
		d := h.all[i]
		if out.add == nil {
			out.add = make([]float32, tensor.Size(h.shape))
		}
		d.direction.Add(out.add, d.strength, timestep)
	}
	return out
}

// parts say which of the directions take part in the current step.
func (h *deepest) parts() []bool {
	if h == nil {
		return nil
	}
	out := make([]bool, len(h.all))
	for i, d := range h.all {
		out[i] = *h.made >= int(d.start*float64(h.steps)) && *h.made < int(d.end*float64(h.steps)) && d.strength != 0
	}
	return out
}

// withDeepest adds to a pass's inputs and outputs what is done to the deepest features. told
// is called after the pass.
func (in evaluation) withDeepest(p *Pipeline, inputs []cgo.Input, outputs []cgo.Output) (_ []cgo.Input, _ []cgo.Output, told func()) {
	adds := slices.ContainsFunc(in.deepest, func(d deepestOf) bool { return d.add != nil })
	tells := slices.ContainsFunc(in.deepest, func(d deepestOf) bool { return d.tell != nil })
	if !adds && !tells {
		return inputs, outputs, func() {}
	}
	n := len(in.deepest)
	shape, size := tensor.Batch(n, in.deepest[0].shape), tensor.Size(in.deepest[0].shape)
	if adds {
		all := make([]float32, n*size)
		for i, d := range in.deepest {
			copy(all[i*size:], d.add)
		}
		inputs = append(inputs, cgo.Input{Name: "h_add", Shape: shape, F32: all})
	}
	if !tells {
		return inputs, outputs, func() {}
	}
	h := make([]float32, n*size)
	return inputs, append(outputs, cgo.Output{Name: "h", Data: h}), func() {
		for i, d := range in.deepest {
			if d.tell != nil {
				d.tell(h[i*size : (i+1)*size])
			}
		}
	}
}

// attachDirections finds the directions that a request names.
func attachDirections(d *Drawing, with Attached, e *request.Error) {
	d.directed = nil
	if len(d.Directions) == 0 {
		return
	}
	if !d.hasDeepest("Directions", e) {
		return
	}
	for i, r := range d.Directions {
		found := with.Directions[r.Name]
		field := fmt.Sprintf("Directions[%d].Name", i)
		if found == nil {
			e.Add(field, "no direction %.80q is attached", r.Name)
			continue
		}
		for _, q := range append([]request.Resolved{d.Resolved}, passesOf(*d)...) {
			want := d.model.Denoiser.(DeepestFeatures).DeepestShape(d.model.Denoiser.Latent(q.Width, q.Height))
			if got := found.Shape(); !slices.Equal(got, want) {
				e.Add(field, "direction %s must have features of the shape %v, which are the model's for %dx%d, got %v", found.Name(), want, q.Width, q.Height, got)
				break
			}
		}
		one := directed{direction: found}
		one.strength, one.start, one.end = r.Numbers()
		d.directed = append(d.directed, one)
	}
	for i := range d.passes {
		d.passes[i].drawing.directed = d.directed
	}
}

// passesOf are a drawing's hires passes as requests.
func passesOf(d Drawing) (all []request.Resolved) {
	for _, h := range d.passes {
		all = append(all, h.drawing.Resolved)
	}
	return all
}

// hasDeepest reports whether the drawing's denoiser computes deepest features in every pass.
func (d Drawing) hasDeepest(field string, e *request.Error) bool {
	if _, ok := d.model.Denoiser.(DeepestFeatures); !ok {
		e.Add(field, "the model's network is no UNet of Stable Diffusion, which has a middle block")
		return false
	}
	if d.DeepCache > 1 {
		e.Add(field, "do not go with DeepCache, which computes no middle block in most steps")
		return false
	}
	if c := d.Caching.Cache; c.Inner {
		e.Add(field, "do not go with %s, which computes no middle block in some steps", c.Name)
		return false
	}
	if len(d.Guides) > 0 && d.Losses.Method.Backward {
		e.Add("GuideMethod", "%s does not go with directions: mpgd does, which needs no derivative of the model", d.GuideMethod)
		return false
	}
	return true
}

// Deepest draws the latents of a drawing's pictures and tells record of the deepest features
// where the denoiser answers to the prompt.
func Deepest(ctx context.Context, p *Pipeline, d Drawing, record func(picture int, timestep float64, h []float32)) error {
	var e request.Error
	if !d.hasDeepest("Prompt", &e) {
		return e.Err()
	}
	if len(d.passes) > 0 {
		return request.Problemf("Hires", "do not go with features, which have the size of one pass")
	}
	if d.refiner != nil {
		return request.Problemf("Refiner", "does not go with features, which are those of one model")
	}
	if d.Cache != "" {
		return request.Problemf("Cache", "does not go with features, which are those of every evaluation")
	}
	var result request.Result
	c, err := p.prepare(ctx, d, &result)
	for i := range d.Count {
		if err != nil {
			return err
		}
		d.record = func(timestep float64, h []float32) { record(i, timestep, h) }
		_, err = p.sample(ctx, d, c, d.Seed+int64(i), func(s sampler.Step) error {
			return d.event(request.Event{Stage: request.StageSample, Picture: i, Index: s.Index, Of: s.Of})
		})
	}
	return err
}

// DeepestShape is the shape of the features that Deepest tells of.
func DeepestShape(p *Pipeline, d Drawing) []int {
	return p.Denoiser.(DeepestFeatures).DeepestShape(p.Denoiser.Latent(d.Width, d.Height))
}
