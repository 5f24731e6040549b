package sd

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/sdgo/sdgo/sampler"
)

// Towards is another picture that a request's are drawn on the way to.
type Towards struct {
	// Prompt, if not nil, is the other picture's. What the UNet sees of both is
	// mixed along a straight line.
	Prompt *string

	// Seed, if not nil, is the other picture's first seed, counted up with the
	// request's. The noise to begin with is that on the arc between both, as for
	// AUTOMATIC1111's variation seeds; later noise is the request's own.
	Seed *int64

	// At is how far along the way, 0 (the request's own picture) to 1.
	At float64
}

// checkTowards checks the other picture of a request.
func (q *resolved) checkTowards(e *RequestError) {
	t := q.Towards
	if t == nil {
		return
	}
	if !(t.At >= 0 && t.At <= 1) {
		e.add("Towards.At", "%g, 0 to 1 wanted", t.At)
	}
	if t.Prompt == nil && t.Seed == nil {
		e.add("Towards", "neither a Prompt nor a Seed")
	}
	if t.Seed != nil && (*t.Seed < 0 || *t.Seed > math.MaxInt64-MaxCount) {
		e.add("Towards.Seed", "%d, 0 to %d wanted", *t.Seed, int64(math.MaxInt64-MaxCount))
	}
}

// conditioning encodes the prompts of a request, and mixes them with those of
// the picture that it is on the way to.
func (m *Model) conditioning(ctx context.Context, q resolved, result *Result) (conditioning, error) {
	c, err := m.conditioningOf(ctx, q, result)
	if err != nil || q.Towards == nil || q.Towards.Prompt == nil {
		return c, err
	}
	o := q
	o.Prompt, o.OnEvent = *q.Towards.Prompt, nil
	other, err := m.conditioningOf(ctx, o, result)
	if err != nil {
		return c, otherPrompt(err)
	}
	empty, err := m.encode(ctx, "", q.ClipSkip)
	if err != nil {
		return c, err
	}
	c.phases = between(c.phases, other.phases, empty, float32(q.Towards.At))
	return c, nil
}

// otherPrompt names the field of what is wrong with the other picture's prompt.
func otherPrompt(err error) error {
	var e *RequestError
	if !errors.As(err, &e) {
		return err
	}
	moved := &RequestError{Problems: slices.Clone(e.Problems)}
	for i := range moved.Problems {
		moved.Problems[i].Field = "Towards.Prompt"
	}
	return moved
}

// between mixes two lists of phases, which may change after different steps.
func between(a, b []phase, empty embedding, t float32) (all []phase) {
	for i, k := 0, 0; i < len(a) && k < len(b); {
		p := phase{until: min(a[i].until, b[k].until)}
		p.cond, p.mixed = a[i].cond, &mixture{b[k].cond, empty, t}
		p.uncond = a[i].uncond // the same, but for its changes, which are in both
		all = append(all, p)
		if a[i].until == p.until {
			i++
		}
		if b[k].until == p.until {
			k++
		}
	}
	return all
}

// towards is the point between two embeddings at t. Where one has fewer chunks,
// empty ones follow it, but at the ends, which are the embeddings themselves.
func (e embedding) towards(o, empty embedding, t float32) embedding {
	switch {
	case e.data == nil || t == 0: // not wanted, or this end
		return e
	case t == 1:
		return o
	}
	e, o = e.padded(o.length, empty), o.padded(e.length, empty)
	e.data, e.pooled, e.about = mix(e.data, o.data, t), mix(e.pooled, o.pooled, t), mix(e.about, o.about, t)
	return e
}

func (e embedding) padded(length int, empty embedding) embedding {
	data := e.data[:len(e.data):len(e.data)]
	for ; e.length < length; e.length += empty.length {
		data = append(data, empty.data...)
	}
	e.data = data
	return e
}

func mix(a, b []float32, t float32) []float32 {
	if a == nil {
		return nil
	}
	out := make([]float32, len(a))
	for i, v := range a {
		out[i] = (1-t)*v + t*b[i]
	}
	return out
}

// towards notes the other picture in a picture's parameters.
func (p *Params) towards(t Towards, i int64) {
	p.TowardsPrompt, p.TowardsAt = t.Prompt, t.At
	if t.Seed != nil {
		seed := *t.Seed + i
		p.TowardsSeed = &seed
	}
}

// towardsText is what AUTOMATIC1111 writes of variation seeds; it has no word
// for prompts.
func (p Params) towardsText() (text string) {
	if p.TowardsSeed != nil {
		text = fmt.Sprintf(", Variation seed: %d, Variation seed strength: %g", *p.TowardsSeed, p.TowardsAt)
	}
	if p.TowardsPrompt != nil {
		text += fmt.Sprintf(", Towards: %s, Towards at: %g", quoted(*p.TowardsPrompt), p.TowardsAt)
	}
	return text
}

// noise is the stream of a picture's noise, for latents of x's shape.
func (q resolved) noise(seed int64, x plane) sampler.Noise {
	own := newNoise(q.RNG, seed)
	if q.Towards == nil || q.Towards.Seed == nil {
		return own
	}
	return &arcNoise{own, newNoise(q.RNG, *q.Towards.Seed+seed-q.Seed), q.Towards.At, x, false}
}

// arcNoise is a stream whose first noise, a whole latent, is on the arc to
// another stream's.
type arcNoise struct {
	sampler.Noise
	other sampler.Noise
	at    float64
	shape plane
	begun bool
}

func (n *arcNoise) Normal(dst []float32) {
	n.Noise.Normal(dst)
	if n.begun {
		return
	}
	n.begun = true
	other := make([]float32, len(dst))
	n.other.Normal(other)
	sampler.SlerpColumns(dst, dst, other, n.at, n.shape.height, n.shape.width)
}
