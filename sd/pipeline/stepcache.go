package pipeline

import (
	"slices"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/control"
	"github.com/sdgo/sdgo/sd/request"
)

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

// innerCache is the cache of the network's inner blocks that a drawing asks for; nil for
// none.
func (r run) innerCache(d Drawing) innerCache {
	switch steps := len(r.sigmas) - 1; {
	case d.DeepCache > 1:
		return &deepCache{every: d.DeepCache}
	case d.Caching.Cache.Inner:
		return &firstBlockCache{threshold: d.Caching.Parameters["threshold"], allowed: func() bool { return d.Caching.Allows(*r.made, steps) }}
	}
	return nil
}

func isIPAdapter(n control.Network) bool {
	_, ok := n.(*control.IPAdapter)
	return ok
}

// outerCache is a drawing's step cache, unless it is one of the network's inner blocks.
func outerCache(d Drawing) sampler.Caching {
	if d.Caching.Cache.Inner {
		return sampler.Caching{}
	}
	return d.Caching
}

// Fastest is the request with a step cache where it leaves that open, and where one suits the
// rest of it. What is wrong with it is left for Resolve to find.
func Fastest(p *Pipeline, r request.Request) request.Request {
	q := r
	q.Image, q.Mask, q.Hires = nil, nil, nil // no need to look at pictures
	found, _ := q.Resolve(p.Defaults)
	backward := len(r.Guides) > 0 && found.Losses.Method.Backward
	adaptive := slices.ContainsFunc(found.Sampler.Parameters, func(p sampler.Parameter) bool { return p.Name == "rtol" }) // which compares answers
	if r.Cache == "" && r.DeepCache <= 1 && !backward && !adaptive {
		r.Cache, r.CacheOptions = fastestCache, map[string]float64{"threshold": fastestThreshold}
	}
	return r
}

// What Fastest fills in. EasyCache adapts to the sampler and the number of steps. Guidance
// with every=2 beside it was measured, and costs too much.
const (
	fastestCache     = "easy"
	fastestThreshold = 0.15
)
