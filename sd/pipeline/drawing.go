package pipeline

import (
	"context"
	"errors"
	"fmt"
	"image"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/disintegration/imaging"

	"github.com/sdgo/sdgo/internal/guard"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/autoencoder"
	"github.com/sdgo/sdgo/sd/control"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/sd/tensor"
	"github.com/sdgo/sdgo/sd/upscale"
)

// ErrNoEncoder is what a request that begins with a picture gets from a model
// whose file has only the autoencoder's decoder.
var ErrNoEncoder = errors.New("the model can't begin with a picture: its file has no autoencoder's encoder (first_stage_model.encoder)")

// Enlarger is a network that makes pictures larger.
type Enlarger interface {
	Name() string
	Host() *engine.Host
	Enlarge(ctx context.Context, img *image.NRGBA, width, height int, done tensor.Progress) (*image.NRGBA, error)
}

// Drawing is a request that a pipeline has checked, with the open models that it
// names.
type Drawing struct {
	request.Resolved
	model    *Pipeline
	refiner  *Pipeline          // nil without one
	taesd    *autoencoder.TAESD // nil without one
	extras   Extras
	controls []control.Network // one for each of the request's Controls
	passes   []hiresPass
	towards  towards                             // what guides it beside conditions
	directed []directed                          // of the deepest features
	record   func(timestep float64, h []float32) // receives these of the condition that is drawn; nil for nothing
	stages   []Drawing                           // what the picture becomes afterwards, one after the other
	run      evaluator                           // of the denoiser; nil is alone
	memo     Memo                                // what its texts have become so far
}

// hiresPass is one of the request's Hires.
type hiresPass struct {
	request.Pass
	drawing Drawing // what the pass amounts to
	filter  upscale.Filter
	network Enlarger // instead of the filter
}

// Hosts are those that a request's attached models compute with. What it names and is
// not attached, Resolve reports.
func (a Attached) Hosts(r request.Request) (all []*engine.Host) {
	for _, name := range append(slices.Clone(r.Stages), r.Refiner) {
		if p := a.Models[name]; p != nil {
			all = append(all, p.Host)
		}
	}
	if t := a.TAESDs[r.TAESD]; t != nil {
		all = append(all, t.Host())
	}
	for _, c := range r.Controls {
		if n := a.Controls[c.Name]; n != nil {
			all = append(all, n.Host())
		}
	}
	for _, name := range classifierNames(r) {
		if c := a.Classifiers[name]; c != nil {
			all = append(all, c.Host())
		}
	}
	for _, h := range r.Hires {
		if u := a.ESRGANs[h.Upscaler]; u != nil {
			all = append(all, u.Host())
		}
	}
	return all
}

// Resolve fills in a request's defaults and checks it with the model. All problems are
// in one [*request.Error].
func (p *Pipeline) Resolve(r request.Request, with Attached) (Drawing, error) {
	var all request.Error
	q, err := r.Resolve(p.Defaults)
	all.Join(err)
	p.Check(&q, with, &all)
	if n := q.Request.NoiseLevel; n != nil && *n > 0 && !p.Defaults.Enlarges && len(q.Stages) == 0 {
		all.Add("NoiseLevel", "is for pictures that a model enlarges, and this one enlarges none")
	}
	if q.Class != "" && !p.Textless {
		all.Add("Class", "the model draws from text, and has no classes")
	}
	d := Drawing{Resolved: q, model: p}
	p.attach(&d, with, &all)
	d.addStages(r, with, &all)
	attachExtras(&d, with, &all)
	attachControls(&d, with, &all)
	attachGuides(&d, r, with, &all)
	checkEdits(&d, &all)
	attachDirections(&d, with, &all)
	p.Conditioner.Check(&q, d.extras, &all)
	p.checkSampling(&d, &all)
	if p.EditsImages {
		checkEditing(&q, &all)
	}
	if len(all.Problems) > 0 {
		return d, &all
	}
	if d.encodes() && !d.encoder().CanEncode() {
		return d, ErrNoEncoder
	}
	if d.Random() {
		d.Seed = int64(rand.Uint32())
		for i := range d.passes {
			d.passes[i].drawing.Seed = d.Seed
		}
		for i := range d.stages {
			d.stages[i].Seed = d.Seed
		}
	}
	return d, nil
}

