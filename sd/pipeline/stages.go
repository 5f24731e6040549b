package pipeline

import (
	"context"
	"image"
	"math"
	"time"

	"github.com/sdgo/sdgo/sd/request"
)

// addStages finds the models that enlarge a request's picture afterwards, and makes a
// drawing for each: of a picture that has the size of what comes before.
func (d *Drawing) addStages(r request.Request, with Attached, e *request.Error) {
	size := image.Pt(d.Width, d.Height)
	if n := len(d.passes); n > 0 {
		last := d.passes[n-1].drawing
		size = image.Pt(last.Width, last.Height)
	}
	for _, name := range r.Stages {
		m := with.Models[name]
		switch {
		case m == nil:
			e.Add("Stages", "no model %.80q is attached", name)
			return
		case !m.Defaults.Enlarges:
			e.Add("Stages", "%.80q must be a model that enlarges pictures", name)
			return
		case len(e.Problems) > 0: // nothing is known of the size
			return
		}
		s := request.Request{
			Image: image.NewNRGBA(image.Rectangle{Max: size}), Seed: max(d.Seed, 0), RNG: d.RNG, Steps: d.StageSteps, NoiseLevel: r.NoiseLevel,
			Sampler: r.Sampler, Schedule: r.Schedule, SamplerOptions: r.SamplerOptions, PreviewEvery: r.PreviewEvery, PreviewNoisy: r.PreviewNoisy,
			Cache: r.Cache, CacheOptions: r.CacheOptions,
		}
		if m.Classes > 0 {
			s.Class = d.Class
		}
		if !m.Textless {
			s.Prompt, s.NegativePrompt = r.Prompt, r.NegativePrompt
		}
		if m.Defaults.Guidance != 1 { // else it takes none
			s.Guidance, s.Guider, s.GuiderOptions = r.Guidance, r.Guider, r.GuiderOptions
		}
		stage, err := m.Resolve(s, Attached{})
		if err != nil {
			e.Join(request.Problemf("Stages", "%.80s: %v", name, err))
			return
		}
		size = image.Pt(stage.Width, stage.Height)
		d.stages = append(d.stages, stage)
	}
}

// fits reports whether a step of n pictures of a stage fits in memory.
func (d Drawing) fits(ctx context.Context, n int) (bool, error) {
	p := d.model
	phases, err := p.Conditioner.Conditions(ctx, &d.Resolved, d.ExtrasOf(p), Steps{0, math.MaxInt}, p.needs(d), Memo{})
	if err != nil {
		return false, err
	}
	need, err := p.stepMemory(ctx, task{&job{d: d}, guided{phases: phases, low: lowOf(p, d)}, 0}, n)
	return need <= p.Host.Room(p.Denoiser.Network().Device()), err
}

// stage enlarges a picture with the n-th of a request's stages.
func (r rendering) stage(ctx context.Context, n int, img request.Image) (*image.NRGBA, error) {
	pass := len(r.d.passes) + n
	if r.d.KeepStages {
		draft := request.Image{Image: img.Image, Params: img.Params}
		draft.Params.Stages = draft.Params.Stages[:n]
		if err := r.d.event(request.Event{Stage: request.StageDraft, Picture: r.i, Pass: pass, Index: pass + 1, Of: len(r.d.passes) + len(r.d.stages), Image: &draft}); err != nil {
			return nil, err
		}
	}
	start := time.Now()
	d := r.d.stages[n]
	d.Low, d.run, d.OnEvent = img.Image, r.d.run, r.d.OnEvent
	of := rendering{d: d, i: r.i, result: r.result}
	out, err := of.enlarged(ctx, pass+1)
	r.result.Stages = append(r.result.Stages, time.Since(start))
	return out, err
}

// enlarged draws a stage's picture, as one that is drawn alone.
func (r rendering) enlarged(ctx context.Context, pass int) (*image.NRGBA, error) {
	p := r.d.model
	if err := p.upload(ctx, r.d); err != nil {
		return nil, err
	}
	c := guided{low: lowOf(p, r.d)}
	var err error
	start := time.Now()
	c.phases, err = p.Conditioner.Conditions(ctx, &r.d.Resolved, r.d.ExtrasOf(p), Steps{0, math.MaxInt}, p.needs(r.d), Memo{})
	r.result.Text += time.Since(start)
	if err != nil {
		return nil, err
	}
	latent, err := r.steps(ctx, r.d, c, pass)
	if err != nil {
		return nil, err
	}
	pixels, err := r.decode(ctx, pass, latent)
	if err != nil {
		return nil, err
	}
	img, err := p.Output.image(pixels)
	return img.Image, err
}
