package pipeline

import (
	"context"
	"errors"
	"fmt"

	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/prompt"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/sd/tensor"
)

// maxEncoded bounds the chunks of tokens that one prompt becomes in all of its
// phases: each is a run of the text encoder, and stays in memory until the
// request ends.
const maxEncoded = 512

// Text turns texts into conditions, for families that draw from text.
type Text interface {
	// Encode encodes one text of a prompt, or of a negative one. It keeps in memo what
	// further passes of the request can use again.
	Encode(ctx context.Context, text string, negative bool, q *request.Resolved, memo Memo) (Condition, error)

	// Chunks is the number of runs of a text encoder that a text takes.
	Chunks(text string) (int, error)

	// Check checks the request's fields about the encoders.
	Check(q *request.Resolved, e *request.Error)

	// Idle is called when all is encoded.
	Idle()
}

// Prompts is the [Conditioner] of families that draw from text: prompts that change
// from step to step, and those on the way to others.
type Prompts struct{ Text }

// Check checks all prompts: their grammar, and how much text they are in all of a
// request's phases.
func (p Prompts) Check(q *request.Resolved, e *request.Error) {
	p.Text.Check(q, e)
	steps := []int{1}
	if q.Steps > 0 && q.Steps <= request.MaxSteps {
		steps[0] = q.StepsToMake()
	}
	for _, h := range q.Hires {
		if h.Strength > 0 && h.Steps > 0 && h.Steps <= request.MaxSteps && h.Steps != steps[len(steps)-1] {
			steps = append(steps, h.Steps)
		}
	}
	for _, f := range []struct{ field, text string }{{"Prompt", q.Prompt}, {"NegativePrompt", q.NegativePrompt}} {
		e.Join(inField(p.checkPrompt(f.text, steps), f.field))
	}
	if t := q.Interpolate; t != nil && t.Prompt != nil {
		e.Join(inField(p.checkPrompt(*t.Prompt, steps), "Interpolate.Prompt"))
	}
}

// checkPrompt checks a prompt that is drawn with so many steps, and then again
// with others.
func (p Prompts) checkPrompt(text string, steps []int) error {
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
			chunks, err := p.Chunks(entry.Text)
			if err != nil {
				return err
			}
			if encoded += chunks; encoded > maxEncoded {
				what := fmt.Sprintf("chunks of tokens in the first %d of the different texts of %d phases", len(seen), phases)
				return &prompt.LimitError{What: what, Got: encoded, Max: maxEncoded}
			}
		}
	}
	return nil
}

// Conditions encodes the prompts that guidance needs, with all that they
// become from step to step, and mixes them with those of the picture that the request
// is on the way to.
func (p Prompts) Conditions(ctx context.Context, q *request.Resolved, steps Steps, needs Needs, memo Memo) ([]Phase, error) {
	defer p.Idle()
	own, err := p.encode(ctx, q, q.Prompt, steps, needs, memo)
	if err != nil {
		return nil, err
	}
	var all []Phase
	if t := q.Interpolate; t == nil || t.Prompt == nil {
		for _, e := range own {
			all = append(all, Phase{e.until, func() Conditions { return Conditions{e.cond, e.uncond} }})
		}
		return all, nil
	}
	other, err := p.encode(ctx, q, *q.Interpolate.Prompt, steps, needs, memo)
	if err != nil {
		return nil, request.Rename(err, "Interpolate.Prompt")
	}
	empty, err := p.Encode(ctx, "", false, q, memo)
	if err != nil {
		return nil, err
	}
	return between(own, other, empty, float32(q.Interpolate.At)), nil
}

// encoded are the conditions of a phase; nil where no answer is asked for.
type encoded struct {
	until        int
	cond, uncond *Condition
}

