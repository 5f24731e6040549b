package request

import (
	"fmt"
	"math"

	"github.com/sdgo/sdgo/sampler"
)

const defaultHiresStrength = 0.7

// resolveHires fills in the defaults of the hires passes and checks them, except for
// their upscalers.
func (q *Resolved) resolveHires(e *Error) {
	passes := q.Request.Hires
	if len(passes) > MaxHires {
		e.Add("Hires", "must be at most %d passes, got %d", MaxHires, len(passes))
		return
	}
	if len(passes) > 0 && q.Mask != nil {
		e.Add("Hires", "none with a Mask: upscale an inpainted picture afterwards")
	}
	width, height, before := q.Width, q.Height, q.Steps
	for i, s := range passes {
		p := Pass{HiresPass: s, Strength: defaultHiresStrength, Request: *q}
		add := func(field, format string, args ...any) {
			e.Add(fmt.Sprintf("Hires[%d].%s", i, field), format, args...)
		}
		p.resolveSize(width, height, add)
		p.resolveSteps(q, add)
		p.Request.Pass, p.Request.StepsBefore = i+1, before
		before += p.Steps
		width, height = p.Request.Width, p.Request.Height
		q.Hires = append(q.Hires, p)
	}
}

// resolveSize computes the pass's size for a picture of width and height.
func (p *Pass) resolveSize(width, height int, add func(field, format string, args ...any)) {
	align := p.Request.Align
	if p.Width != 0 || p.Height != 0 {
		if p.Scale != 0 {
			add("Scale", "can't be combined with a size")
		}
		for _, side := range []struct {
			field string
			v     int
		}{{"Width", p.Width}, {"Height", p.Height}} {
			if side.v < align || side.v > MaxSide || side.v%align != 0 {
				add(side.field, "must be a multiple of %d from %d to %d, got %d", align, align, MaxSide, side.v)
			}
		}
		p.Request.Width, p.Request.Height = p.Width, p.Height
		return
	}
	fill(&p.Scale, 2)
	if !(p.Scale > 0 && p.Scale <= MaxSide) {
		add("Scale", "must be more than 0, such as 2, got %g", p.Scale)
		return
	}
	side := func(n int) int { return int(float64(n)*p.Scale) / align * align }
	p.Request.Width, p.Request.Height = side(width), side(height)
	for _, v := range []int{p.Request.Width, p.Request.Height} {
		if v < align || v > MaxSide {
			add("Scale", "%g times %dx%d is %dx%d pixels; sides must be %d to %d",
				p.Scale, width, height, p.Request.Width, p.Request.Height, align, MaxSide)
			return
		}
	}
}

func (p *Pass) resolveSteps(q *Resolved, add func(field, format string, args ...any)) {
	p.Steps = p.HiresPass.Steps
	fill(&p.Steps, q.Steps)
	p.Request.StepsMade = p.Steps
	if p.Steps < 1 || p.Steps > MaxSteps {
		add("Steps", "must be 1 to %d, got %d", MaxSteps, p.Steps)
	}
	if p.Guidance != nil {
		p.Request.Guidance = *p.Guidance
	}
	if !(p.Request.Guidance >= 0 && p.Request.Guidance <= maxScale) {
		add("Guidance", "must be 0 to %d, got %g", maxScale, p.Request.Guidance)
	}
	p.Request.checkGuidance(&Error{}) // the options were checked; only the scale is new
	if p.HiresPass.Strength != nil {
		p.Strength = *p.HiresPass.Strength
	}
	if !(p.Strength >= 0 && p.Strength <= 1) {
		add("Strength", "must be 0 to 1, got %g", p.Strength)
		return
	}
	if p.Sampler != "" {
		named, err := sampler.Lookup(p.Sampler)
		if err != nil {
			add("Sampler", "%v", err)
		}
		if named.Name != p.Request.Sampler.Name { // its own name keeps SamplerOptions
			p.Request.Sampler = named
		}
		fill(&p.Schedule, q.scheduleOf(p.Request.Sampler))
	}
	if p.Schedule != "" {
		var err error
		if p.Request.Schedule, err = p.Request.Sampler.LookupSchedule(p.Schedule); err != nil {
			add("Schedule", "%v", err)
		}
	}
	// The steps are the last ones of a longer schedule, as in AUTOMATIC1111's hires fix.
	if p.Strength > 0 {
		p.Request.Steps = int(math.Min(float64(p.Steps)/min(p.Strength, 0.999), math.MaxInt32))
		if p.Request.Steps > MaxSteps && p.Steps <= MaxSteps {
			add("Strength", "%g makes the %d steps the last of %d; there must be at most %d: fewer steps, or a larger strength",
				p.Strength, p.Steps, p.Request.Steps, MaxSteps)
		}
	}
	if n := p.Request.Schedule.Steps; n > 0 && n != p.Request.Steps {
		add("Schedule", "%s has %d steps, and the pass is the last %d of %d", p.Request.Schedule.Name, n, p.Steps, p.Request.Steps)
	}
	p.Request.Image, p.Request.Refiner, p.Request.Hires, p.Request.Request.Hires = nil, "", nil, nil
}