// checkSampling checks that the schedule and the guidance suit the model.
func (p *Pipeline) checkSampling(d *Drawing, e *request.Error) {
	process, err := processFor(p, &d.Resolved)
	if err != nil {
		e.Join(request.Problemf("ZeroSNR", "%v", err))
		process = p.Denoiser.Process()
	}
	passes := []request.Resolved{d.Resolved}
	for _, h := range d.passes {
		passes = append(passes, h.drawing.Resolved)
	}
	for i, q := range passes {
		field := "Schedule"
		if i > 0 {
			field = fmt.Sprintf("Hires[%d].Schedule", i-1)
		}
		if q.Schedule.Sigmas == nil { // unknown
			continue
		}
		if err := q.Schedule.Check(process); err != nil {
			e.Join(request.Problemf(field, "%v", err))
		}
	}
	if d.DeepCache > 1 && !p.Denoiser.CachesInner() {
		e.Add("DeepCache", "the model's network has no inner blocks to reuse")
	}
	if c := d.Caching.Cache; c.Inner && !p.Denoiser.CachesInner() {
		e.Add("Cache", "%s does not go with the model, whose network has no inner blocks to reuse", c.Name)
	} else if c.Inner && d.DeepCache > 1 {
		e.Add("Cache", "%s does not go with DeepCache, which reuses the same blocks", c.Name)
	} else if c.Inner && slices.ContainsFunc(d.controls, isIPAdapter) {
		e.Add("Cache", "%s does not go with IP-Adapters, which the first block sees", c.Name)
	}
	d.checkMerging(e)
	answers := d.Guide.Guider.Answers
	switch {
	case p.EmbedsGuidance && d.Guider != "cfg":
		e.Add("Guider", "must be cfg: the guidance scale is an input of the model, got %s", d.Guider)
	case p.EmbedsGuidance && len(d.GuiderOptions) > 0:
		e.Add("GuiderOptions", "must be empty: the guidance scale is an input of the model")
	case p.EmbedsGuidance && d.Sampler.CFGPP:
		e.Add("Sampler", "%s brings its own guidance, which does not go with a model whose input the guidance scale is", d.Sampler.Name)
	case p.EditsImages && d.Guider != "cfg" && d.Guider != editing:
		e.Add("Guider", "must be %s, which a model for editing pictures has of its own, got %s", editing, d.Guider)
	case !p.EditsImages && slices.Contains(answers, sampler.AnswerImage):
		e.Add("Guider", "%s is for models for editing pictures", d.Guider)
	case slices.Contains(answers, sampler.AnswerPerturbed) && !p.Denoiser.Perturbs():
		e.Add("Guider", "%s needs perturbed attention, which the model's network does not have", d.Guider)
	}
}

// processFor is the denoiser's process for a request, with zero terminal SNR if it asks for that.
func processFor(p *Pipeline, q *request.Resolved) (*sampler.Process, error) {
	process := p.Denoiser.Process()
	if p.ProcessFor != nil {
		process = p.ProcessFor(q)
	}
	if !q.ZeroSNR {
		return process, nil
	}
	return process.ZeroTerminalSNR()
}

// attach finds the models that a request names.
func (p *Pipeline) attach(d *Drawing, with Attached, e *request.Error) {
	if d.Refiner != "" {
		if d.refiner = with.Models[d.Refiner]; d.refiner == nil {
			e.Add("Refiner", "no model %.80q is attached", d.Refiner)
		}
	}
	if d.TAESD != "" {
		d.taesd = with.TAESDs[d.TAESD]
		if d.taesd == nil {
			e.Add("TAESD", "no tiny autoencoder %.80q is attached", d.TAESD)
		} else if err := d.taesd.Fits(p.Denoiser.Latent(p.Defaults.Align, p.Defaults.Align)[0], p.Autoencoder.Factor()); err != nil {
			e.Add("TAESD", "%v", err)
		} else if a, ok := p.Autoencoder.(interface{ OwnLatents() bool }); ok && a.OwnLatents() {
			e.Add("TAESD", "the model's latents have their own mean and deviation, for which there is no tiny autoencoder")
		}
	}
	d.passes = nil
	for i, h := range d.Hires {
		pass := hiresPass{Pass: h, drawing: Drawing{Resolved: h.Request, model: p, taesd: d.taesd}}
		var ok bool
		if pass.network = with.ESRGANs[h.Upscaler]; pass.network == nil {
			if h.Upscaler == "" {
				h.Upscaler = upscale.Filters()[0]
			}
			if pass.filter, ok = upscale.LookupFilter(h.Upscaler); !ok {
				e.Add(fmt.Sprintf("Hires[%d].Upscaler", i), "%.40q is not known; there are %s, and attached ESRGAN networks",
					h.Upscaler, strings.Join(upscale.Filters(), ", "))
			}
		}
		d.Resolved.Hires[i].Upscaler = pass.filter.Name
		if pass.network != nil {
			d.Resolved.Hires[i].Upscaler = pass.network.Name()
		}
		d.passes = append(d.passes, pass)
	}
	if n := len(d.passes); n > 0 && d.refiner != nil { // the refiner takes part in the last pass alone
		last := &d.passes[n-1].drawing
		last.refiner, last.Refiner = d.refiner, d.Refiner
		d.refiner = nil
	}
}

