package request

import (
	"fmt"
	"image"
	"slices"
	"strconv"
	"strings"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/picture"
)

// Guide is something that a request's pictures are guided towards, without training: a
// loss of what the model predicts of the finished picture.
type Guide struct {
	Kind GuideKind

	// Colour is the mean colour that GuideColour asks for, "#rrggbb".
	Colour string

	// Image is GuideLowres's smaller version of the picture, whose sides are whole fractions of
	// it, or GuideMask's mask: white where the picture is drawn, black where it is that of Of,
	// or without Of a picture whose transparent pixels are drawn. ImageFile and OfFile are the
	// names of their files: they are read if the pictures are nil.
	Image, Of         image.Image
	ImageFile, OfFile string

	// Classifier names GuideClassifier's attached classifier, which judges finished pictures;
	// Class is what it is to see, a number or a name.
	Classifier, Class string
}

// GuideKind is what a [Guide] asks for.
type GuideKind string

// The kinds of guides.
const (
	GuideColour     GuideKind = "colour"     // a mean colour
	GuideLowres     GuideKind = "lowres"     // a smaller version of the picture: super-resolution
	GuideMask       GuideKind = "mask"       // known pixels: inpainting
	GuideClassifier GuideKind = "classifier" // a class, as a classifier sees it
)

// MaxGuides bounds the number of a request's guides.
const MaxGuides = 16

// MaxClassifierScale bounds [Request.ClassifierScale].
const MaxClassifierScale = 10000

// GuidePicture has the pictures of a guide, converted; nil where it has none.
type GuidePicture struct{ Image, Of *image.NRGBA }

// RGB are the channels of a colour, "#rrggbb", from -1 to 1.
func RGB(colour string) (rgb [3]float32, err error) {
	digits, ok := strings.CutPrefix(colour, "#")
	v, wrong := strconv.ParseUint(digits, 16, 32)
	if !ok || wrong != nil || len(digits) != 6 {
		return rgb, fmt.Errorf("must be a colour such as #ff8800, got %.40q", colour)
	}
	for c := range rgb {
		rgb[c] = float32(v>>(16-8*c)&255)/127.5 - 1
	}
	return rgb, nil
}

// resolveGuides checks the guides and how they guide, and converts their pictures.
func resolveGuides(q *Resolved, e *Error) {
	q.ClassifierScale = 1
	if q.Request.ClassifierScale != nil {
		q.ClassifierScale = *q.Request.ClassifierScale
	}
	checkFloat(e, "ClassifierScale", q.ClassifierScale, 0, MaxClassifierScale)
	if q.Classifier == "" && (q.Request.ClassifierScale != nil || q.ClassifierClass != "") {
		e.Add("Classifier", "must name the classifier that ClassifierScale and ClassifierClass are about")
	}
	all := q.Guides
	q.Guides, q.GuidePictures = nil, nil
	if len(all) > MaxGuides {
		e.Add("Guides", "must be at most %d, got %d", MaxGuides, len(all))
		return
	}
	linear := true
	for i, g := range all {
		field := func(name string) string { return fmt.Sprintf("Guides[%d].%s", i, name) }
		q.GuidePictures = append(q.GuidePictures, g.check(field, e))
		linear = linear && g.Kind != GuideClassifier
		g.Image, g.Of = nil, nil
		q.Guides = append(q.Guides, g)
	}
	if len(q.Guides) == 0 {
		if q.GuideMethod != "" || len(q.GuideOptions) > 0 {
			e.Add("Guides", "must be what GuideMethod and GuideOptions are about")
		}
		return
	}
	if q.GuideMethod == "" {
		q.GuideMethod = defaultMethod
		if !linear {
			q.GuideMethod = defaultLossMethod
		}
	}
	method, err := sampler.LookupLossMethod(q.GuideMethod)
	if err != nil {
		e.Add("GuideMethod", "%v", err)
		return
	}
	q.GuideMethod = method.Name
	if method.LinearOnly && !linear {
		e.Add("GuideMethod", "%s does not take classifiers; lgd, dps, universal and mpgd do", method.Name)
	}
	if q.Losses, err = method.With(q.GuideOptions); err != nil {
		addAll(e, "GuideOptions", err)
	}
}

// The methods of guides, where none is named: of measurements, and where one is a classifier.
const (
	defaultMethod     = "moments"
	defaultLossMethod = "mpgd"
)

// check checks a guide and converts its pictures.
func (g Guide) check(field func(string) string, e *Error) (p GuidePicture) {
	takes := map[GuideKind][]string{GuideColour: {"Colour"}, GuideLowres: {"Image"}, GuideMask: {"Image", "Of"}, GuideClassifier: {"Classifier", "Class"}}[g.Kind]
	if takes == nil {
		e.Add(field("Kind"), "must be %s, %s, %s or %s, got %.40q", GuideColour, GuideLowres, GuideMask, GuideClassifier, g.Kind)
		return p
	}
	for _, f := range []struct {
		name string
		set  bool
	}{{"Colour", g.Colour != ""}, {"Image", g.Image != nil || g.ImageFile != ""}, {"Of", g.Of != nil || g.OfFile != ""},
		{"Classifier", g.Classifier != ""}, {"Class", g.Class != ""}} {
		if known := slices.Contains(takes, f.name); f.set && !known {
			e.Add(field(f.name), "is nothing that the guide %s takes", g.Kind)
		} else if !f.set && known && f.name != "Of" {
			e.Add(field(f.name), "must be given to the guide %s", g.Kind)
		}
	}
	if g.Kind == GuideColour && g.Colour != "" {
		if _, err := RGB(g.Colour); err != nil {
			e.Add(field("Colour"), "%v", err)
		}
	}
	convert := func(img image.Image, name string) *image.NRGBA {
		if img == nil {
			return nil
		}
		out, err := picture.NRGBA(img)
		if err != nil {
			e.Add(field(name), "%v", err)
		}
		return out
	}
	p = GuidePicture{convert(g.Image, "Image"), convert(g.Of, "Of")}
	if g.Kind == GuideMask && p.Image != nil && p.Of == nil && p.Image.Opaque() {
		e.Add(field("Image"), "has no transparent pixels, which are what is drawn; with a picture in Of it may be a mask, white where that is drawn")
	}
	if p.Image != nil && p.Of != nil && p.Image.Rect.Size() != p.Of.Rect.Size() {
		e.Add(field("Of"), "must have the mask's size, %v, got %v", p.Image.Rect.Size(), p.Of.Rect.Size())
	}
	return p
}
