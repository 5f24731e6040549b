package sd

import (
	"context"
	"errors"
	"time"

	"github.com/sdgo/sdgo/internal/guard"
	"github.com/sdgo/sdgo/sampler"
)

// ErrNoEncoder is what a request that begins with a picture gets from a model
// whose file has only the autoencoder's decoder.
var ErrNoEncoder = errors.New("the model can't begin with a picture: its file has no autoencoder's encoder (first_stage_model.encoder)")

// Generate makes the pictures that a request describes. The whole request is
// checked first ([RequestError]). When it ends early, because ctx is done or
// something fails, the result still holds the pictures that were finished.
func (m *Model) Generate(ctx context.Context, r Request) (*Result, error) {
	result := &Result{}
	var failed error
	err := m.GenerateAll(ctx, []Request{r}, func(_ int, got *Result, err error) error {
		result, failed = got, err
		return nil
	})
	if failed != nil {
		err = failed
	}
	return result, err
}

// NativeSize is the side of the pictures that the model was trained on, in
// pixels; 0 of a zero value, which was never opened.
func (m *Model) NativeSize() int {
	if m.weights == nil {
		return 0
	}
	return m.weights.NativeSize
}

// event reports progress to the request's owner.
func (q resolved) event(e Event) error {
	if q.OnEvent == nil {
		return nil
	}
	return guard.Call("OnEvent", func() error { return q.OnEvent(e) })
}

// picture makes picture i of a request.
func (m *Model) picture(ctx context.Context, q resolved, c conditioning, i int, result *Result) (Image, error) {
	seed := q.Seed + int64(i)
	start := time.Now()
	latent, err := m.sample(ctx, q, c, seed, func(s sampler.Step) error {
		img, err := m.preview(ctx, q, s)
		if err != nil {
			return err
		}
		return q.event(Event{Stage: StageSample, Picture: i, Index: s.Index, Of: s.Of, Elapsed: time.Since(start), Preview: img})
	})
	result.Sample += time.Since(start)
	if err != nil {
		return Image{}, err
	}
	if latent, err = m.stages(ctx, q, c, i, latent, result); err != nil {
		return Image{}, err
	}
	start = time.Now()
	img, err := m.develop(ctx, q, latent, func(index, of int) error {
		return q.event(Event{Stage: StageDecode, Picture: i, Pass: len(q.stages), Index: index, Of: of, Elapsed: time.Since(start)})
	})
	result.Decode += time.Since(start)
	if err != nil {
		return Image{}, err
	}
	if c.source != nil {
		img = c.source.back.put(img)
	}
	return Image{Image: img, Params: m.params(q, seed)}, nil
}

// params are the parameters of the picture with one seed.
func (m *Model) params(q resolved, seed int64) Params {
	p := Params{
		Prompt: q.Prompt, NegativePrompt: q.NegativePrompt,
		Width: q.Width, Height: q.Height,
		Steps: q.Steps, Guidance: q.guidance,
		Sampler: q.sampler.Name, Schedule: q.schedule.Name,
		Seed: seed, RNG: q.RNG, ClipSkip: q.ClipSkip, DeepCache: q.DeepCache,
		Model: m.name, Stages: q.stageParams(),
	}
	if q.Image != nil {
		p.Strength = q.strength
	}
	if t := q.Towards; t != nil {
		p.towards(*t, seed-q.Seed)
	}
	if q.OnlyMasked {
		p.OnlyMasked, p.MaskPadding = true, q.padding
	}
	if q.TAESD != nil && !q.TAESDPreviewOnly {
		p.Decoder = "TAESD"
	}
	if q.Refiner != nil {
		p.Refiner, p.RefinerAt = q.Refiner.name, q.refinerAt
	}
	return p
}
