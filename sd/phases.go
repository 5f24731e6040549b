package sd

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/prompt"
)

// maxEncoded bounds the chunks of tokens that one prompt becomes in all of its
// phases: each is a run of the text encoder, and stays in memory until the
// request ends.
const maxEncoded = 512

// phase is what guides the steps up to `until`, counted from 1, behind the
// phase before. The last one reaches to the end. Phases of the same texts share
// their embeddings.
type phase struct {
	until        int
	cond, uncond embedding
	mixed        *mixture // with the picture that this one is on the way to
}

// mixture is another condition, and how far the way to it has come.
type mixture struct {
	other, empty embedding
	at           float32
}

// condition is the phase's, which is put together only when it is reached.
func (p phase) condition() embedding {
	if p.mixed == nil {
		return p.cond
	}
	return p.cond.towards(p.mixed.other, p.mixed.empty, p.mixed.at)
}

// length is that of the longest text of the phase, tokens.
func (p phase) length() int {
	n := max(p.cond.length, p.uncond.length)
	if p.mixed != nil {
		n = max(n, p.mixed.other.length)
	}
	return n
}

// inPhases is the denoiser whose prompts change from phase to phase; uncond is
// the sampler's option and made the number of steps that are done. It holds the
// memory of one phase: none comes back.
func (m *Model) inPhases(q resolved, s *source, p sampler.Prediction, x plane, phases []phase, uncond []float32, made *int) sampler.Denoiser {
	current := 0
	var guided sampler.Denoiser
	return func(ctx context.Context, dst, x0 []float32, sigma float64) error {
		next := current
		for next+1 < len(phases) && *made >= phases[next].until {
			next++
		}
		if guided == nil || next != current {
			c := phases[next]
			c.cond, c.mixed = c.condition(), nil
			current, guided = next, m.guide(q, s, p, x, c, uncond)
		}
		return guided(ctx, dst, x0, sigma)
	}
}

// handedOver is after how many of the steps that are made the refiner goes on.
func (q resolved) handedOver(steps int) int {
	return int(math.Round(q.refinerAt*float64(q.Steps))) - (q.Steps - steps)
}

// reaches reports whether a model makes any of the steps after one of the
// steps and up to another: with a refiner each makes only its share.
func (m *Model) reaches(q resolved, after, until int) bool {
	switch {
	case q.Refiner == nil:
		return true
	case q.Refiner == m:
		return until > q.handedOver(q.steps())
	}
	return after < q.handedOver(q.steps())
}

// conditioningOf encodes the prompts that the guidance scale needs, with all
// that they become from step to step.
func (m *Model) conditioningOf(ctx context.Context, q resolved, result *Result) (c conditioning, err error) {
	start := time.Now()
	defer func() { result.Text += time.Since(start) }()
	// Guidance between three answers and CFG++ need them at any scale.
	all := m.weights.Variant == "edit" || q.sampler.CFGPP
	cond, err := prompt.Schedule(q.Prompt, q.steps())
	if err != nil {
		return c, inField(err, "Prompt")
	}
	uncond, err := prompt.Schedule(q.NegativePrompt, q.steps())
	if err != nil {
		return c, inField(err, "NegativePrompt")
	}
	encode, encodeNegative := m.encodeOnce(q, false), m.encodeOnce(q, true)
	before := 0
	for i, k := 0, 0; i < len(cond) && k < len(uncond); {
		p := phase{until: min(cond[i].Until, uncond[k].Until)}
		reached := m.reaches(q, before, p.until)
		if reached && (q.guidance != 0 || all) {
			if p.cond, err = encode(ctx, cond[i].Text); err != nil {
				return c, inField(err, "Prompt")
			}
		}
		if reached && (q.guidance != 1 || all) {
			if p.uncond, err = encodeNegative(ctx, uncond[k].Text); err != nil {
				return c, inField(err, "NegativePrompt")
			}
		}
		c.phases, before = append(c.phases, p), p.until
		if cond[i].Until == p.until {
			i++
		}
		if uncond[k].Until == p.until {
			k++
		}
	}
	for _, t := range m.texts {
		t.idle()
	}
	return c, q.event(Event{Stage: StageText, Index: 1, Of: 1, Elapsed: time.Since(start)})
}

// encodeOnce returns a function that encodes each text once for a request: as
// the UNet sees it, as a prompt or as a negative one. Of a request's stages, which
// have mostly the same texts, the first one encodes them.
func (m *Model) encodeOnce(q resolved, negative bool) func(context.Context, string) (embedding, error) {
	described := map[string]embedding{}
	return func(ctx context.Context, text string) (embedding, error) {
		if e, ok := described[text]; ok {
			return e, nil
		}
		key := encodedText{m, text}
		e, ok := q.encoded[key]
		if !ok {
			var err error
			if e, err = m.encode(ctx, text, q.ClipSkip); err != nil {
				return e, err
			}
			if q.encoded != nil {
				q.encoded[key] = e
			}
		}
		if negative {
			e = m.silence(e, text)
		}
		described[text] = m.describe(e, q, negative)
		return described[text], nil
	}
}

// encodedText is a text that a model has encoded.
type encodedText struct {
	m    *Model
	text string
}

// checkPrompts checks all prompts: their grammar, and how much text they are in
// all of a request's phases.
func (m *Model) checkPrompts(q resolved, e *RequestError) {
	steps := []int{1}
	if q.Steps > 0 && q.Steps <= MaxSteps {
		steps[0] = q.steps()
	}
	for _, h := range q.stages {
		if h.strength > 0 && h.steps > 0 && h.steps <= MaxSteps && h.steps != steps[len(steps)-1] {
			steps = append(steps, h.steps)
		}
	}
	for _, p := range []struct{ field, text string }{{"Prompt", q.Prompt}, {"NegativePrompt", q.NegativePrompt}} {
		e.join(inField(m.checkPrompt(p.text, steps), p.field))
	}
	if t := q.Towards; t != nil && t.Prompt != nil {
		e.join(otherPrompt(inField(m.checkPrompt(*t.Prompt, steps), "Prompt")))
	}
}

// checkPrompt checks a prompt that is drawn with so many steps, and then again
// with others.
func (m *Model) checkPrompt(text string, steps []int) error {
	seen := map[string]bool{}
	encoded, phases := 0, 0
	for _, n := range steps {
		entries, err := prompt.Schedule(text, n)
		if err != nil {
			return err
		}
		phases += len(entries)
		for _, entry := range entries {
			if seen[entry.Text] {
				continue
			}
			seen[entry.Text] = true
			segments, err := parsePrompt(entry.Text)
			if err != nil {
				return err
			}
			longest := 0
			for _, t := range m.texts {
				chunks, err := m.chunks(t, segments)
				if err != nil {
					return err
				}
				longest = max(longest, len(chunks))
			}
			if encoded += longest; encoded > maxEncoded {
				what := fmt.Sprintf("chunks of tokens in the first %d of the different texts of %d phases", len(seen), phases)
				return &prompt.LimitError{What: what, Got: encoded, Max: maxEncoded}
			}
		}
	}
	return nil
}
