package sd

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/sampler"
)

// HiresStage is a further pass over a picture, which AUTOMATIC1111 calls
// "Hires. fix": it is made larger and then partly painted anew, so that it gets
// the details of its new size and keeps the composition of its old one.
type HiresStage struct {
	// Scale is how many times wider and higher the picture becomes, to a
	// multiple of 8 that is not above it. 0 means 2, or Width and Height.
	Scale float64

	// Width and Height, multiples of 8, are the size instead of a Scale: the
	// picture is made to cover it and cropped around its middle.
	Width, Height int

	// Upscaler is one of [Upscalers]; empty means "latent", AUTOMATIC1111's
	// "Latent": bilinear interpolation of the latent.
	Upscaler string

	// ESRGAN, if not nil, is the upscaler. It must stay open.
	ESRGAN *ESRGAN

	// Strength is how much is painted anew, 0 to 1: the larger, the earlier in
	// the schedule the steps begin. 0 makes no steps. nil means 0.7. See [Scale].
	Strength *float64

	// Steps is the number of steps that are made, whatever the strength; 0 means
	// Request.Steps.
	Steps int

	// Sampler, Schedule and Guidance are for this stage; their zero values mean
	// those of the request.
	Sampler, Schedule string
	Guidance          *float64
}

// MaxStages bounds [Request.Stages].
const MaxStages = 16

// hires is a stage with every default filled in. Its q is the request that the
// stage amounts to.
type hires struct {
	HiresStage
	upscaler
	strength float64
	steps    int // that are made
	q        resolved
}

// resolveStages fills in the defaults of the stages and checks them.
func (q *resolved) resolveStages(e *RequestError) {
	if len(q.Stages) > MaxStages {
		e.add("Stages", "%d, at most %d wanted", len(q.Stages), MaxStages)
		return
	}
	if len(q.Stages) > 0 && q.Mask != nil {
		e.add("Stages", "none with a Mask: a picture that is inpainted is to be upscaled afterwards")
	}
	q.stages = nil
	width, height := q.Width, q.Height
	for i, s := range q.Stages {
		h := hires{HiresStage: s, strength: 0.7, q: *q}
		add := func(field, format string, args ...any) {
			e.add(fmt.Sprintf("Stages[%d].%s", i, field), format, args...)
		}
		h.resolveSize(width, height, add)
		h.resolveUpscaler(add)
		h.resolveSteps(q, add)
		width, height = h.q.Width, h.q.Height
		q.stages = append(q.stages, h)
	}
}

// refineLast leaves the refiner to the last stage.
func (q *resolved) refineLast() {
	if n := len(q.stages); n > 0 {
		q.stages[n-1].q.Refiner = q.Refiner
		q.Refiner = nil
	}
}

// resolveSize works out the size that a picture of width and height gets.
func (h *hires) resolveSize(width, height int, add func(field, format string, args ...any)) {
	if h.Width != 0 || h.Height != 0 {
		if h.Scale != 0 {
			add("Scale", "a scale and a size; one of them is wanted")
		}
		for _, side := range []struct {
			field string
			v     int
		}{{"Width", h.Width}, {"Height", h.Height}} {
			if side.v < 8 || side.v > MaxSide || side.v%8 != 0 {
				add(side.field, "%d, a multiple of 8 from 8 to %d wanted", side.v, MaxSide)
			}
		}
		h.q.Width, h.q.Height = h.Width, h.Height
		return
	}
	fill(&h.Scale, 2)
	if !(h.Scale > 0 && h.Scale <= MaxSide) {
		add("Scale", "%g, more than 0 wanted, such as 2", h.Scale)
		return
	}
	side := func(n int) int { return int(float64(n)*h.Scale) / 8 * 8 }
	h.q.Width, h.q.Height = side(width), side(height)
	for _, v := range []int{h.q.Width, h.q.Height} {
		if v < 8 || v > MaxSide {
			add("Scale", "%g times %dx%d is %dx%d pixels; sides from 8 to %d are wanted", h.Scale, width, height, h.q.Width, h.q.Height, MaxSide)
			return
		}
	}
}

func (h *hires) resolveUpscaler(add func(field, format string, args ...any)) {
	if h.ESRGAN != nil {
		if h.Upscaler != "" {
			add("Upscaler", "%s and an ESRGAN; one of them is wanted", h.Upscaler)
		}
		h.upscaler = upscaler{name: h.ESRGAN.Name()}
		return
	}
	fill(&h.Upscaler, Upscalers()[0])
	var ok bool
	if h.upscaler, ok = findUpscaler(h.Upscaler); !ok {
		add("Upscaler", "%.40q is not known; there are %s", h.Upscaler, strings.Join(Upscalers(), ", "))
	}
}

