package sd

import (
	"errors"
	"fmt"
	"image"
	"math"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/picture"
)

// RandomSeed as [Request.Seed] draws a seed, which the result reports.
const RandomSeed = -1

// Limits of a request.
const (
	MaxSteps = 1000
	MaxSide  = 8192 // pixels
	MaxCount = 1024 // pictures
	maxScale = 1000
)

// RNG names a generator of noise: with the same name, seed, sampler and model
// the program that it comes from makes the same picture.
type RNG string

// The generators.
const (
	TorchRNG  RNG = "torch"  // PyTorch's CPU generator: diffusers, ComfyUI
	PhiloxRNG RNG = "philox" // CUDA's generator: AUTOMATIC1111, stable-diffusion.cpp
)

// Request describes pictures to generate. Its zero value, with a prompt, is a
// sensible request.
type Request struct {
	// Prompt and NegativePrompt are in AUTOMATIC1111's grammar: (word:1.3),
	// ((word)), [word], BREAK, [a:b:0.4], [a|b], and backslashes before literal
	// brackets (package prompt). An empty prompt is a prompt.
	Prompt, NegativePrompt string

	// Width and Height are in pixels, multiples of 8. 0 means the size that
	// the model was trained at, or with an Image that picture's, to the nearest
	// multiple of 8; a picture with a side more than twice as long as those
	// that the model was trained on is brought down to such a length.
	Width, Height int

	// Image is the picture to begin with, and nil is noise alone. It is scaled
	// to cover Width x Height and cropped around its middle; what is
	// transparent becomes white.
	Image image.Image

	// Strength is how much of Image is painted anew, 0 to 1: of Steps steps
	// the last int(Steps·Strength)+1 are made. nil means 0.75. See [Scale].
	Strength *float64

	// ImageGuidance is how strictly a model for editing (instruct-pix2pix) keeps
	// to Image; other models take none. nil means 1.5.
	ImageGuidance *float64

	// Mask is white where Image is to be painted anew and black where it stays
	// as it is, to the pixel; nil is white everywhere. It has Image's size.
	Mask image.Image

	// Feather is over how many pixels inside the mask's edge the old picture
	// fades into the new one; nil means 4, and at most half of how deep the
	// mask is.
	Feather *int

	// OnlyMasked paints the part of Image around the mask at Width x Height,
	// and puts it back: the result has Image's own size. That part is what is
	// not black in the mask and MaskPadding pixels around it (nil means 32), and
	// more where it takes that for the proportions of Width x Height. Both zero
	// mean the model's own size, in the part's proportions.
	OnlyMasked  bool
	MaskPadding *int

	// Steps is the number of denoising steps, 1 to MaxSteps; 0 means 20.
	Steps int

	// Guidance is the classifier-free guidance scale (Ho & Salimans 2022): 1
	// follows the prompt without contrast to the negative prompt, 0 ignores it.
	// nil means what the model's file says, else 7. See [Scale].
	Guidance *float64

	// Sampler and Schedule are names that package sampler knows. Empty means
	// "euler_a" and the sampler's DefaultSchedule, nearly always "discrete".
	Sampler, Schedule string

	// DeepCache n, if above 1, computes the UNet's inner blocks in every n-th
	// evaluation only and reuses what they gave in those between, which then take
	// about a tenth of the time (Ma et al. 2024, arXiv:2312.00858). The picture
	// is another one: docs/performance.md says how different.
	DeepCache int

	// Seed is the seed of the first picture; picture i of a request has
	// Seed + i. RandomSeed draws one.
	Seed int64

	// RNG is the generator of noise; empty means TorchRNG.
	RNG RNG

	// Towards, if not nil, is another picture that these are on the way to:
	// interpolation.
	Towards *Towards

	// ClipSkip n takes the text encoder's state before its last n-1 layers. 0
	// means what the model was trained with: 1 for SD 1.x, 2 for SD 2.x and XL.
	ClipSkip int

	// OriginalSize, TargetSize and CropCorner are what models of SDXL's family
	// are told of a picture: the size that it had before training scaled it, the
	// size that it has, and the pixel of the scaled original that is its left top
	// corner. The zero sizes mean Width x Height. Other models take none of it.
	OriginalSize, TargetSize image.Point
	CropCorner               image.Point

	// Aesthetic and NegativeAesthetic are the scores that SDXL's refiner is told,
	// with the prompt and the negative one, from 0 to 10; nil means 6 and 2.5.
	Aesthetic, NegativeAesthetic *float64

	// Refiner, of SDXL's family as the model itself, makes the last steps:
	// those behind the fraction RefinerAt, 0 to 1, of Steps (nil means 0.8).
	// It must stay open.
	Refiner   *Model
	RefinerAt *float64

	// Stages are further passes over the picture, which make it larger. A Refiner
	// takes part in the last one alone. Drafts asks for a StageDraft event with the
	// picture before each.
	Stages []HiresStage
	Drafts bool

	// TAESD, if not nil, decodes the pictures, and previews, in place of the
	// model's own autoencoder. TAESDPreviewOnly leaves the pictures to that. It
	// must stay open.
	TAESD            *TAESD
	TAESDPreviewOnly bool

	// PreviewEvery asks for a preview after each so many steps; 0 is none. With
	// TAESD it has the picture's size; without, it takes no time and has a pixel
	// for a latent one, an eighth of the picture's sides.
	PreviewEvery int

	// Count is the number of pictures; 0 means 1.
	Count int

	// OnEvent, if not nil, is told of progress, one event after the other, while
	// Generate waits. An error that it returns ends the request, and so does a
	// panic. It must not call the model at [StageUpload], nor close it.
	OnEvent func(Event) error
}

