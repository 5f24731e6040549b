package sd

import (
	"context"
	"errors"
	"fmt"
	"image"
	"slices"

	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/face"
	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/sd/pipeline"
	"github.com/sdgo/sdgo/sd/request"
)

// Generate makes the pictures that a request describes. The whole request is
// checked first ([RequestError]). When it ends early, because ctx is done or
// something fails, the result still holds the pictures that were finished.
func (m *Model) Generate(ctx context.Context, r Request) (*Result, error) {
	result := &Result{}
	var failed error
	err := m.GenerateAll(ctx, []Request{r}, func(_ int, got *Result, err error) error {
		result, failed = got, err
		return nil
	})
	if failed != nil {
		err = failed
	}
	return result, err
}

// GenerateAll makes the pictures of several requests, each just as
// [Model.Generate] makes it, but several in one pass of the UNet
// ([Options.Batch]), those of different requests, too. All requests are checked
// first. done is told of each request's result, in their order, while
// GenerateAll waits; its error says why the request ended early, which stops no
// other. What done returns, if it is not nil, ends everything, and so does a
// panic of it.
func (m *Model) GenerateAll(ctx context.Context, requests []Request, done func(i int, r *Result, err error) error) error {
	drawings, release, err := m.acquire(requests)
	if err != nil {
		return err
	}
	defer release()
	if ctx == nil {
		return engine.ErrNilContext
	}
	if done == nil && len(requests) > 0 {
		return errors.New("done must not be nil: it is told of the results")
	}
	return m.pipeline.GenerateAll(ctx, drawings, done)
}

// Submit is [Model.Generate] for many callers at once, such as a server's: requests of
// different goroutines share passes of the denoiser ([Options.Batch]) as they come,
// where memory allows and their pictures have one size. Each gives the pictures that
// Generate gives. Requests of a higher priority begin first, others in their order.
// When ctx is done Submit returns, and what others wait for continues.
func (m *Model) Submit(ctx context.Context, r Request, priority int) (*Result, error) {
	drawings, release, err := m.acquire([]Request{r})
	if err != nil {
		return &Result{}, err
	}
	if ctx == nil {
		release()
		return &Result{}, engine.ErrNilContext
	}
	return m.queue.Submit(ctx, drawings[0], priority, release)
}

// Passes is how many times the denoiser has run, each time for a batch of latents; 0 of
// a zero value.
func (m *Model) Passes() uint64 {
	if m.host() == nil {
		return 0
	}
	return m.pipeline.Passes()
}

// Check tells what is wrong with a request, as Generate would before it begins.
func (m *Model) Check(r Request) error {
	_, release, err := m.acquire([]Request{r})
	if err == nil {
		release()
	}
	return err
}

// resolve reads the pictures and the faces that a request names, and checks it.
func (m *Model) resolve(r Request, others pipeline.Attached) (pipeline.Drawing, error) {
	type named struct {
		img         *image.Image
		field, file string
	}
	all := []named{{&r.Image, "ImageFile", r.ImageFile}, {&r.Mask, "MaskFile", r.MaskFile}}
	r.Controls = slices.Clone(r.Controls)
	for i := range r.Controls[:min(len(r.Controls), MaxControls)] {
		c := &r.Controls[i]
		all = append(all, named{&c.Image, fmt.Sprintf("Controls[%d].ImageFile", i), c.ImageFile})
	}
	r.Guides = slices.Clone(r.Guides)
	for i := range r.Guides[:min(len(r.Guides), MaxGuides)] {
		g := &r.Guides[i]
		all = append(all, named{&g.Image, fmt.Sprintf("Guides[%d].ImageFile", i), g.ImageFile}, named{&g.Of, fmt.Sprintf("Guides[%d].OfFile", i), g.OfFile})
	}
	for _, p := range all {
		if *p.img != nil || p.file == "" {
			continue
		}
		img, err := picture.Open(p.file)
		if err != nil {
			return pipeline.Drawing{}, request.Problemf(p.field, "%v", err)
		}
		*p.img = img
	}
	for i := range r.Controls[:min(len(r.Controls), MaxControls)] {
		c := &r.Controls[i]
		if c.FaceFile == "" || len(c.Face) > 0 {
			continue
		}
		var err error
		if c.Face, err = face.Open(c.FaceFile); err != nil {
			return pipeline.Drawing{}, request.Problemf(fmt.Sprintf("Controls[%d].FaceFile", i), "%v", err)
		}
	}
	return m.pipeline.Resolve(r, others)
}

// acquire checks requests, and keeps the model and those that they name open until
// release.
func (m *Model) acquire(requests []Request) (drawings []pipeline.Drawing, release func(), err error) {
	if m.host() == nil {
		return nil, nil, ErrClosed
	}
	others := m.others()
	hosts := []*engine.Host{m.host()}
	for _, r := range requests {
		hosts = append(hosts, others.Hosts(r)...)
		if err := others.CheckOpen(r); err != nil {
			return nil, nil, err
		}
	}
	if release, err = engine.Use(hosts...); err != nil {
		return nil, nil, err
	}
	for i, r := range requests {
		d, err := m.resolve(r, others)
		if err != nil {
			release()
			if len(requests) > 1 {
				err = fmt.Errorf("request %d: %w", i+1, err)
			}
			return nil, nil, err
		}
		drawings = append(drawings, d)
	}
	return drawings, release, nil
}

// Fastest returns a model's request with what saves evaluations of the network at little
// cost, where it leaves that open: a step cache, EasyCache. What it says of Cache and
// DeepCache stays, and where the rest of it takes no cache it gets none. With
// [Options.Precision] Fast that is the preset of sdgo's flag --fastest; docs/performance.md
// says what it costs.
func Fastest(m *Model, r Request) Request {
	if m.host() == nil {
		return r
	}
	return pipeline.Fastest(m.pipeline, r)
}
