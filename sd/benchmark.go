package sd

import (
	"context"

	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/pipeline"
)

// StageTiming is what one stage of drawing took; OpTiming the part of one kind of
// operator in it.
type (
	StageTiming = pipeline.StageTiming
	OpTiming    = pipeline.OpTiming
)

// Benchmark runs each stage of drawing a picture once: one chunk of text, one step
// with guidance (two latents, as a batch), one decode. The first call of a model also
// loads its weights and builds its graphs; it is to be thrown away. The pictures are
// drawn with adapters that are attached, if any are given.
func (m *Model) Benchmark(ctx context.Context, width, height int, adapters ...RequestAdapter) ([]StageTiming, error) {
	drawings, release, err := m.acquire([]Request{{Prompt: "a lighthouse at dusk", Width: width, Height: height, Adapters: adapters}})
	if err != nil {
		return nil, err
	}
	defer release()
	if ctx == nil {
		return nil, engine.ErrNilContext
	}
	return m.pipeline.Benchmark(ctx, drawings[0])
}
