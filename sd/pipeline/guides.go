package pipeline

import (
	"context"
	"fmt"
	"image"
	"slices"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/autoencoder"
	"github.com/sdgo/sdgo/sd/classifier"
	"github.com/sdgo/sdgo/sd/guide"
	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/sd/prompt"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/sd/tensor"
)

// towards is what guides a drawing beside its conditions.
type towards struct {
	classifier *classifier.Classifier // of noisy samples; nil without one
	class      int
	guides     []sampler.Guide // of decoded pictures, [3, Height, Width]
}

// classifierNames are those of a request.
func classifierNames(r request.Request) (all []string) {
	if r.Classifier != "" {
		all = append(all, r.Classifier)
	}
	for _, g := range r.Guides {
		if g.Classifier != "" {
			all = append(all, g.Classifier)
		}
	}
	return all
}

// attachGuides finds the classifiers that a request names, and makes its guides.
func attachGuides(d *Drawing, r request.Request, with Attached, e *request.Error) {
	if r.Classifier == "" && len(r.Guides) == 0 {
		return
	}
	d.refuseBesideGuides(e)
	if r.Classifier != "" {
		class, field := r.ClassifierClass, "ClassifierClass"
		if class == "" {
			class = r.Class
		}
		if d.towards.classifier, d.towards.class = with.classifier(r.Classifier, class, "Classifier", field, e); d.towards.classifier != nil {
			if err := d.towards.classifier.Fits(d.model.Denoiser.Latent(d.Width, d.Height)); err != nil {
				e.Add("Classifier", "%v", err)
			}
		}
	}
	for i, g := range d.Guides {
		field := func(name string) string { return fmt.Sprintf("Guides[%d].%s", i, name) }
		var p request.GuidePicture
		if i < len(d.GuidePictures) {
			p = d.GuidePictures[i]
		}
		one, wrong, err := d.guide(g, p, func() (*classifier.Classifier, int) {
			return with.classifier(g.Classifier, g.Class, field("Classifier"), field("Class"), e)
		})
		if err != nil {
			e.Add(field(wrong), "%v", err)
		}
		d.towards.guides = append(d.towards.guides, one)
	}
}

// classifier finds an attached classifier and one of its classes.
func (a Attached) classifier(name, class, nameField, classField string, e *request.Error) (*classifier.Classifier, int) {
	c := a.Classifiers[name]
	switch {
	case c == nil:
		e.Add(nameField, "no classifier %.80q is attached", name)
		return nil, 0
	case class == "" || class == "none":
		n, _ := c.Classes()
		e.Add(classField, "must say which of classifier %s's %d classes is wanted", c.Name(), n)
		return c, 0
	}
	k, err := c.Class(class)
	if err != nil {
		e.Add(classField, "of classifier %s %v", c.Name(), err)
	}
	return c, k
}

// refuseBesideGuides refuses what classifiers and guides do not go with.
func (d *Drawing) refuseBesideGuides(e *request.Error) {
	field := "Guides"
	if len(d.Guides) == 0 {
		field = "Classifier"
	}
	backward := len(d.Guides) > 0 && d.Losses.Method.Backward
	parts, _ := prompt.Compose(d.Prompt)
	coefficients := error(nil)
	if g, err := d.model.guidance(*d); backward && err == nil && g.Guider.New != nil {
		_, coefficients = g.Coefficients(sampler.Sigmas{1, 0}, 1)
	}
	for _, c := range []struct {
		with string
		set  bool
	}{
		{"hires passes, which have another size", len(d.Hires) > 0},
		{"models of flows yet", d.model.Denoiser.Process().Kind() == sampler.KindFlow},
		{"a refiner", d.refiner != nil},
	} {
		if c.set {
			e.Add(field, "do not go with %s", c.with)
		}
	}
	for _, c := range []struct {
		with string
		set  bool
	}{
		{"ControlNets", len(d.controls) > 0},
		{"DeepCache", d.DeepCache > 1},
		{"token merging", d.TokenMerging > 0},
		{"a step cache", d.Cache != ""},
		{"edits, whose thresholds have no derivative", backward && len(d.Edits) > 0},
		{"AND in a prompt", backward && composes(parts)},
		{"guidance " + d.Guider + ", which is no sum of predictions", coefficients != nil},
	} {
		if c.set && backward {
			e.Add("GuideMethod", "%s does not go with %s: mpgd does, which needs no derivative of the model", d.GuideMethod, c.with)
		}
	}
	if _, ok := d.decoder().(autoencoder.Differentiable); len(d.Guides) > 0 && !ok {
		e.Add("Guides", "need an autoencoder that has a derivative: the model's has none, and TAESD may name one")
	}
}

// guide makes one of the guides. wrong is the field of an error.
func (d *Drawing) guide(g request.Guide, p request.GuidePicture, find func() (*classifier.Classifier, int)) (out sampler.Guide, wrong string, err error) {
	switch g.Kind {
	case request.GuideColour:
		rgb, err := request.RGB(g.Colour)
		return sampler.Guide{Linear: guide.Colour(rgb, d.Width, d.Height)}, "Colour", err
	case request.GuideLowres:
		if p.Image == nil {
			return out, "Image", nil // which is reported
		}
		out.Linear, err = guide.Lowres(tensor.FromImage(picture.OnWhite(p.Image)), d.Width, d.Height)
		return out, "Image", err
	case request.GuideMask:
		if p.Image == nil {
			return out, "Image", nil
		}
		out.Linear, err = d.known(p)
		return out, "Image", err
	case request.GuideClassifier:
		c, class := find()
		if c == nil {
			return out, "Classifier", nil
		}
		out.Loss, err = d.judge(c, class)
		return out, "Classifier", err
	}
	return out, "Kind", nil
}

