package pipeline

import "slices"

// phaseAt is the phase after so many steps; before is one of the phases up to it, or -1.
func phaseAt(phases []Phase, before, made int) int {
	at := max(before, 0)
	for at+1 < len(phases) && made >= phases[at].Until {
		at++
	}
	return at
}

// changes is the Changed of a [sampler.GuidedModel]: it reports, each time it is called,
// whether the network has come to answer otherwise since the last time, to the conditions
// of another phase, or with other control networks or directions taking part.
func (r run) changes(phases []Phase, with beside) func() bool {
	phase, parts := -1, []bool(nil)
	return func() bool {
		next, now := phaseAt(phases, phase, *r.made), append(with.controls.parts(), with.deepest.parts()...)
		changed := next != phase || !slices.Equal(now, parts)
		phase, parts = next, now
		return changed
	}
}
