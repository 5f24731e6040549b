package request

import (
	"cmp"
	"errors"
	"fmt"
	"image"
	"math"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/picture"
)

// Defaults are a model's own defaults.
type Defaults struct {
	Side     int     // native size, pixels
	Align    int     // sides of pictures are multiples of it
	Guidance float64 // 0: 7

	// Of models that are drawn with otherwise than most. Schedule is that of a run that
	// names none: with Sampler, of that one alone; without, of each sampler that has none
	// of its own, and empty means "discrete". A model with zero terminal SNR has
	// "trailing", whatever Schedule is, and guidance "cfg_rescale" with phi 0.7.
	Sampler, Schedule string // "": euler_a
	ZeroSNR           bool
	Steps             int // 0: 20

	// Enlarges says that a picture is one to enlarge, and not the beginning of sampling:
	// by the factor EnlargesBy, or with 0 to the native size.
	Enlarges   bool
	EnlargesBy int

	// NoiseLevel is the default of pictures to enlarge.
	NoiseLevel int

	// Guider is the kind of guidance of a run that names none; "": "cfg".
	Guider string

	// OwnGuidance says that the model's family has its own kind of guidance, which
	// takes no other's place.
	OwnGuidance bool
}

// The defaults of all models.
const (
	defaultSteps         = 20
	defaultGuidance      = 7
	defaultStrength      = 0.75
	defaultImageGuidance = 1.5
	defaultRefinerAt     = 0.8
	defaultSampler       = "euler_a"
	defaultGuider        = "cfg"
	zeroSNRSchedule      = "trailing"
	zeroSNRGuider        = "cfg_rescale" // whose phi is 0.7

	// On LAION's scale of 1 to 10, as in the diffusers library.
	defaultAestheticScore         = 6.0
	defaultNegativeAestheticScore = 2.5
	maxAestheticScore             = 10
)

// Resolved is a request with every default filled in. Its own fields replace those of
// the same names in Request.
type Resolved struct {
	Request
	Align                                             int
	Guidance, Strength, ImageGuidance                 float64
	RefinerAt, AestheticScore, NegativeAestheticScore float64
	NoiseLevel                                        int
	Sampler                                           sampler.Sampler
	Schedule                                          sampler.Schedule
	Image                                             *image.NRGBA // nil without one
	Low                                               *image.NRGBA // what an initial picture is where Defaults.Enlarges
	Mask                                              *image.Gray  // of Image's size, grown and blurred; nil without one
	MaskRegion                                        image.Rectangle
	MaskFeather, MaskPadding                          int
	Hires                                             []Pass
	ControlPictures                                   []*image.NRGBA   // one for each of Controls
	ControlFaces                                      [][]float32      // one for each of Controls; nil where there is none
	Guide                                             sampler.Guidance // Guider with Guidance and GuiderOptions
	Caching                                           sampler.Caching  // Cache with CacheOptions; without a cache the zero value
	ClassifierScale                                   float64
	GuidePictures                                     []GuidePicture           // one for each of Guides
	Losses                                            sampler.LossGuidance     // GuideMethod with GuideOptions, where there are Guides
	Semantic                                          sampler.SemanticGuidance // Edits with their defaults; without edits the zero value
	defaultSchedule, defaultGuider                    string
	StepsMade                                         int // number of steps on an initial picture; 0 means that Strength decides
	UsedAdapters, UsedWords                           []Used
	Pass, StepsBefore                                 int // of a hires pass: its number, from 1, and the steps of all passes before
}

// Pass is a hires pass with every default filled in. Request is the pass as a request:
// a picture of its size, with the last StepsMade steps.
type Pass struct {
	HiresPass
	Strength float64
	Steps    int // number of steps that are made
	Request  Resolved
}

