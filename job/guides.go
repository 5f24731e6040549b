package job

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/request"
)

// A request's guides are written as a list with commas: what they ask for, each followed by
// what more it takes, as in "colour=#ff8800,mask=hole.png,of=photo.png". A comma in a name has
// a backslash before it. A guide whose picture has no file, as those that a server is sent,
// has an empty name: "lowres=".

// guidesKey is the field of guides in JSON, which may be a list of objects, too.
const guidesKey = "guide"

// guideFlags are the fields of classifiers and guides.
func guideFlags() []Field {
	const where = All &^ Interpolate
	return []Field{
		{
			Path: "Classifier", Flag: "classifier", A1111: "Classifier", Arg: "FILE", For: where,
			Help: "a classifier of noisy pictures whose gradient guides the model (sdgo train classifier makes some)",
			of:   plain(name[string](KindFile, "a classifier", nil), func(r *req) *string { return &r.Classifier }),
			text: baseName, read: readBaseName,
		},
		{
			Path: "ClassifierScale", Flag: "classifier-scale", A1111: "Classifier scale", Arg: "X", For: where,
			Help: "how strongly it guides", Default: "1",
			of: optional(decimal(0, request.MaxClassifierScale), func(r *req) **float64 { return &r.ClassifierScale }),
		},
		{
			Path: "ClassifierClass", Flag: "classifier-class", A1111: "Classifier class", Arg: "CLASS", For: where,
			Help: "towards which of its classes, a number or a name", Default: "that of class",
			of: plain(name[string](KindText, "a class", nil), func(r *req) *string { return &r.ClassifierClass }),
		},
		{
			Path: "Guides.Kind", Also: []string{"Guides.Colour", "Guides.ImageFile", "Guides.OfFile", "Guides.Classifier", "Guides.Class"},
			Flag: "guide", A1111: "Guide", Arg: "KIND=VALUE[,KEY=VALUE…]", For: where,
			Help: "what the picture is guided towards, without training: colour=#rrggbb, lowres=FILE, mask=FILE[,of=FILE] or classifier=FILE,class=CLASS",
			of:   guides(),
			text: guidesText, read: readGuides,
		},
		{
			Path: "GuideMethod", Also: []string{"GuideOptions.*"}, Flag: "guide-method", A1111: "Guide method", Arg: "NAME[:PARAMETER=X,…]", For: where,
			Help: "how, with its numbers: moments, pigdm, dps, lgd, universal or mpgd, such as lgd:samples=20", Default: "moments; mpgd with a classifier",
			of: guideMethod(),
		},
	}
}

// guideKey is a value of a guide, by what it is called.
type guideKey struct {
	key string
	to  *string
}

// guideKeys are what the values of a guide are called, in the order in which they are written.
func guideKeys(g *request.Guide) []guideKey {
	switch g.Kind {
	case request.GuideColour:
		return []guideKey{{"colour", &g.Colour}}
	case request.GuideLowres:
		return []guideKey{{"lowres", &g.ImageFile}}
	case request.GuideMask:
		return []guideKey{{"mask", &g.ImageFile}, {"of", &g.OfFile}}
	case request.GuideClassifier:
		return []guideKey{{"classifier", &g.Classifier}, {"class", &g.Class}}
	}
	return nil
}

func guides() access[req] {
	return access[req]{KindText, "",
		func(r *req) (string, bool) { return formatGuides(r.Guides), len(r.Guides) > 0 },
		func(r *req, text string) error {
			all, err := parseGuides(text)
			if err == nil {
				r.Guides = all
			}
			return err
		},
		func(r *req) { r.Guides = nil },
	}
}

func formatGuides(all []request.Guide) string {
	var parts []string
	for _, g := range all {
		for _, k := range guideKeys(&g) {
			if *k.to != "" || k.key == string(g.Kind) {
				parts = append(parts, k.key+"="+strings.ReplaceAll(*k.to, ",", `\,`))
			}
		}
	}
	return strings.Join(parts, ",")
}

