package request

import (
	"fmt"
	"strings"

	"github.com/sdgo/sdgo/sampler"
)

// Edit is a concept of semantic guidance: see [Request.Edits].
type Edit struct {
	// Prompt is the concept, such as "glasses", in the grammar of prompts but AND and extra
	// networks.
	Prompt string

	// Away moves the picture away from it.
	Away bool

	// Scale is how strongly, 0 to 1000; nil means 5.
	Scale *float64

	// Threshold is the share of the latent's elements, those that the concept changes least,
	// which stay as they are, 0 to 1; nil means 0.9.
	Threshold *float64

	// WarmUp is the number of steps at the beginning in which it does not act yet, 0 to
	// MaxSteps; nil means 10. CoolDown is the step from which on it no longer acts, 1 to
	// MaxSteps; nil means that it acts to the end. Of a picture to begin with they count the
	// steps that are made.
	WarmUp, CoolDown *int

	// Weight is its share beside other edits, 0 to 1000; nil means 1.
	Weight *float64
}

// MaxEdits bounds the number of a request's edits.
const MaxEdits = 16

// MaxEditScale and MaxEditWeight bound the numbers of an [Edit].
const (
	MaxEditScale  = sampler.MaxEditScale
	MaxEditWeight = sampler.MaxEditWeight
)

// The defaults of edits, which are those of the diffusers library.
const (
	defaultEditScale     = 5
	defaultEditThreshold = 0.9
	defaultEditWarmUp    = 10
	defaultEditWeight    = 1
	defaultEditMomentum  = 0.1
	defaultEditBeta      = 0.4
)

// resolveEdits checks the edits and fills in their defaults.
func resolveEdits(q *Resolved, e *Error) {
	s := sampler.SemanticGuidance{Momentum: or(q.EditMomentum, defaultEditMomentum), Beta: or(q.EditBeta, defaultEditBeta)}
	checkFloat(e, "EditMomentum", s.Momentum, 0, 1)
	checkFloat(e, "EditBeta", s.Beta, 0, 1)
	if len(q.Edits) == 0 {
		if q.EditMomentum != nil || q.EditBeta != nil {
			e.Add("Edits", "must be what EditMomentum and EditBeta are about")
		}
		return
	}
	if len(q.Edits) > MaxEdits {
		e.Add("Edits", "must be at most %d, got %d", MaxEdits, len(q.Edits))
		return
	}
	for i, edit := range q.Edits {
		field := func(name string) string { return fmt.Sprintf("Edits[%d].%s", i, name) }
		if strings.TrimSpace(edit.Prompt) == "" {
			e.Add(field("Prompt"), "must say what the picture is moved towards, or away from")
		}
		one := sampler.Edit{
			Away: edit.Away, Scale: or(edit.Scale, defaultEditScale), Threshold: or(edit.Threshold, defaultEditThreshold),
			WarmUp: or(edit.WarmUp, defaultEditWarmUp), CoolDown: or(edit.CoolDown, 0), Weight: or(edit.Weight, defaultEditWeight),
		}
		checkFloat(e, field("Scale"), one.Scale, 0, MaxEditScale)
		checkFloat(e, field("Threshold"), one.Threshold, 0, 1)
		checkFloat(e, field("Weight"), one.Weight, 0, MaxEditWeight)
		checkRange(e, field("WarmUp"), one.WarmUp, 0, MaxSteps)
		if edit.CoolDown != nil {
			checkRange(e, field("CoolDown"), one.CoolDown, 1, MaxSteps)
		}
		s.Edits = append(s.Edits, one)
	}
	q.Semantic = s
}

// or is what a pointer points to, or without one another value.
func or[T any](p *T, other T) T {
	if p == nil {
		return other
	}
	return *p
}
