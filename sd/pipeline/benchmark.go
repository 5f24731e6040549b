package pipeline

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/tensor"
)

// StageTiming is what one stage of drawing took.
type StageTiming struct {
	Stage string // "text", "step" or "decode"
	Time  time.Duration
	FLOP  float64    // floating-point operations of the plain algorithms
	Ops   []OpTiming // by kind of operator; empty with ggml's operators
}

// OpTiming is the part of one kind of operator in a [StageTiming].
type OpTiming struct {
	Op    string // "conv 3x3", "linear", …
	Calls int
	FLOP  float64
	Time  time.Duration
}

// Benchmark runs each stage of a drawing once.
func (p *Pipeline) Benchmark(ctx context.Context, d Drawing) ([]StageTiming, error) {
	q := d.Resolved
	latent := d.latent()
	sampler.NewPhilox(0).Normal(latent.Data)
	var c Condition
	stages := []struct {
		name string
		role string
		run  func() error
	}{
		{"text", engine.RoleText, func() error {
			phases, err := p.Conditioner.Conditions(ctx, &q, d.extras, Steps{0, math.MaxInt}, Needs{Cond: true}, nil)
			if err == nil {
				c = *phases[0].Conditions().Cond
			}
			return err
		}},
		{"step", engine.RoleDenoiser, func() error {
			var s start
			if p.Concat != nil {
				s.concat = tensor.New(p.ConcatChannels, latent.Height(), latent.Width())
			}
			if low := lowOf(p, d); low != nil {
				s.low = low(newNoise(d.RNG, 0))
			}
			c := answer{condition: condition(&c, s, true), output: "out"}
			out := [][]float32{make([]float32, len(latent.Data)), make([]float32, len(latent.Data))}
			return p.model(alone, latent.Shape, nil, nil, beside{adapt: d.denoiserOf(p)}, c, c)(ctx, out, latent.Data, 500)
		}},
		{"decode", engine.RoleVAE, func() error {
			_, err := p.Autoencoder.Decode(ctx, latent, tensor.NoProgress)
			return err
		}},
	}
	var out []StageTiming
	for _, s := range stages {
		p.profile(s.role)
		start := time.Now()
		if err := s.run(); err != nil {
			return nil, err
		}
		took := time.Since(start)
		out = append(out, timing(s.name, took, p.profile(s.role)))
	}
	return out, nil
}

// profile is what the networks of a role did since the last call.
func (p *Pipeline) profile(role string) (work []cgo.Work) {
	for _, n := range p.Host.Networks() {
		if n.Role() == role {
			work = addWork(work, n.Profile())
		}
	}
	return work
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

// timing sums up what a stage's networks did.
func timing(stage string, took time.Duration, work []cgo.Work) StageTiming {
	r := StageTiming{Stage: stage, Time: took}
	rest := took
	for _, w := range work {
		if w.Op == "" {
			r.FLOP = w.FLOP
			continue
		}
		d := time.Duration(w.Seconds * float64(time.Second))
		r.Ops = append(r.Ops, OpTiming{w.Op, w.Calls, w.FLOP, d})
		rest -= d
	}
	if len(r.Ops) > 0 {
		r.Ops = append(r.Ops, OpTiming{Op: "rest", Time: max(rest, 0)})
	}
	return r
}