// Scale makes a [Request.Guidance].
func Scale(s float64) *float64 { return &s }

// RequestError lists everything that is wrong with a request.
type RequestError struct {
	Problems []Problem
}

// Problem is one field of a request that cannot be.
type Problem struct {
	Field string // the field's name in [Request]
	Text  string // what is wrong and what would be right
}

func (p Problem) String() string { return p.Field + ": " + p.Text }

func (e *RequestError) Error() string {
	all := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		all[i] = p.String()
	}
	return strings.Join(all, "; ")
}

// maxProblem bounds a problem's text, in bytes.
const maxProblem = 2000

func (e *RequestError) add(field, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if len(text) > maxProblem { // it may quote what is wrong
		text = strings.ToValidUTF8(text[:maxProblem], "") + "…"
	}
	e.Problems = append(e.Problems, Problem{field, text})
}

// join adds the problems of an error in fields that have none yet.
func (e *RequestError) join(err error) {
	var other *RequestError
	switch {
	case err == nil:
	case errors.As(err, &other):
		known := e.Problems
		for _, p := range other.Problems {
			if !slices.ContainsFunc(known, func(k Problem) bool { return k.Field == p.Field }) {
				e.Problems = append(e.Problems, p)
			}
		}
	default:
		e.add("Request", "%v", err)
	}
}

// resolved is a request with every default filled in.
type resolved struct {
	Request
	guidance float64
	strength float64
	masking
	passes  passes                    // of the UNet; nil is alone
	encoded map[encodedText]embedding // what its texts have become so far; nil keeps none

	imageGuidance float64
	sampler       sampler.Sampler
	schedule      sampler.Schedule

	stages []hires
	made   int // of Steps, how many steps are made on a picture; 0 leaves it to strength

	refinerAt                    float64
	aesthetic, negativeAesthetic float64
}

// steps is the number of steps that are made: fewer than Steps where a picture
// to begin with saves the first of them.
func (q resolved) steps() int {
	if q.made > 0 {
		return q.made
	}
	if q.Image == nil {
		return q.Steps
	}
	return len(sampler.Strength(make([]float64, q.Steps+1), q.strength)) - 1
}