// Resolve fills in defaults and checks everything that can be checked without the
// model. The error is an [*Error] with every problem; valid fields are resolved all the
// same.
func (r Request) Resolve(d Defaults) (Resolved, error) {
	var e Error
	q := Resolved{Request: r, Align: d.Align}
	q.fillNumbers(d)
	q.fillNames(d)
	q.checkPictures(&e)
	width, height := d.Side, d.Side
	if d.Enlarges && q.Image != nil {
		q.Low, q.Image = q.Image, nil
		width, height = q.sidesUp(q.Low.Rect.Size(), d)
	}
	q.checkImage(&e)
	if q.Image != nil { // with its canvas
		width, height = q.sidesOf(q.Image.Rect.Size(), d.Side)
	}
	if q.Mask != nil && len(e.Problems) == 0 {
		width, height = q.initMask(&e, width, height, d.Side)
	}
	fill(&q.Width, width)
	fill(&q.Height, height)
	q.checkSide(&e, "Width", q.Width)
	q.checkSide(&e, "Height", q.Height)
	q.checkNumbers(&e)
	q.checkSampler(&e)
	q.checkGuidance(&e)
	checkCache(&q, &e)
	q.checkInterpolation(&e)
	q.checkAdapters(&e)
	q.resolveControls(&e)
	resolveGuides(&q, &e)
	resolveEdits(&q, &e)
	checkDirections(&q, &e)
	q.resolveHires(&e)
	return q, e.Err()
}

// fillNumbers fills in the defaults of numbers and names.
func (q *Resolved) fillNumbers(d Defaults) {
	q.Guidance = defaultGuidance
	if d.Guidance > 0 {
		q.Guidance = d.Guidance
	}
	for _, f := range []struct {
		to    *float64
		value float64
		from  *float64
	}{
		{&q.Guidance, q.Guidance, q.Request.Guidance}, {&q.Strength, defaultStrength, q.Request.Strength},
		{&q.ImageGuidance, defaultImageGuidance, q.Request.ImageGuidance}, {&q.RefinerAt, defaultRefinerAt, q.Request.RefinerAt},
		{&q.AestheticScore, defaultAestheticScore, q.Request.AestheticScore},
		{&q.NegativeAestheticScore, defaultNegativeAestheticScore, q.Request.NegativeAestheticScore},
	} {
		if *f.to = f.value; f.from != nil {
			*f.to = *f.from
		}
	}
	if q.NoiseLevel = d.NoiseLevel; q.Request.NoiseLevel != nil {
		q.NoiseLevel = *q.Request.NoiseLevel
	}
	if q.Request.Sampler == "" {
		fill(&q.Request.Sampler, d.Sampler)
		if d.Sampler != "" && !d.ZeroSNR && !q.ZeroSNR {
			fill(&q.Request.Schedule, d.Schedule)
		}
	}
	if s, err := sampler.LookupSchedule(q.Request.Schedule); err == nil {
		fill(&q.Steps, s.Steps) // 0 of most
	}
	fill(&q.Steps, d.Steps)
	fill(&q.Steps, defaultSteps)
	if len(q.Stages) > 0 {
		fill(&q.StageSteps, q.Steps)
	}
	fill(&q.Count, 1)
	fill(&q.Request.Sampler, defaultSampler)
	fill(&q.RNG, TorchRNG)
}

// fillNames finds the schedule and the guidance of a run that names none. Those for zero
// terminal SNR are the diffusers library's recommendations, after Lin et al. 2024.
func (q *Resolved) fillNames(d Defaults) {
	q.defaultGuider = cmp.Or(d.Guider, defaultGuider)
	if d.Sampler == "" {
		q.defaultSchedule = d.Schedule
	}
	if d.ZeroSNR || q.ZeroSNR {
		q.defaultSchedule = zeroSNRSchedule
		if !d.OwnGuidance {
			q.defaultGuider = zeroSNRGuider
		}
	}
}

// scheduleOf is the name of the schedule of a run of a sampler that names none.
func (q *Resolved) scheduleOf(s sampler.Sampler) string {
	if q.defaultSchedule == "" || s.OwnSchedule {
		return s.DefaultSchedule()
	}
	return q.defaultSchedule
}