func (h *hires) resolveSteps(q *resolved, add func(field, format string, args ...any)) {
	h.steps = h.Steps
	fill(&h.steps, q.Steps)
	if h.steps < 1 || h.steps > MaxSteps {
		add("Steps", "%d, 1 to %d wanted", h.steps, MaxSteps)
	}
	if h.Guidance != nil {
		h.q.guidance = *h.Guidance
	}
	if !(h.q.guidance >= 0 && h.q.guidance <= maxScale) {
		add("Guidance", "%g, 0 to %d wanted", h.q.guidance, maxScale)
	}
	if h.Strength != nil {
		h.strength = *h.Strength
	}
	if !(h.strength >= 0 && h.strength <= 1) {
		add("Strength", "%g, 0 to 1 wanted", h.strength)
		return
	}
	var err error
	if h.Sampler != "" {
		if h.q.sampler, err = sampler.Lookup(h.Sampler); err != nil {
			add("Sampler", "%v", err)
		}
		fill(&h.Schedule, h.q.sampler.DefaultSchedule())
	}
	if h.Schedule != "" {
		if h.q.schedule, err = sampler.LookupSchedule(h.Schedule); err != nil {
			add("Schedule", "%v", err)
		}
	}
	// The steps are the last ones of so many, as AUTOMATIC1111 counts them.
	h.q.made = h.steps
	if h.strength > 0 {
		h.q.Steps = int(math.Min(float64(h.steps)/min(h.strength, 0.999), math.MaxInt32))
		if h.q.Steps > MaxSteps && h.steps <= MaxSteps {
			add("Strength", "%g, where the %d steps are the last of %d; those of %d at most are wanted: fewer steps, or a larger strength",
				h.strength, h.steps, h.q.Steps, MaxSteps)
		}
	}
	h.q.Image, h.q.Strength, h.q.Refiner, h.q.stages = nil, nil, nil, nil
}

// encodes reports whether pictures are encoded: one to begin with, or those
// that a stage enlarges in pixels.
func (q resolved) encodes() bool {
	return q.Image != nil || slices.ContainsFunc(q.stages, func(h hires) bool { return h.latent == nil })
}

// cut leaves of a schedule the steps that are made on a picture.
func (q resolved) cut(sigmas []float64) []float64 {
	if q.made > 0 {
		return sigmas[max(0, len(sigmas)-1-q.made):]
	}
	return sampler.Strength(sigmas, q.strength)
}

// StageParams are the parameters of a [HiresStage] with every default
// resolved.
type StageParams struct {
	Width, Height     int     // of the picture
	Scale             float64 // 0 where a size was asked for
	Upscaler          string  // in AUTOMATIC1111's spelling, or an ESRGAN file's name
	Strength          float64
	Steps             int
	Sampler, Schedule string
	Guidance          float64
}

// stageParams are those of all stages.
func (q resolved) stageParams() (all []StageParams) {
	for _, h := range q.stages {
		all = append(all, StageParams{h.q.Width, h.q.Height, h.Scale, h.name, h.strength, h.steps,
			h.q.sampler.Name, h.q.schedule.Name, h.q.guidance})
	}
	return all
}

// hiresText is what AUTOMATIC1111 writes of a second pass; it has no word for
// further ones, whose settings get a number.
func (p Params) hiresText() string {
	var b strings.Builder
	for i, s := range p.Stages {
		hires := "Hires"
		if i > 0 {
			hires = fmt.Sprintf("Hires %d", i+1)
		}
		set := func(name string, value any) { fmt.Fprintf(&b, ", %s %s: %v", hires, name, value) }
		switch {
		case i > 0 || p.Strength > 0:
			set("denoising strength", s.Strength)
		default:
			fmt.Fprintf(&b, ", Denoising strength: %g", s.Strength)
		}
		if s.Scale > 0 {
			set("upscale", s.Scale)
		} else {
			set("resize", fmt.Sprintf("%dx%d", s.Width, s.Height))
		}
		if s.Steps != p.Steps {
			set("steps", s.Steps)
		}
		set("upscaler", quoted(s.Upscaler))
		if s.Sampler != p.Sampler {
			set("sampler", s.Sampler)
		}
		if s.Schedule != p.Schedule {
			set("schedule type", s.Schedule)
		}
		if s.Guidance != p.Guidance {
			set("CFG Scale", s.Guidance)
		}
	}
	return b.String()
}