// resolve fills in defaults for model m and checks everything that can be
// checked without it.
func (r Request) resolve(native int) (resolved, error) {
	var e RequestError
	r.checkPictures(&e)
	q := resolved{Request: r, guidance: 7, strength: 0.75, imageGuidance: 1.5,
		refinerAt: 0.8, aesthetic: defaultAesthetic, negativeAesthetic: defaultNegativeAesthetic}
	for _, f := range []struct{ to, from *float64 }{{&q.guidance, r.Guidance}, {&q.strength, r.Strength},
		{&q.imageGuidance, r.ImageGuidance}, {&q.refinerAt, r.RefinerAt},
		{&q.aesthetic, r.Aesthetic}, {&q.negativeAesthetic, r.NegativeAesthetic}} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	width, height := native, native
	if r.Image != nil {
		width, height = sidesOf(r.Image, native)
	}
	q.checkImage(&e)
	if q.Mask != nil && len(e.Problems) == 0 {
		width, height = q.initMask(&e, width, height, native)
	}
	fill(&q.Width, width)
	fill(&q.Height, height)
	fill(&q.Steps, 20)
	fill(&q.Count, 1)
	fill(&q.Sampler, "euler_a")
	fill(&q.RNG, TorchRNG)

	checkSide(&e, "Width", q.Width)
	checkSide(&e, "Height", q.Height)
	checkRange(&e, "Steps", q.Steps, 1, MaxSteps)
	checkRange(&e, "Count", q.Count, 1, MaxCount)
	checkRange(&e, "PreviewEvery", q.PreviewEvery, 0, MaxSteps)
	if !(q.guidance >= 0 && q.guidance <= maxScale) {
		e.add("Guidance", "%g, 0 to %d wanted", q.guidance, maxScale)
	}
	checkRange(&e, "DeepCache", q.DeepCache, 0, MaxSteps)
	q.checkXL(&e)
	q.checkSeed(&e)
	if q.RNG != TorchRNG && q.RNG != PhiloxRNG {
		e.add("RNG", "%q, %q or %q wanted", q.RNG, TorchRNG, PhiloxRNG)
	}
	if q.ClipSkip < 0 {
		e.add("ClipSkip", "%d, 1 or more wanted, or 0 for the model's own", q.ClipSkip)
	}
	var err error
	if q.sampler, err = sampler.Lookup(q.Sampler); err != nil {
		e.add("Sampler", "%v", err)
	}
	fill(&q.Schedule, q.sampler.DefaultSchedule())
	if q.schedule, err = q.sampler.LookupSchedule(q.Schedule); err != nil {
		e.add("Schedule", "%v", err)
	}
	q.checkTowards(&e)
	q.resolveStages(&e)
	if len(e.Problems) > 0 {
		return q, &e
	}
	return q, nil
}

// checkPictures puts pictures that can be computed with in the place of a
// caller's, once: all that follows sees these.
func (r *Request) checkPictures(e *RequestError) {
	for _, p := range []struct {
		field string
		img   *image.Image
	}{{"Image", &r.Image}, {"Mask", &r.Mask}} {
		if *p.img == nil {
			continue
		}
		checked, err := picture.NRGBA(*p.img)
		if err != nil {
			e.add(p.field, "%v", err)
			*p.img = nil
			continue
		}
		*p.img = checked
	}
}

func (q *resolved) checkSeed(e *RequestError) {
	if q.Seed < RandomSeed {
		e.add("Seed", "%d, 0 or more wanted, or %d for a random one", q.Seed, RandomSeed)
	} else if q.Seed > math.MaxInt64-MaxCount {
		e.add("Seed", "%d, at most %d wanted", q.Seed, math.MaxInt64-MaxCount)
	}
}

// sidesOf are the sides that a picture is drawn at unless a request says
// otherwise.
func sidesOf(img image.Image, native int) (width, height int) {
	size := img.Bounds().Size()
	scale := min(1, 2*float64(native)/float64(max(size.X, size.Y, 1)))
	side := func(n int) int { return max(8, int(math.Round(float64(n)*scale/8))*8) }
	return side(size.X), side(size.Y)
}

// checkImage checks the picture that a request begins with.
func (q *resolved) checkImage(e *RequestError) {
	if !(q.strength >= 0 && q.strength <= 1) {
		e.add("Strength", "%g, 0 to 1 wanted", q.strength)
	}
	if !(q.imageGuidance >= 0 && q.imageGuidance <= maxScale) {
		e.add("ImageGuidance", "%g, 0 to %d wanted", q.imageGuidance, maxScale)
	}
	if q.Image == nil {
		if q.Mask != nil {
			e.add("Mask", "a mask without an Image")
		}
		if q.Strength != nil {
			e.add("Strength", "a strength without an Image")
		}
		q.checkMasking(e)
		return
	}
	size := q.Image.Bounds().Size()
	if q.Mask != nil && q.Mask.Bounds().Size() != size {
		m := q.Mask.Bounds().Size()
		e.add("Mask", "%dx%d pixels, the picture's %dx%d wanted", m.X, m.Y, size.X, size.Y)
	}
	q.checkMasking(e)
}

// fill replaces a zero value by a default.
func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func checkRange(e *RequestError, field string, v, low, high int) {
	if v < low || v > high {
		e.add(field, "%d, %d to %d wanted", v, low, high)
	}
}

func checkSide(e *RequestError, field string, v int) {
	if v < 8 || v > MaxSide || v%8 != 0 {
		e.add(field, "%d, a multiple of 8 from 8 to %d wanted", v, MaxSide)
	}
}