// known is the part of a picture that stays: what is opaque, or black in a mask.
func (d *Drawing) known(p request.GuidePicture) (*sampler.Measurement, error) {
	free := make([]float32, d.Width*d.Height)
	img := p.Of
	if img != nil {
		mask := fit(picture.OnWhite(p.Image), d.Width, d.Height)
		for i := range free {
			if mask.Pix[4*i] >= 128 {
				free[i] = 1
			}
		}
	} else {
		img = p.Image
		for i, cut := 0, fit(img, d.Width, d.Height); i < len(free); i++ {
			if cut.Pix[4*i+3] < 128 {
				free[i] = 1
			}
		}
	}
	return guide.Known(tensor.FromImage(fit(picture.OnWhite(img), d.Width, d.Height)), free)
}

// judge is a classifier's loss of finished pictures, which may be whole multiples of the
// size that it was made for.
func (d *Drawing) judge(c *classifier.Classifier, class int) (sampler.LossFunc, error) {
	side := c.Size()
	if err := c.Fits([]int{3, side, side}); err != nil {
		return nil, err
	}
	loss := c.Loss(class)
	if d.Width == side && d.Height == side {
		return loss, nil
	}
	boxes, err := guide.NewBoxes(d.Width, d.Height, side, side)
	if err != nil {
		return nil, fmt.Errorf("classifier %s sees %dx%d pixels: %w", c.Name(), side, side, err)
	}
	return func(ctx context.Context, grad, x0 []float32) (float64, error) {
		small, by := make([]float32, 3*side*side), make([]float32, 3*side*side)
		boxes.Apply(small, x0)
		value, err := loss(ctx, by, small)
		boxes.Transpose(grad, by)
		return value, err
	}, nil
}

// guideTowards is the denoiser limited, and guided by what guides a drawing beside its
// conditions.
func guideTowards(p *Pipeline, d Drawing, denoise sampler.Denoiser, back *backward, r run, seed int64) (sampler.Denoiser, error) {
	if p.Limit != nil {
		denoise = back.watch(denoise, p.Limit)
	}
	if len(d.towards.guides) > 0 && d.Pass == 0 {
		m := sampler.LossModel{Denoise: denoise, Sigmas: r.sigmas, Noise: sampler.NewTorch(uint64(seed) ^ guideStream), Variance: d.Sampler.Variance}
		if back != nil {
			m.Pullback = back.pull
		}
		decodeFor(d, r.shape, &m)
		losses := d.Losses
		if _, ok := d.GuideOptions["deviation"]; !ok && p.Autoencoder.Factor() > 1 {
			var err error
			if losses, err = latentDeviation(d); err != nil {
				return nil, err
			}
		}
		var err error
		if denoise, err = losses.Denoiser(m, d.towards.guides...); err != nil {
			return nil, request.Problemf("Guides", "%v", err)
		}
	}
	if c := d.towards.classifier; c != nil {
		grad := c.Gradient(d.towards.class)
		if d.Sampler.Variance != "" {
			return sampler.ClassifierMean(denoise, grad, d.ClassifierScale, r.sigmas, d.Sampler.Variance, r.spread), nil
		}
		return sampler.Classifier(denoise, grad, d.ClassifierScale), nil
	}
	return denoise, nil
}

// solverOf is the drawing's sampler, which makes steps as often as guides ask for.
func solverOf(d Drawing) sampler.Sampler {
	s := d.Sampler
	if len(d.Guides) > 0 {
		s.Func = sampler.Recurrence(s.Func, d.Losses.Recurrence())
	}
	return s
}

// guideStream makes a seed's noise for guides another than that of the sampler.
const guideStream = 0x6775696465 // "guide"

// latentDeviation is the drawing's method for latents, whose standard deviation is 1.
func latentDeviation(d Drawing) (sampler.LossGuidance, error) {
	if _, takes := d.Losses.Parameters["deviation"]; !takes {
		return d.Losses, nil
	}
	options := map[string]float64{"deviation": 1}
	for name, v := range d.GuideOptions {
		options[name] = v
	}
	return d.Losses.Method.With(options)
}

// decodeFor lets guides see pictures where samples are something else.
func decodeFor(d Drawing, shape []int, m *sampler.LossModel) {
	decoder := d.decoder()
	back, ok := decoder.(autoencoder.Differentiable)
	if _, same := decoder.(autoencoder.None); same || !ok {
		return
	}
	m.Decode = func(ctx context.Context, x0 []float32) ([]float32, error) {
		pixels, err := decoder.Decode(ctx, tensor.Of(slices.Clone(x0), shape...), tensor.NoProgress)
		return pixels.Data, err
	}
	m.DecodePullback = func(ctx context.Context, dst, v, x0 []float32) error {
		size := image.Pt(d.Width, d.Height)
		out, err := back.Pullback(ctx, tensor.Of(slices.Clone(x0), shape...), tensor.Of(v, 3, size.Y, size.X))
		copy(dst, out.Data)
		return err
	}
}
