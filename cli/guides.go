package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/sdgo/sdgo/sd"
)

// guideFile is a file that a request names to be guided by: where the name stands, and the
// flag that it came with.
type guideFile struct {
	flag    string
	name    *string
	picture bool // or a classifier, or a direction
}

const directionFlag = "direction"

// guideFiles are those of a request, whose guides become its own.
func guideFiles(q *sd.Request) (all []guideFile) {
	if q.Classifier != "" {
		all = append(all, guideFile{"classifier", &q.Classifier, false})
	}
	q.Guides = slices.Clone(q.Guides) // which requests may share
	for i := range q.Guides {
		g := &q.Guides[i]
		for _, f := range []guideFile{{"guide", &g.ImageFile, true}, {"guide", &g.OfFile, true}, {"guide", &g.Classifier, false}} {
			if *f.name != "" {
				all = append(all, f)
			}
		}
	}
	q.Directions = slices.Clone(q.Directions)
	for i := range q.Directions {
		all = append(all, guideFile{directionFlag, &q.Directions[i].Name, false})
	}
	return all
}

// attachGuiding opens the classifiers and directions that a request names, each once. The name of an open
// one is as good as its file.
func (n *networks) attachGuiding(ctx context.Context, q *sd.Request) error {
	for _, f := range guideFiles(q) {
		if f.picture {
			continue
		}
		if f.flag == directionFlag {
			d, err := n.openDirection(*f.name)
			if err != nil {
				return fmt.Errorf("%s: %w", f.flag, err)
			}
			*f.name = d.Name()
			continue
		}
		c, err := n.openClassifier(ctx, *f.name)
		if err != nil {
			return fmt.Errorf("%s: %w", f.flag, err)
		}
		*f.name = c.Name()
	}
	return nil
}

func (n *networks) openClassifier(ctx context.Context, file string) (*sd.Classifier, error) {
	if c := n.classifiers[file]; c != nil {
		return c, nil
	}
	for _, c := range n.classifiers {
		if c.Name() == file {
			return c, nil
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	c, err := sd.OpenClassifier(file, n.options)
	if err != nil {
		return nil, err
	}
	n.classifiers[file] = c
	return c, n.model.Attach(c)
}

func (n *networks) openDirection(file string) (*sd.Direction, error) {
	if d := n.directions[file]; d != nil {
		return d, nil
	}
	for _, d := range n.directions {
		if d.Name() == file {
			return d, nil
		}
	}
	d, err := sd.OpenDirection(file)
	if err != nil {
		return nil, err
	}
	n.directions[file] = d
	return d, n.model.Attach(d)
}
