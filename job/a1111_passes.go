package job

import (
	"fmt"
	"image"

	"github.com/sdgo/sdgo/sd/request"
)

// passSampler reads a hires pass's sampler and schedule. A schedule that is not there
// is the request's, and not what the sampler needs.
func (d *reading) passSampler(h *request.HiresPass, i int) {
	samplerKey, scheduleKey := Field{A1111: "Hires sampler"}.passKey(i), Field{A1111: "Hires schedule type"}.passKey(i)
	s, schedule := d.sampler, ""
	if value, ok := d.take(samplerKey); ok && value != "Use same sampler" {
		with, its, err := samplerNames(value)
		if err != nil {
			d.refuse(samplerKey, err)
		} else {
			s, schedule = with, its
			h.Sampler = s.Name
		}
	}
	if value, ok := d.take(scheduleKey); ok && value != "Use same scheduler" {
		its, err := s.LookupSchedule(value)
		if err != nil {
			d.refuse(scheduleKey, err)
		} else {
			schedule = its.Name
		}
	}
	if own, ok := d.ownSchedule(ownScheduleKeyOf(i)); ok {
		schedule = own
	}
	if h.Sampler == d.params.Sampler {
		h.Sampler = ""
	}
	if h.Schedule = schedule; h.Schedule == "" && h.Sampler != "" || h.Schedule == d.params.Schedule {
		h.Schedule = ""
		if h.Sampler != "" {
			h.Schedule = d.params.Schedule
		}
	}
}

// fullSize fills in the side that AUTOMATIC1111 writes as 0: in the proportions of the
// first pass, to a multiple of 8.
func (d *reading) fullSize(text string) (string, error) {
	p, err := size(0, request.MaxSide).parse(text)
	if first := image.Pt(d.params.Width, d.params.Height); err == nil && first.X > 0 && first.Y > 0 {
		switch {
		case p.X == 0:
			p.X = p.Y * first.X / first.Y / 8 * 8
		case p.Y == 0:
			p.Y = p.X * first.Y / first.X / 8 * 8
		}
	}
	return fmt.Sprintf("%dx%d", p.X, p.Y), err
}
