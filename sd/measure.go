package sd

import (
	"context"
	"slices"
	"time"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/sampler"
)

// Measurement is what one stage of drawing took.
type Measurement struct {
	Stage string // "text", "step" or "decode"
	Time  time.Duration
	FLOP  float64 // floating-point operations of the plain algorithms
	Ops   []Work  // by kind of operator; empty with ggml's operators
}

// Work is the part of one kind of operator in a [Measurement].
type Work struct {
	Op    string // "conv 3x3", "linear", …
	Calls int
	FLOP  float64
	Time  time.Duration
}

// Measure runs each stage of drawing a picture once, for benchmarks: one chunk
// of text, one step with guidance (two latents, as a batch), one decode. The
// first call of a model also loads its weights and builds its graphs; it is to
// be thrown away.
func (m *Model) Measure(ctx context.Context, width, height int) ([]Measurement, error) {
	end, err := use(m)
	if err != nil {
		return nil, err
	}
	defer end()
	if ctx == nil {
		return nil, errNilContext
	}
	q, err := Request{Width: width, Height: height}.resolve(m.NativeSize())
	if err != nil {
		return nil, err
	}
	var e embedding
	latent := newPlane(m.weights.UNet.OutChannels, q.Height/m.factor(), q.Width/m.factor())
	sampler.NewPhilox(0).Normal(latent.data)
	beside := make([]float32, (m.weights.UNet.InChannels-latent.channels)*latent.height*latent.width)
	stages := []struct {
		name string
		nets []*part
		run  func() error
	}{
		{"text", m.textParts(), func() (err error) {
			e, err = m.encode(ctx, "a lighthouse at dusk", 0)
			e = m.describe(e, q, false)
			return err
		}},
		{"step", []*part{m.unet}, func() error {
			out := [][]float32{make([]float32, len(latent.data)), make([]float32, len(latent.data))}
			return m.evaluate(alone, latent, nil, view{e, beside}, view{e, beside})(ctx, out, latent.data, 500)
		}},
		{"decode", []*part{m.decoder}, func() error {
			_, err := m.decode(ctx, latent, func(int, int) error { return nil })
			return err
		}},
	}
	var out []Measurement
	for _, s := range stages {
		for _, p := range s.nets {
			p.net.Profile()
		}
		start := time.Now()
		if err := s.run(); err != nil {
			return nil, err
		}
		took := time.Since(start)
		var work []cgo.Work
		for _, p := range s.nets {
			work = addWork(work, p.net.Profile())
		}
		out = append(out, measurement(s.name, took, work))
	}
	return out, nil
}

func (m *Model) textParts() []*part {
	var parts []*part
	for _, t := range m.texts {
		parts = append(parts, t.part)
	}
	return parts
}

// addWork adds what another network did.
func addWork(all, more []cgo.Work) []cgo.Work {
	for _, w := range more {
		i := slices.IndexFunc(all, func(a cgo.Work) bool { return a.Op == w.Op })
		if i < 0 {
			all = append(all, w)
			continue
		}
		all[i].Calls += w.Calls
		all[i].FLOP += w.FLOP
		all[i].Seconds += w.Seconds
	}
	return all
}

// measurement sums up what a stage's network did.
func measurement(stage string, took time.Duration, work []cgo.Work) Measurement {
	r := Measurement{Stage: stage, Time: took}
	rest := took
	for _, w := range work {
		if w.Op == "" {
			r.FLOP = w.FLOP
			continue
		}
		d := time.Duration(w.Seconds * float64(time.Second))
		r.Ops = append(r.Ops, Work{w.Op, w.Calls, w.FLOP, d})
		rest -= d
	}
	if len(r.Ops) > 0 {
		r.Ops = append(r.Ops, Work{Op: "rest", Time: max(rest, 0)})
	}
	return r
}
