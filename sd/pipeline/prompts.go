package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/sdgo/sdgo/sd/adapter"
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
	Encode(ctx context.Context, text string, negative bool, q *request.Resolved, with Extras, memo Memo) (Condition, error)

	// Chunks is the number of runs of a text encoder that a text takes.
	Chunks(text string, with Extras) (int, error)

	// Check checks the request's fields about the encoders.
	Check(q *request.Resolved, e *request.Error)

	// Idle is called when all is encoded.
	Idle()
}

// Prompts is the [Conditioner] of families that draw from text: prompts that change
// from step to step, and those on the way to others.
type Prompts struct{ Text }

// Check checks all prompts: their grammar, and how much text they are in all of a
// request's passes.
func (p Prompts) Check(q *request.Resolved, with Extras, e *request.Error) {
	p.Text.Check(q, e)
	passes := []passSteps{{prompt.Pass{Steps: 1}, 1}}
	if q.Steps > 0 && q.Steps <= request.MaxSteps {
		passes[0] = stepsOf(q)
	}
	for i := range q.Hires {
		if h := &q.Hires[i]; h.Strength > 0 && h.Steps > 0 && h.Steps <= request.MaxSteps {
			passes = append(passes, stepsOf(&h.Request))
		}
	}
	e.Join(inField(p.checkComposed(q.Prompt, with, passes), "Prompt"))
	e.Join(inField(p.checkPrompt([]prompt.Part{{Text: q.NegativePrompt, Weight: 1}}, with, passes), "NegativePrompt"))
	if t := q.Interpolate; t != nil && t.Prompt != nil {
		e.Join(inField(p.checkComposed(*t.Prompt, with, passes), "Interpolate.Prompt"))
	}
	for i, edit := range q.Edits {
		e.Join(inField(p.checkPrompt([]prompt.Part{{Text: edit.Prompt, Weight: 1}}, with, passes), editField(i)))
	}
}

// passSteps are the steps of a pass, of which so many are made.
type passSteps struct {
	prompt.Pass
	made int
}

// stepsOf are those of a request or of one of its hires passes. As in AUTOMATIC1111,
// prompts that change count all steps of the request, from the first one that is made on:
// with a picture to begin with, the last of them are never reached.
func stepsOf(q *request.Resolved) passSteps {
	n := q.Steps
	if q.StepsMade > 0 {
		n = q.StepsMade
	}
	return passSteps{prompt.Pass{Steps: n, Index: q.Pass, Before: q.StepsBefore}, max(1, q.StepsToMake())}
}

// schedule is what a text becomes. What is not reached is left out: the last text of
// those that are made reaches to the end.
func (s passSteps) schedule(text string) ([]prompt.Entry, error) {
	all, err := prompt.SchedulePass(text, s.Pass)
	for i := range all {
		if all[i].Until >= s.made {
			all[i].Until = s.Steps
			return all[:i+1], err
		}
	}
	return all, err
}

// checkComposed checks a prompt that AND may compose.
func (p Prompts) checkComposed(text string, with Extras, passes []passSteps) error {
	parts, err := prompt.Compose(text)
	if err != nil {
		return err
	}
	return p.checkPrompt(parts, with, passes)
}

// composes reports whether parts are more than a prompt.
func composes(parts []prompt.Part) bool {
	return len(parts) > 1 || len(parts) == 1 && parts[0].Weight != 1
}

func composesText(text string) bool {
	parts, err := prompt.Compose(text)
	return err == nil && composes(parts)
}

// checkPrompt checks a prompt that is drawn in some passes.
func (p Prompts) checkPrompt(parts []prompt.Part, with Extras, passes []passSteps) error {
	seen := map[string]bool{}
	encoded, phases := 0, 0
	for _, pass := range passes {
		for _, part := range parts {
			entries, err := pass.schedule(part.Text)
			if err != nil {
				return err
			}
			phases += len(entries)
			for _, entry := range entries {
				if seen[entry.Text] {
					continue
				}
				seen[entry.Text] = true
				chunks, err := p.Chunks(entry.Text, with)
				if err != nil {
					return err
				}
				if encoded += chunks; encoded > maxEncoded {
					what := fmt.Sprintf("chunks of tokens in the first %d of the different texts of %d phases", len(seen), phases)
					return &prompt.LimitError{What: what, Got: encoded, Max: maxEncoded}
				}
			}
		}
	}
	return nil
}

// Conditions encodes the prompts that guidance needs, with all that they
// become from step to step, and mixes them with those of the picture that the request
// is on the way to.
func (p Prompts) Conditions(ctx context.Context, q *request.Resolved, with Extras, steps Steps, needs Needs, memo Memo) ([]Phase, error) {
	defer p.Idle()
	if t := q.Interpolate; t != nil && t.Prompt != nil && needs.Cond && (composesText(q.Prompt) || composesText(*t.Prompt)) {
		needs.Uncond = true // whatever the weights are on the way
	}
	own, err := p.encode(ctx, q, with, q.Prompt, steps, needs, memo)
	if err != nil {
		return nil, err
	}
	var all []Phase
	if t := q.Interpolate; t == nil || t.Prompt == nil {
		for _, e := range own {
			all = append(all, Phase{e.until, func() Conditions { return Conditions{e.cond, e.uncond, e.and, e.edits} }})
		}
		return all, nil
	}
	other, err := p.encode(ctx, q, with, *q.Interpolate.Prompt, steps, needs, memo)
	if err != nil {
		return nil, request.Rename(err, "Interpolate.Prompt")
	}
	empty, err := p.Encode(ctx, "", false, q, with, memo)
	if err != nil {
		return nil, err
	}
	return between(own, other, empty, float32(q.Interpolate.At)), nil
}

