package api

import (
	"encoding/json"
	"fmt"
	"image"

	"github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/request"
)

// shown are the pictures of a guide; nil where it has none.
type shown struct{ image, of image.Image }

// readGuides reads the pictures of a request's guides: a list of pictures, of objects with
// image and of, and of null for guides without any.
func readGuides(read *reading, m job.Member) (all []shown, err error) {
	var list []json.RawMessage
	if json.Unmarshal(m.Value, &list) != nil {
		return nil, fmt.Errorf("must be a list with a picture, an object or null for each guide, got %.40s", m.Value)
	}
	if len(list) > request.MaxGuides {
		return nil, fmt.Errorf("must be at most %d, got %d", request.MaxGuides, len(list))
	}
	for i, value := range list {
		one, err := readGuide(read, value)
		if err != nil {
			return nil, fmt.Errorf("guide %d: %w", i+1, err)
		}
		all = append(all, one)
	}
	return all, nil
}

// readGuide reads those of one.
func readGuide(read *reading, value json.RawMessage) (one shown, err error) {
	if string(value) == "null" {
		return one, nil
	}
	if value[0] != '{' {
		one.image, err = read.picture(job.Member{Value: value})
		return one, err
	}
	members, err := job.Members(value)
	if err != nil {
		return one, err
	}
	for _, m := range members {
		to := map[string]*image.Image{"image": &one.image, "of": &one.of}[m.Key]
		switch {
		case to == nil:
			return one, fmt.Errorf("%.80s: unknown field; there are image and of", m.Key)
		case string(m.Value) == "null":
			continue
		}
		if *to, err = read.picture(m); err != nil {
			return one, fmt.Errorf("%s: %w", m.Key, err)
		}
	}
	return one, nil
}

// showGuides gives each guide of a request its pictures.
func showGuides(q *request.Request, pictures []shown, e *request.Error) {
	for i, g := range q.Guides {
		if g.ImageFile != "" || g.OfFile != "" {
			e.Add("guide", "has no names of files in requests of the server: send the pictures as guide_images")
			return
		}
		if i < len(pictures) {
			q.Guides[i].Image, q.Guides[i].Of = pictures[i].image, pictures[i].of
		}
	}
	if len(pictures) > len(q.Guides) {
		e.Add("guide_images", "must be at most one for each guide of the request, got %d for %d", len(pictures), len(q.Guides))
	}
}

// guideKindView is a kind of guide as JSON.
type guideKindView struct {
	Name     string   `json:"name"`
	Takes    []string `json:"takes"`              // keys of its object in request.guide
	Pictures []string `json:"pictures,omitempty"` // and of its object in guide_images
	Optional []string `json:"optional,omitempty"` // those of them that may be left out
	Help     string   `json:"help"`
}

func guideKinds() []guideKindView {
	return []guideKindView{
		{Name: string(request.GuideColour), Takes: []string{"colour"}, Help: "a mean colour, #rrggbb"},
		{Name: string(request.GuideLowres), Takes: []string{}, Pictures: []string{"image"}, Help: "a smaller picture, whose sides are whole fractions of what is drawn"},
		{Name: string(request.GuideMask), Takes: []string{}, Pictures: []string{"image", "of"}, Optional: []string{"of"},
			Help: "pixels that stay: the opaque ones of image; or with of, which is a picture of the same size, those where the mask image is black"},
		{Name: string(request.GuideClassifier), Takes: []string{"classifier", "class"}, Help: "a class, as a classifier sees the finished picture"},
	}
}

// guideMethodView is a method of guides as JSON.
type guideMethodView struct {
	Name        string          `json:"name"`
	Aliases     []string        `json:"aliases"`
	Description string          `json:"description"`
	Classifiers bool            `json:"classifiers"` // whether it takes classifiers
	Parameters  []parameterView `json:"parameters"`
}

func guideMethods() (all []guideMethodView) {
	for _, m := range sampler.LossMethods() {
		all = append(all, guideMethodView{m.Name, append([]string{}, m.Aliases...), m.Description, !m.LinearOnly, parametersOfSampler(m.Parameters)})
	}
	return all
}