func (q *Resolved) checkNumbers(e *Error) {
	checkRange(e, "Steps", q.Steps, 1, MaxSteps)
	checkRange(e, "Count", q.Count, 1, MaxCount)
	checkRange(e, "PreviewEvery", q.PreviewEvery, 0, MaxSteps)
	checkRange(e, "StageSteps", q.StageSteps, 0, MaxSteps)
	checkRange(e, "NoiseLevel", q.NoiseLevel, 0, MaxNoiseLevel)
	switch {
	case len(q.Stages) == 0 && (q.StageSteps > 0 || q.KeepStages):
		e.Add("Stages", "must name the models that StageSteps and KeepStages are about")
	case len(q.Stages) > MaxStages:
		e.Add("Stages", "must be at most %d models, got %d", MaxStages, len(q.Stages))
	}
	checkFloat(e, "Guidance", q.Guidance, 0, maxScale)
	checkRange(e, "DeepCache", q.DeepCache, 0, MaxSteps)
	checkFloat(e, "TokenMerging", q.TokenMerging, 0, MaxTokenMerging)
	for _, p := range q.MicroConditions() {
		if p.Value.X < 0 || p.Value.X > MaxSide || p.Value.Y < 0 || p.Value.Y > MaxSide {
			e.Add(p.Field, "must be 0 to %d pixels, got %dx%d", MaxSide, p.Value.X, p.Value.Y)
		}
	}
	checkFloat(e, "AestheticScore", q.AestheticScore, 0, maxAestheticScore)
	checkFloat(e, "NegativeAestheticScore", q.NegativeAestheticScore, 0, maxAestheticScore)
	checkFloat(e, "RefinerAt", q.RefinerAt, 0, 1)
	if q.Refiner == "" && q.Request.RefinerAt != nil {
		e.Add("RefinerAt", "needs a Refiner")
	}
	if q.TAESD == "" && q.TAESDPreviewOnly {
		e.Add("TAESDPreviewOnly", "needs a TAESD")
	}
	if !q.Random() {
		checkSeed(e, "Seed", fmt.Sprintf(", or %d for a random one", RandomSeed), q.Seed, q.UnsignedSeed, q.Count)
	}
	if q.RNG != TorchRNG && q.RNG != PhiloxRNG {
		e.Add("RNG", "must be %q or %q, got %q", TorchRNG, PhiloxRNG, q.RNG)
	}
	if q.ClipSkip < 0 {
		e.Add("ClipSkip", "must be 1 or more, or 0 for the model's own, got %d", q.ClipSkip)
	}
}

func (q *Resolved) checkSampler(e *Error) {
	var err error
	if q.Sampler, err = sampler.Lookup(q.Request.Sampler); err != nil {
		e.Add("Sampler", "%v", err)
	}
	if q.Sampler, err = q.Sampler.With(q.SamplerOptions); err != nil {
		addAll(e, "SamplerOptions", err)
	}
	fill(&q.Request.Schedule, q.scheduleOf(q.Sampler))
	if q.Schedule, err = q.Sampler.LookupSchedule(q.Request.Schedule); err != nil {
		e.Add("Schedule", "%v", err)
	}
	if n := q.Schedule.Steps; n > 0 && q.Steps != n {
		e.Add("Steps", "must be %d, as schedule %s says, got %d", n, q.Schedule.Name, q.Steps)
	}
}

// checkGuidance looks up the kind of guidance and checks its numbers.
func (q *Resolved) checkGuidance(e *Error) {
	if q.Guider == "" && len(q.GuiderOptions) > 0 && q.defaultGuider == zeroSNRGuider { // of cfg
		q.Guider = defaultGuider
	}
	fill(&q.Guider, q.defaultGuider)
	guider, err := sampler.LookupGuider(q.Guider)
	if err != nil {
		e.Add("Guider", "%v", err)
		return
	}
	q.Guider = guider.Name
	if guider.Repeats {
		e.Add("Guider", "%s is what AND makes of any kind of guidance: write AND between the prompts", guider.Name)
		return
	}
	if q.Sampler.CFGPP && !guider.CFGPP {
		e.Add("Guider", "%s does not go with %s, a sampler of CFG++", guider.Name, q.Sampler.Name)
	}
	if q.Guide, err = guider.With(q.Guidance, q.GuiderOptions); err != nil && q.Guidance >= 0 && q.Guidance <= maxScale {
		addAll(e, "GuiderOptions", err)
	}
}

// checkCache looks up the step cache and checks its numbers.
func checkCache(q *Resolved, e *Error) {
	if q.Cache == "" {
		if len(q.CacheOptions) > 0 {
			e.Add("Cache", "must name the step cache that CacheOptions are about")
		}
		return
	}
	cache, err := sampler.LookupStepCache(q.Cache)
	if err != nil {
		e.Add("Cache", "%v", err)
		return
	}
	q.Cache = cache.Name
	if q.Caching, err = cache.With(q.CacheOptions); err != nil {
		addAll(e, "CacheOptions", err)
	}
}