// encodes reports whether pictures are encoded: one to begin with, or those
// that a pass enlarges in pixels.
func (d Drawing) encodes() bool {
	if d.Image != nil {
		return true
	}
	for _, h := range d.passes {
		if h.filter.Latent == nil {
			return true
		}
	}
	return false
}

// encoder is the autoencoder that encodes: the tiny one where the model's own cannot.
func (d Drawing) encoder() autoencoder.Autoencoder {
	if !d.model.Autoencoder.CanEncode() && d.taesd != nil && !d.model.EditsImages {
		return d.taesd
	}
	return d.model.Autoencoder
}

// decoder is the autoencoder that decodes the pictures.
func (d Drawing) decoder() autoencoder.Autoencoder {
	if d.taesd != nil && !d.TAESDPreviewOnly {
		return d.taesd
	}
	return d.model.Autoencoder
}

// event reports progress to the request's owner.
func (d Drawing) event(e request.Event) error {
	if d.OnEvent == nil {
		return nil
	}
	return guard.Call("OnEvent", func() error { return d.OnEvent(e) })
}

// params are the parameters of the picture with one seed, after so many of its hires
// passes.
func (d Drawing) params(seed int64, passes int) request.Params {
	q := d.Resolved
	q.Hires = q.Hires[:passes]
	p := q.Params(d.model.Host.Name, seed)
	p.Parts = d.model.Parts
	return p
}

// latent is a tensor of zeros for the latent of the drawing's picture.
func (d Drawing) latent() tensor.Tensor {
	return tensor.New(d.model.Denoiser.Latent(d.Width, d.Height)...)
}

// fit scales a picture until it covers a size, and crops it around its middle.
func fit(img *image.NRGBA, width, height int) *image.NRGBA {
	to := image.Pt(width, height)
	if img.Rect.Size() == to {
		return imaging.Clone(img)
	}
	if part := middleFor(img.Rect.Size(), to); part != img.Rect {
		img = imaging.Crop(img, part)
	}
	return imaging.Fill(img, width, height, imaging.Center, imaging.Lanczos)
}

// middleFor is the part of a picture that is scaled to cover a size: the whole,
// unless most of what it became would be cropped away again. Then it is the
// middle, in the proportions of the size, as near as whole pixels come.
func middleFor(size, to image.Point) image.Rectangle {
	whole := image.Rectangle{Max: size}
	cover := covering(size, to)
	if cover.X/to.X*(cover.Y/to.Y) < 4 {
		return whole
	}
	part := image.Pt(size.X, (size.X*to.Y+to.X-1)/to.X)
	if part.Y > size.Y {
		part = image.Pt((size.Y*to.X+to.Y-1)/to.Y, size.Y)
	}
	return image.Rectangle{Max: part}.Add(size.Sub(part).Div(2))
}

// covering is the least size with the proportions of one, up to the rounding
// of a side, that covers another.
func covering(size, to image.Point) image.Point {
	if size.X*to.Y > to.X*size.Y {
		return image.Pt(max(to.X, size.X*to.Y/size.Y), to.Y)
	}
	return image.Pt(to.X, max(to.Y, size.Y*to.X/size.X))
}

// opaque puts what is transparent on white.
func opaque(img *image.NRGBA) *image.NRGBA {
	for i := 0; i < len(img.Pix); i += 4 {
		alpha := uint32(img.Pix[i+3])
		for c := range 3 {
			v := &img.Pix[i+c]
			*v = uint8((uint32(*v)*alpha + 255*(255-alpha) + 127) / 255)
		}
		img.Pix[i+3] = 255
	}
	return img
}
