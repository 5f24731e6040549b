package service

import (
	"fmt"
	"slices"

	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/server/catalog"
	"github.com/sdgo/sdgo/server/wire"
)

// guides finds the classifiers that guide a request.
func (n *networks) guides(r *request.Request) (err error) {
	find := func(field string, name *string) error {
		if *name == "" {
			return nil
		}
		*name, err = n.find(field, "classifier", wire.RoleClassifier, *name, catalog.Classifier)
		return err
	}
	if err := find("Classifier", &r.Classifier); err != nil {
		return err
	}
	r.Guides = slices.Clone(r.Guides)
	if len(r.Guides) > request.MaxGuides {
		return nil // which the request's own check refuses
	}
	for i := range r.Guides {
		if err := find(fmt.Sprintf("Guides[%d].Classifier", i), &r.Guides[i].Classifier); err != nil {
			return err
		}
	}
	return nil
}

// passes is how many passes of the model a step of a request costs, about: its guidance
// without training takes several, and what it looks at besides may be as much.
func passes(q request.Resolved) float64 {
	n := 1.0
	if q.Classifier != "" {
		n++
	}
	if len(q.Guides) == 0 {
		return n
	}
	if q.Losses.Method.Backward { // the derivative of the model
		n += 3
	}
	losses := 1.0 // looks at the predicted picture, which for models of latents is decoded
	for _, name := range []string{"inner", "samples"} {
		losses = max(losses, q.Losses.Parameters[name])
	}
	return (n + losses*float64(len(q.Guides))) * float64(q.Losses.Recurrence())
}