func parseGuides(text string) (all []request.Guide, err error) {
	value := name[string](KindText, "a guide's value", nil)
	for _, part := range splitList(text) {
		key, text, ok := strings.Cut(part, "=")
		if !ok {
			return nil, fmt.Errorf("must be a guide such as colour=#ff8800 or lowres=small.png, got %.80q", part)
		}
		g := request.Guide{Kind: request.GuideKind(key)}
		if text != "" || g.Kind != request.GuideLowres && g.Kind != request.GuideMask {
			if text, err = value.parse(text); err != nil {
				return nil, fmt.Errorf("%.40q: %w", key, err)
			}
		}
		if guideKeys(&g) != nil {
			if len(all) == request.MaxGuides {
				return nil, fmt.Errorf("must be at most %d guides", request.MaxGuides)
			}
			all = append(all, g)
		}
		if err := setGuide(all, key, text); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// applyGuides sets the guides to a JSON list of objects.
func applyGuides(r *request.Request, raw json.RawMessage) error {
	var objects []json.RawMessage
	if err := json.Unmarshal(raw, &objects); err != nil {
		return jsonError(err)
	}
	if len(objects) > request.MaxGuides {
		return fmt.Errorf("must be at most %d guides, got %d", request.MaxGuides, len(objects))
	}
	var all []request.Guide
	for i, o := range objects {
		g, err := decodeGuide(o)
		if err != nil {
			return fmt.Errorf("guide %d: %w", i+1, err)
		}
		all = append(all, g)
	}
	r.Guides = all
	return nil
}

// decodeGuide reads an object of the list: {"kind": "mask", "image": "hole.png", "of": "photo.png"}.
func decodeGuide(raw json.RawMessage) (g request.Guide, err error) {
	if !bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) {
		return g, fmt.Errorf(`must be an object, such as {"kind": "colour", "colour": "#ff8800"}, got %.40s`, raw)
	}
	members, err := Members(raw)
	if err != nil {
		return g, err
	}
	to := map[string]*string{"kind": (*string)(&g.Kind), "colour": &g.Colour, "image": &g.ImageFile, "of": &g.OfFile, "classifier": &g.Classifier, "class": &g.Class}
	value := name[string](KindText, "a guide's value", nil)
	for _, m := range members {
		at := to[m.Key]
		if at == nil {
			return g, fmt.Errorf("%.80s: unknown field; there are kind, colour, image, of, classifier and class", m.Key)
		}
		if isNull(m.Value) {
			continue
		}
		text, err := textOf(KindText, m.Value)
		if err == nil {
			*at, err = value.parse(text)
		}
		if err == nil && m.Key == "colour" {
			_, err = request.RGB(text)
		}
		if err != nil {
			return g, fmt.Errorf("%s: %w", m.Key, err)
		}
	}
	keys := guideKeys(&g)
	if keys == nil {
		return g, fmt.Errorf("kind: must be colour, lowres, mask or classifier, got %.40q", g.Kind)
	}
	for key, at := range to { // what the text form could not say
		if *at != "" && key != "kind" && !slices.ContainsFunc(keys, func(k guideKey) bool { return k.to == at }) {
			return g, fmt.Errorf("%s: is nothing that the guide %s takes", key, g.Kind)
		}
	}
	return g, nil
}

// setGuide sets a value of the last guide.
func setGuide(all []request.Guide, key, text string) error {
	if len(all) == 0 {
		return fmt.Errorf("%.40q is no kind of guide; there are colour, lowres, mask and classifier", key)
	}
	last := &all[len(all)-1]
	for _, k := range guideKeys(last) {
		if k.key != key {
			continue
		}
		if *k.to != "" {
			return fmt.Errorf("%s=%.40s has %s twice", last.Kind, *k.to, key)
		}
		if *k.to = text; key == "colour" {
			_, err := request.RGB(text)
			return err
		}
		return nil
	}
	return fmt.Errorf("%.40q is neither a kind of guide (colour, lowres, mask, classifier) nor what %s takes", key, last.Kind)
}

// guideMethod is a method with its numbers: "mpgd", "lgd:samples=20,noise=0.1".
func guideMethod() access[req] {
	return withNumbers("a method of guides", "lgd:samples=20", func(r *req) (*string, *map[string]float64) { return &r.GuideMethod, &r.GuideOptions },
		func(name string, numbers options) error {
			m, err := sampler.LookupLossMethod(cmp.Or(name, "moments"))
			if err == nil && name != "" {
				_, err = m.With(numbers)
			}
			return err
		})
}

// guidesText writes guides with the names of files without folders.
func guidesText(f Field, r *request.Request) []kv {
	if len(r.Guides) == 0 {
		return nil
	}
	all := slices.Clone(r.Guides)
	for i := range all {
		for _, file := range []*string{&all[i].ImageFile, &all[i].OfFile, &all[i].Classifier} {
			*file = lastPart(*file)
		}
	}
	return []kv{{f.A1111, formatGuides(all)}}
}

// readGuides reads them.
func readGuides(f Field, d *reading) {
	text, ok := d.take(f.A1111)
	if !ok {
		return
	}
	all, err := parseGuides(text)
	for _, g := range all {
		for _, file := range []string{g.ImageFile, g.OfFile} {
			if err == nil && strings.ContainsAny(file, `/\`) {
				err = errors.New("must name pictures without folders")
			}
		}
	}
	if err != nil {
		d.refuse(f.A1111, err)
		return
	}
	d.params.Guides = all
}
