package pipeline

import (
	"fmt"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/prompt"
	"github.com/sdgo/sdgo/sd/request"
)

// Semantic guidance: a request's edits are further conditions, whose answers
// [sampler.SemanticGuidance] adds to what guidance of any kind predicts.

// editField is the field of an edit's text.
func editField(i int) string { return fmt.Sprintf("Edits[%d].Prompt", i) }

// editsOf are the texts of a request's edits in a pass.
func editsOf(q *request.Resolved, pass passSteps) ([][]prompt.Entry, error) {
	all := make([][]prompt.Entry, len(q.Edits))
	for i, edit := range q.Edits {
		var err error
		if all[i], err = pass.schedule(edit.Prompt); err != nil {
			return nil, inField(err, editField(i))
		}
	}
	return all, nil
}

// encodeEdits encodes those of the step until, or is as many nils where that is not reached.
func encodeEdits(all [][]prompt.Entry, until int, reached bool, encode func(kind int, text string) (*Condition, error)) ([]*Condition, error) {
	out := make([]*Condition, len(all))
	for i, entries := range all {
		if !reached {
			continue
		}
		var err error
		if out[i], err = encode(0, textAt(entries, until)); err != nil {
			return nil, inField(err, editField(i))
		}
	}
	return out, nil
}

// withEdits makes the guided denoiser of a run, to which the edits are added, if there are any.
func withEdits(d Drawing, g sampler.Guidance, m sampler.GuidedModel) (sampler.Denoiser, error) {
	if len(d.Edits) == 0 {
		return g.Denoiser(m)
	}
	return d.Semantic.Denoiser(g, m)
}

// checkEdits refuses what edits do not go with.
func checkEdits(d *Drawing, e *request.Error) {
	if len(d.Edits) == 0 {
		return
	}
	switch p := d.model; {
	case p.Textless:
		e.Add("Edits", "do not go with the model: no text tells it what to draw")
	case p.EmbedsGuidance:
		e.Add("Edits", "do not go with the model: it has no answer without a prompt, since the guidance scale is one of its inputs")
	case p.EditsImages:
		e.Add("Edits", "do not go with a model for editing pictures")
	}
	for i, edit := range d.Edits {
		if composesText(edit.Prompt) {
			e.Add(editField(i), "takes no AND and no weight of the whole prompt: Weight is its weight")
		}
	}
}