// addAll adds each of several joined errors as a problem of a field.
func addAll(e *Error, field string, err error) {
	var all interface{ Unwrap() []error }
	if !errors.As(err, &all) {
		e.Add(field, "%v", err)
		return
	}
	for _, one := range all.Unwrap() {
		addAll(e, field, one)
	}
}

func (q *Resolved) checkInterpolation(e *Error) {
	t := q.Interpolate
	if t == nil {
		return
	}
	checkFloat(e, "Interpolate.At", t.At, 0, 1)
	if t.Prompt == nil && t.Seed == nil {
		e.Add("Interpolate", "needs a Prompt or a Seed")
	}
	if t.Seed != nil {
		checkSeed(e, "Interpolate.Seed", "", *t.Seed, t.UnsignedSeed, q.Count)
	}
}

// Random reports whether the request leaves the seed to chance.
func (r Request) Random() bool { return r.Seed == RandomSeed && !r.UnsignedSeed }

// checkSeed checks that the seeds of all of a request's pictures are numbers of 64 bits.
func checkSeed(e *Error, field, or string, seed int64, unsigned bool, count int) {
	most := math.MaxUint64 - uint64(min(max(count, 1), MaxCount)-1)
	switch {
	case seed < 0 && !unsigned:
		e.Add(field, "must be 0 to %d%s, got %d", most, or, seed)
	case uint64(seed) > most:
		e.Add(field, "must be at most %d for %d pictures, got %d", most, count, uint64(seed))
	}
}

// checkPictures checks and converts the caller's pictures, once: all later code uses
// the converted ones.
func (q *Resolved) checkPictures(e *Error) {
	if q.Request.Image != nil {
		img, err := picture.NRGBA(q.Request.Image)
		if err != nil {
			e.Add("Image", "%v", err)
		}
		q.Image = img
	}
	q.Request.Image = nil
}

// MicroCondition is one of SDXL's micro-conditions.
type MicroCondition struct {
	Field string // in Request
	Value image.Point
}

// MicroConditions are the micro-conditions that the request sets.
func (r Request) MicroConditions() []MicroCondition {
	return []MicroCondition{{"OriginalSize", r.OriginalSize}, {"TargetSize", r.TargetSize}, {"CropTopLeft", r.CropTopLeft}}
}

// StepsToMake is the number of steps that are made. With an initial picture it is less
// than Steps, because the first ones are skipped.
func (q Resolved) StepsToMake() int {
	if q.StepsMade > 0 {
		return q.StepsMade
	}
	if q.Image == nil {
		return q.Steps
	}
	return sampler.StepsByStrength(q.Steps, q.Strength)
}

// Truncate returns the part of a schedule for the steps that are made on an initial
// picture.
func (q Resolved) Truncate(sigmas sampler.Sigmas) sampler.Sigmas {
	if q.StepsMade > 0 {
		return sigmas[max(0, len(sigmas)-1-q.StepsMade):]
	}
	return sampler.TruncateByStrength(sigmas, q.Strength)
}

// RefinerStep is the number of steps that are made before the refiner continues.
func (q Resolved) RefinerStep() int {
	return int(math.Round(q.RefinerAt*float64(q.Steps))) - (q.Steps - q.StepsToMake())
}

// fill replaces a zero value by a default.
func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (q *Resolved) checkSide(e *Error, field string, v int) {
	if v < q.Align || v > MaxSide || v%q.Align != 0 {
		e.Add(field, "must be a multiple of %d from %d to %d, got %d", q.Align, q.Align, MaxSide, v)
	}
}

// align is the multiple of the alignment nearest to n, at least the alignment.
func (q Resolved) align(n float64) int {
	return max(q.Align, int(math.Round(n/float64(q.Align)))*q.Align)
}

// sidesUp are the default sides for a picture to enlarge: in its proportions, by the
// model's factor, or the longer one the model's native size.
func (q Resolved) sidesUp(size image.Point, d Defaults) (width, height int) {
	scale := float64(d.EnlargesBy)
	if d.EnlargesBy == 0 {
		scale = float64(d.Side) / float64(max(size.X, size.Y, 1))
	}
	return q.align(float64(size.X) * scale), q.align(float64(size.Y) * scale)
}

// sidesOf are the default sides for an initial picture of a size.
func (q Resolved) sidesOf(size image.Point, native int) (width, height int) {
	scale := min(1, 2*float64(native)/float64(max(size.X, size.Y, 1)))
	return q.align(float64(size.X) * scale), q.align(float64(size.Y) * scale)
}