// encoded are the conditions of a phase; nil where no answer is asked for.
type encoded struct {
	until        int
	cond, uncond *Condition
	and          []Weighted
	edits        []*Condition
}

// encode encodes a prompt and the negative one, which AND does not split.
func (p Prompts) encode(ctx context.Context, q *request.Resolved, with Extras, text string, steps Steps, needs Needs, memo Memo) (all []encoded, err error) {
	parts, err := prompt.Compose(text)
	if err != nil {
		return nil, inField(err, "Prompt")
	}
	if needs.Cond && composes(parts) && withoutCondition(weightsOf(parts)) != 0 {
		needs.Uncond = true
	}
	pass := stepsOf(q)
	conds, uncond, edits, err := textsOf(q, pass, parts)
	if err != nil {
		return nil, err
	}
	known := [2]map[string]*Condition{{}, {}}
	one := func(kind int, text string) (*Condition, error) {
		c, ok := known[kind][text]
		if !ok {
			e, err := p.Encode(ctx, text, kind == 1, q, with, memo)
			if err != nil {
				return nil, err
			}
			c = &e
			known[kind][text] = c
		}
		return c, nil
	}
	before := 0
	ends := changes(slices.Concat(conds, edits, [][]prompt.Entry{uncond}))
	for i, until := range ends {
		e := encoded{until: until}
		reached := steps.Reaches(before, until)
		if i == len(ends)-1 { // samplers that choose their own steps may make more
			reached = steps.Reaches(before, math.MaxInt)
		}
		if reached && needs.Cond {
			for i, part := range parts {
				c, err := one(0, textAt(conds[i], until))
				if err != nil {
					return nil, inField(err, "Prompt")
				}
				e.and = append(e.and, Weighted{c, part.Weight})
			}
			if e.cond = e.and[0].Condition; composes(parts) {
				alike(e.and)
			} else {
				e.and = nil
			}
		}
		if reached && needs.Uncond {
			if e.uncond, err = one(1, textAt(uncond, until)); err != nil {
				return nil, inField(err, "NegativePrompt")
			}
		}
		if e.edits, err = encodeEdits(edits, until, reached, one); err != nil {
			return nil, err
		}
		all, before = append(all, e), until
	}
	return all, nil
}

// textsOf are what the parts of a prompt, the negative one and edits become in a pass.
func textsOf(q *request.Resolved, pass passSteps, parts []prompt.Part) (conds [][]prompt.Entry, uncond []prompt.Entry, edits [][]prompt.Entry, err error) {
	conds = make([][]prompt.Entry, len(parts))
	for i, part := range parts {
		if conds[i], err = pass.schedule(part.Text); err != nil {
			return nil, nil, nil, inField(err, "Prompt")
		}
	}
	if uncond, err = pass.schedule(q.NegativePrompt); err != nil {
		return nil, nil, nil, inField(err, "NegativePrompt")
	}
	edits, err = editsOf(q, pass)
	return conds, uncond, edits, err
}

// changes are the steps after which one of some texts changes, and the last one.
func changes(all [][]prompt.Entry) []int {
	ends := map[int]bool{}
	for _, entries := range all {
		for _, e := range entries {
			ends[e.Until] = true
		}
	}
	return slices.Sorted(maps.Keys(ends))
}

// textAt is the text of the step until.
func textAt(entries []prompt.Entry, until int) string {
	for _, e := range entries {
		if until <= e.Until {
			return e.Text
		}
	}
	return entries[len(entries)-1].Text
}

// between mixes two lists of phases, which may change after different steps.
func between(a, b []encoded, empty Condition, t float32) (all []Phase) {
	for i, k := 0, 0; i < len(a) && k < len(b); {
		until := min(a[i].until, b[k].until)
		cond, other := a[i].cond, b[k].cond
		uncond := a[i].uncond // the same, but for its changes, which are in both
		and, others := a[i].and, b[k].and
		edits := a[i].edits // the same, too
		all = append(all, Phase{until, func() Conditions {
			switch {
			case cond == nil || t == 0:
				return Conditions{cond, uncond, and, edits}
			case and != nil || others != nil:
				both := betweenParts(cond, other, and, others, empty, t)
				return Conditions{both[0].Condition, uncond, both, edits}
			}
			mixed := mix(*cond, *other, empty, t)
			return Conditions{Cond: &mixed, Uncond: uncond, Edits: edits}
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

// inField names the field of a request whose text cannot be. Errors that are
// not the text's own stay as they are.
func inField(err error, field string) error {
	var limit *prompt.LimitError
	var weight *prompt.WeightError
	var width *adapter.WidthError
	if errors.As(err, &limit) || errors.As(err, &weight) || errors.As(err, &width) {
		return request.Problemf(field, "%s", err)
	}
	return err
}