// encode encodes a prompt and the negative one.
func (p Prompts) encode(ctx context.Context, q *request.Resolved, text string, steps Steps, needs Needs, memo Memo) (all []encoded, err error) {
	made := q.StepsToMake()
	cond, err := prompt.Schedule(text, made)
	if err != nil {
		return nil, inField(err, "Prompt")
	}
	uncond, err := prompt.Schedule(q.NegativePrompt, made)
	if err != nil {
		return nil, inField(err, "NegativePrompt")
	}
	known := [2]map[string]*Condition{{}, {}}
	one := func(kind int, text string) (*Condition, error) {
		c, ok := known[kind][text]
		if !ok {
			e, err := p.Encode(ctx, text, kind == 1, q, memo)
			if err != nil {
				return nil, err
			}
			c = &e
			known[kind][text] = c
		}
		return c, nil
	}
	before := 0
	for i, k := 0, 0; i < len(cond) && k < len(uncond); {
		e := encoded{until: min(cond[i].Until, uncond[k].Until)}
		reached := steps.Reaches(before, e.until)
		if reached && needs.Cond {
			if e.cond, err = one(0, cond[i].Text); err != nil {
				return nil, inField(err, "Prompt")
			}
		}
		if reached && needs.Uncond {
			if e.uncond, err = one(1, uncond[k].Text); err != nil {
				return nil, inField(err, "NegativePrompt")
			}
		}
		all, before = append(all, e), e.until
		if cond[i].Until == e.until {
			i++
		}
		if uncond[k].Until == e.until {
			k++
		}
	}
	return all, nil
}

// between mixes two lists of phases, which may change after different steps.
func between(a, b []encoded, empty Condition, t float32) (all []Phase) {
	for i, k := 0, 0; i < len(a) && k < len(b); {
		until := min(a[i].until, b[k].until)
		cond, other := a[i].cond, b[k].cond
		uncond := a[i].uncond // the same, but for its changes, which are in both
		all = append(all, Phase{until, func() Conditions {
			if cond == nil || t == 0 {
				return Conditions{cond, uncond}
			}
			mixed := mix(*cond, *other, empty, t)
			return Conditions{&mixed, uncond}
		}})
		if a[i].until == until {
			i++
		}
		if b[k].until == until {
			k++
		}
	}
	return all
}

// mix is the point between two conditions at t. An input with fewer rows than the
// other's is followed by those of the empty text, but at the end, which is the other
// condition itself.
func mix(a, b, empty Condition, t float32) Condition {
	if t == 1 {
		return b
	}
	out := Condition{Inputs: make([]engine.Named, len(a.Inputs))}
	for i := range a.Inputs {
		x, y := padded(a.Inputs[i], b.Inputs[i], empty.Inputs[i]), padded(b.Inputs[i], a.Inputs[i], empty.Inputs[i])
		data := make([]float32, len(x.Data))
		for k, v := range x.Data {
			data[k] = (1-t)*v + t*y.Data[k]
		}
		out.Inputs[i] = engine.Named{Name: x.Name, Shape: x.Shape, Data: data}
	}
	return out
}

// padded is an input with as many rows as another.
func padded(in, other, empty engine.Named) engine.Named {
	if in.Shape[0] >= other.Shape[0] {
		return in
	}
	data := in.Data[:len(in.Data):len(in.Data)]
	for want := tensor.Size(other.Shape); len(data) < want; {
		data = append(data, empty.Data...)
	}
	return engine.Named{Name: in.Name, Shape: other.Shape, Data: data}
}

// TagError is an extra network that a prompt asks for.
type TagError struct{ prompt.Tag }

func (e *TagError) Error() string {
	return fmt.Sprintf("<%s:%s>: extra networks are not supported yet", e.Kind, e.Name)
}

// inField names the field of a request whose text cannot be. Errors that are
// not the text's own stay as they are.
func inField(err error, field string) error {
	var limit *prompt.LimitError
	var weight *prompt.WeightError
	var tag *TagError
	if errors.As(err, &limit) || errors.As(err, &weight) || errors.As(err, &tag) {
		return request.Problemf(field, "%s", err)
	}
	return err
}
