package job

import (
	"image"
	"image/color"
	"image/draw"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/request"
)

// defaults are those of a model as Stable Diffusion 1 is one.
var defaults = request.Defaults{Side: 512, Align: 8, Guidance: 7.5}

// picture64 and mask64 are what random requests begin with.
func picture64() (image.Image, image.Image) {
	mask := image.NewGray(image.Rect(0, 0, 64, 64))
	draw.Draw(mask, image.Rect(16, 16, 48, 40), image.NewUniform(color.White), image.Point{}, draw.Src)
	return image.NewNRGBA(image.Rect(0, 0, 64, 64)), mask
}

// dice makes random requests.
type dice struct{ *rand.Rand }

func newDice(seed uint64) dice { return dice{rand.New(rand.NewPCG(seed, 17))} }

func (d dice) maybe() bool { return d.IntN(2) == 0 }

// between is a number from low to high, with few or many digits, or an end.
func (d dice) between(low, high float64) float64 {
	switch d.IntN(6) {
	case 0:
		return low
	case 1:
		return high
	case 2:
		return low + (high-low)*d.Float64()
	}
	return low + float64(int((high-low)*100*d.Float64()))/100
}

func (d dice) optional(low, high float64) *float64 {
	if d.maybe() {
		return nil
	}
	return request.Float(d.between(low, high))
}

func (d dice) whole(low, high int) int {
	if n := d.IntN(8); n < 2 {
		return []int{low, high}[n]
	}
	return low + d.IntN(high-low+1)
}

// pieces are what texts are made of: all that means something in AUTOMATIC1111's
// layout or in JSON.
var pieces = []string{"a fox", " ", "  ", "\n", "\n", "\r", "\r\n", "\t", ",", ", ", ":", ": ", "\"", "\\", "\\n", "'", "{", "}", "[", "]", "(red:1.2)",
	"Negative prompt:", "Negative prompt: ", "\nNegative prompt: blurry", "Steps: 20", "\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512",
	"Version: sdgo 0.1.0", ", Version: sdgo 9", "Prompt lines: 2", "Hires upscale: 2", "猫", "🚀", "é", "\u0085", "\u00a0", "\u2028", "\u202e", "\x00", "\x07", "\x7f", "BREAK", "x"}

func (d dice) text() string {
	var b strings.Builder
	for range d.IntN(8) {
		b.WriteString(pieces[d.IntN(len(pieces))])
	}
	return b.String()
}

// file is a name without folders, and without what no name of a file may have.
func (d dice) file() string {
	return "f" + strings.NewReplacer("/", "", `\`, "", "\x00", "").Replace(d.text())
}

func (d dice) sampler() string {
	all := sampler.Samplers()
	s := all[d.IntN(len(all))]
	return append([]string{s.Name, "DPM++ 2M Karras", "Euler a"}, s.Aliases...)[d.IntN(3+len(s.Aliases))]
}

func (d dice) schedule() string {
	all := sampler.Schedules()
	return append([]string{"Automatic"}, all[d.IntN(len(all))].Name)[d.IntN(2)]
}

// seed is one of few or of many digits, with room for a request's pictures.
func (d dice) seed() uint64 { return d.Uint64N(math.MaxUint64-request.MaxCount) >> (8 * d.IntN(8)) }

// sides are multiples of the alignment.
func (d dice) sides(low, high int) (int, int) {
	return 8 * d.whole(low/8, high/8), 8 * d.whole(low/8, high/8)
}

// request is a random valid one.
func (d dice) request() request.Request {
	r := request.Request{Prompt: d.text(), NegativePrompt: d.text(), Guidance: d.optional(0, maxScale), ImageGuidance: d.optional(0, maxScale)}
	r.SetSeed(d.seed())
	if d.maybe() {
		r.Steps, r.Count = d.whole(1, request.MaxSteps), d.whole(1, request.MaxCount)
	}
	if d.maybe() {
		r.Width, r.Height = d.sides(8, request.MaxSide)
	}
	if d.maybe() {
		r.Sampler = d.sampler()
	}
	if d.maybe() {
		r.Schedule = d.schedule()
	}
	d.numbers(&r)
	if d.maybe() {
		r.RNG = []request.RNG{request.TorchRNG, request.PhiloxRNG}[d.IntN(2)]
	}
	if d.maybe() {
		r.ClipSkip, r.DeepCache = d.whole(1, 12), d.whole(1, request.MaxSteps)
		r.ZeroSNR = r.DeepCache%2 == 1
		r.TokenMerging = float64(d.whole(0, 9)) / 10
		if all := sampler.StepCaches(); d.maybe() {
			c := all[d.IntN(len(all))]
			r.Cache, r.CacheOptions = c.Name, d.some(c.Parameters)
		}
	}
	d.beginning(&r)
	d.sample(&r)
	d.way(&r)
	d.family(&r)
	if r.Mask == nil && r.Canvas == (image.Point{}) && d.maybe() {
		d.hires(&r)
	}
	if d.maybe() {
		d.controls(&r)
	}
	if d.maybe() {
		d.guides(&r)
	}
	if d.maybe() {
		d.edits(&r)
	}
	if d.maybe() {
		d.directions(&r)
	}
	if d.maybe() {
		r.TAESD, r.TAESDPreviewOnly = d.file(), d.maybe()
	}
	if d.maybe() {
		r.PreviewEvery, r.KeepHiresInput = d.whole(1, request.MaxSteps), d.maybe()
	}
	return r
}

// numbers gives the sampler and the guidance numbers of their own, or not.
func (d dice) numbers(r *request.Request) {
	s, err := sampler.Lookup(r.Sampler)
	if err != nil {
		s, _ = sampler.Lookup("euler_a")
	}
	r.SamplerOptions = d.some(s.Parameters)
	all := sampler.Guiders()
	if g := all[d.IntN(len(all))]; d.maybe() && !g.Repeats && (g.CFGPP || !s.CFGPP) {
		if r.Guider = append(g.Aliases, g.Name)[d.IntN(1+len(g.Aliases))]; g.Name == "cfg" {
			r.Guider = ""
		}
		r.GuiderOptions = d.some(g.Parameters)
	}
}

// some are values of some parameters. Of two that must not cross one stays as it is.
func (d dice) some(all []sampler.Parameter) map[string]float64 {
	numbers := map[string]float64{}
	for _, p := range all {
		crosses := p.Name == "stop" || p.Name == "sigma_max" || p.Name == "pag_stop" || p.Name == "s_tmax"
		switch {
		case d.maybe() || crosses:
		case p.Integer:
			numbers[p.Name] = float64(d.whole(int(p.Min), int(p.Max)))
		default:
			numbers[p.Name] = d.between(p.Min, min(p.Max, 1000))
		}
	}
	for _, pair := range [][2]string{{"start", "stop"}, {"pag_start", "pag_stop"}, {"sigma_min", "sigma_max"}, {"s_tmin", "s_tmax"}} {
		low, high := pair[0], pair[1]
		if v, ok := numbers[low]; ok && d.maybe() {
			numbers[high] = v
			if low == "s_tmin" || low == "sigma_min" {
				numbers[high] += 1.5
			}
		}
	}
	if len(numbers) == 0 {
		return nil
	}
	return numbers
}

// sample sets what models without text take.
func (d dice) sample(r *request.Request) {
	if d.maybe() {
		r.Class = d.file()
	}
	if d.maybe() {
		r.PreviewNoisy, r.KeepStages = d.maybe(), d.maybe()
		for range 1 + d.IntN(request.MaxStages) {
			r.Stages = append(r.Stages, strings.TrimSpace(strings.ReplaceAll(d.file(), ",", "")))
		}
		r.StageSteps = d.whole(1, request.MaxSteps)
		if d.maybe() {
			r.NoiseLevel = request.Int(d.whole(0, request.MaxNoiseLevel))
		}
	}
}

// controls gives a request ControlNets.
func (d dice) controls(r *request.Request) {
	for range 1 + d.IntN(3) {
		c := request.Control{Name: strings.TrimSpace(d.file()), Weight: d.optional(0, request.MaxControlWeight), Start: d.optional(0, 0.4), End: d.optional(0.5, 1)}
		if c.ImageFile = strings.TrimSpace(d.file()); d.maybe() || r.Image == nil {
			c.Image, _ = picture64()
		}
		if d.IntN(3) == 0 {
			c.FaceFile = strings.TrimSpace(d.file())
		}
		c.Mode = []request.ControlMode{"", request.ControlBalanced, request.ControlPrompt, request.ControlNetwork, request.ControlGuess}[d.IntN(5)]
		if d.IntN(3) == 0 {
			c.Type = request.ControlTypes()[d.IntN(8)]
		}
		c.Preprocess = []string{"", "canny", "lineart", "canny:low=50:high=120.5", "blur:sigma=2", "shuffle:seed=7"}[d.IntN(6)]
		r.Controls = append(r.Controls, c)
	}
}

// guides gives a request a classifier, or guides.
func (d dice) guides(r *request.Request) {
	value := func() string { return strings.TrimSpace(d.file()) }
	if d.maybe() {
		r.Classifier, r.ClassifierClass, r.ClassifierScale = d.file(), d.file(), d.optional(0, request.MaxClassifierScale)
	}
	if d.maybe() {
		return
	}
	linear := true
	for range 1 + d.IntN(3) {
		img, mask := picture64()
		switch d.IntN(4) {
		case 0:
			r.Guides = append(r.Guides, request.Guide{Kind: request.GuideColour, Colour: "#12ab9f"})
		case 1:
			r.Guides = append(r.Guides, request.Guide{Kind: request.GuideLowres, ImageFile: value(), Image: img})
		case 2:
			r.Guides = append(r.Guides, request.Guide{Kind: request.GuideMask, ImageFile: value(), Image: mask, OfFile: value(), Of: img})
		case 3:
			linear = false
			r.Guides = append(r.Guides, request.Guide{Kind: request.GuideClassifier, Classifier: value(), Class: value()})
		}
	}
	if all := sampler.LossMethods(); d.maybe() {
		if m := all[d.IntN(len(all))]; linear || !m.LinearOnly {
			r.GuideMethod, r.GuideOptions = m.Name, d.some(m.Parameters)
		}
	}
}

// edits gives a request semantic guidance.
func (d dice) edits(r *request.Request) {
	for range 1 + d.IntN(3) {
		e := request.Edit{Prompt: strings.TrimSpace(d.file()), Away: d.maybe(), Scale: d.optional(0, request.MaxEditScale), Threshold: d.optional(0, 1), Weight: d.optional(0, 10)}
		if d.maybe() {
			e.WarmUp, e.CoolDown = request.Int(d.IntN(20)), request.Int(1+d.IntN(20))
		}
		r.Edits = append(r.Edits, e)
	}
	r.EditMomentum, r.EditBeta = d.optional(0, 1), d.optional(0, 1)
}

// directions gives a request some.
func (d dice) directions(r *request.Request) {
	for range 1 + d.IntN(3) {
		name := []string{strings.TrimSpace(d.file()), "strength=2", "name=x"}[d.IntN(3)]
		r.Directions = append(r.Directions, request.Direction{Name: name, Strength: d.optional(-request.MaxDirectionStrength, request.MaxDirectionStrength),
			Start: d.optional(0, 0.4), End: d.optional(0.5, 1)})
	}
}

// beginning gives a request a picture to begin with, or not.
func (d dice) beginning(r *request.Request) {
	if d.maybe() {
		return
	}
	img, mask := picture64()
	r.Image, r.ImageFile, r.Strength = img, d.file(), d.optional(0, 1)
	switch d.IntN(3) {
	case 0:
		return
	case 1:
		r.Mask, r.MaskFile = mask, d.file()
	case 2:
		r.Canvas = image.Pt(88+8*d.IntN(10), 64+8*d.IntN(10))
	}
	if d.maybe() {
		r.MaskGrow, r.MaskBlur = d.whole(-3, 1024), d.between(0, 4) // some of the mask must stay
	}
	if d.maybe() {
		r.MaskFeather = request.Int(d.whole(0, 256))
	}
	if d.maybe() {
		r.MaskFill = []request.MaskFill{request.MaskOriginal, request.MaskFilled, request.MaskNoise, request.MaskNothing}[d.IntN(4)]
	}
	if r.MaskBlur == 0 && d.maybe() {
		if r.OnlyMasked = true; d.maybe() {
			r.MaskPadding = request.Int(d.whole(0, 4096))
		}
	}
}

// way puts a request on the way to another picture, or not.
func (d dice) way(r *request.Request) {
	if d.maybe() {
		return
	}
	t := request.Interpolation{At: d.between(0, 1)}
	n := 1 + d.IntN(3)
	if n&1 != 0 {
		text := d.text()
		t.Prompt = &text
	}
	if n&2 != 0 {
		t.SetSeed(d.seed())
	}
	r.Interpolate = &t
}

// family sets what only some models take.
func (d dice) family(r *request.Request) {
	for _, p := range []*image.Point{&r.OriginalSize, &r.TargetSize, &r.CropTopLeft} {
		if d.maybe() {
			*p = image.Pt(d.whole(0, request.MaxSide), d.whole(0, request.MaxSide))
		}
	}
	r.AestheticScore, r.NegativeAestheticScore = d.optional(0, 10), d.optional(0, 10)
	for range d.IntN(3) {
		a := request.Adapter{Name: strings.TrimSpace(d.file()), Strength: request.Float(d.between(-request.MaxAdapterStrength, request.MaxAdapterStrength))}
		a.TextStrength = d.optional(-request.MaxAdapterStrength, request.MaxAdapterStrength)
		r.Adapters = append(r.Adapters, a)
	}
	if d.maybe() {
		r.Refiner, r.RefinerAt = d.file(), d.optional(0, 1)
	}
}

// hires asks for hires passes that fit the largest picture.
func (d dice) hires(r *request.Request) {
	r.Width, r.Height = 64, 64
	for range 1 + d.IntN(3) {
		h := request.HiresPass{Guidance: d.optional(0, maxScale), Steps: d.whole(0, 20), Strength: d.optional(0.1, 1)}
		if r.Steps > 90 && h.Steps == 0 {
			h.Steps = 7 // as many as the request's would be too many
		}
		if d.maybe() {
			h.Width, h.Height = d.sides(8, 512)
		} else if d.maybe() {
			h.Scale = 1 + d.Float64()
		}
		if d.maybe() {
			h.Upscaler = d.file()
		}
		if d.maybe() {
			h.Sampler = d.sampler()
		}
		if d.maybe() {
			all := sampler.Schedules()
			h.Schedule = all[d.IntN(len(all))].Name
		}
		r.Hires = append(r.Hires, h)
	}
}
