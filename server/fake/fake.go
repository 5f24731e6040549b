// Package fake is an engine for tests of the server: its pictures are gradients of the
// seed, made in an instant, and prompts make it slow, fail, crash or hang.
package fake

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"image"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/disintegration/imaging"

	"github.com/sdgo/sdgo/sd/prompt"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/server/wire"
	"github.com/sdgo/sdgo/server/worker"
)

// Words in prompts that change what the engine does.
const (
	Slow  = "!slow"  // 20 ms a step
	Fail  = "!fail"  // an error
	Crash = "!crash" // the process ends in the middle
	Hang  = "!hang"  // nothing happens any more
)

// Backend opens fake models: a path that contains "broken" does not open, one that
// contains "crash" ends the process.
func Backend() worker.Backend {
	return worker.Backend{
		Open: func(m wire.Model, _ func(string)) (worker.Engine, error) {
			switch {
			case strings.Contains(m.Path, "broken"):
				return nil, errors.New("not a model")
			case strings.Contains(m.Path, "crash"):
				fmt.Fprintln(os.Stderr, "assertion failed")
				os.Exit(134)
			}
			return &engine{model: m}, nil
		},
		Code:    func(error) string { return "" },
		Version: "test",
	}
}

type engine struct {
	model wire.Model
	mutex sync.Mutex // one picture at a time, as a network computes
}

func (e *engine) Info() wire.Info {
	return wire.Info{Name: e.model.Name, NativeSize: 64, Threads: 1, Scale: 4}
}

func (e *engine) Attach(wire.Model) error { return nil }

func (e *engine) Draw(ctx context.Context, r request.Request, _ int, extras []wire.Model) (*request.Result, error) {
	q, err := r.Resolve(request.Defaults{Side: 64, Align: 8})
	if err != nil {
		return nil, err
	}
	if err := checkTags(r, extras); err != nil {
		return nil, err
	}
	if err := checkControls(r, extras); err != nil {
		return nil, err
	}
	e.mutex.Lock()
	defer e.mutex.Unlock()
	for i := range q.Steps {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		event := request.Event{Stage: request.StageSample, Index: i + 1, Of: q.Steps}
		if q.PreviewEvery > 0 && (i+1)%q.PreviewEvery == 0 {
			event.Preview = image.NewNRGBA(image.Rect(0, 0, 8, 8))
		}
		if err := r.OnEvent(event); err != nil {
			return nil, err
		}
		if err := act(ctx, r.Prompt, i); err != nil {
			return nil, err
		}
	}
	drawn := Picture(q, extras...)
	if e.model.VAE != "" {
		drawn = imaging.Invert(drawn)
	}
	img := request.Image{Image: drawn, Params: q.Params(e.model.Name, q.Seed)}
	if err := r.OnEvent(request.Event{Stage: request.StageImage, Index: 1, Of: 1, Image: &img}); err != nil {
		return nil, err
	}
	return &request.Result{Images: []request.Image{img}}, nil
}

// checkTags refuses tags of extra networks that the server did not send, and those of the
// negative prompt, as models do.
func checkTags(r request.Request, extras []wire.Model) error {
	var e request.Error
	if _, _, err := prompt.Parse(r.Prompt); err != nil {
		e.Add("Prompt", "%v", err)
	}
	for _, t := range prompt.Tags(r.Prompt) {
		if !slices.ContainsFunc(extras, func(m wire.Model) bool { return m.Role == wire.RoleLoRA && m.Name == t.Name }) {
			e.Add("Prompt", "%s: no adapter of this name is attached", t)
		}
	}
	for _, t := range prompt.Tags(r.NegativePrompt) {
		e.Add("NegativePrompt", "%s: only the prompt may name extra networks", t)
	}
	return e.Err()
}

// checkControls refuses ControlNets that the server did not send.
func checkControls(r request.Request, extras []wire.Model) error {
	var e request.Error
	for i, c := range r.Controls {
		if !slices.ContainsFunc(extras, func(m wire.Model) bool { return m.Role == wire.RoleControl && m.Name == c.Name }) {
			e.Add(fmt.Sprintf("Controls[%d].Name", i), "no ControlNet %q is attached", c.Name)
		}
	}
	return e.Err()
}

// act does what a prompt asks for in a step.
func act(ctx context.Context, text string, step int) error {
	if strings.Contains(text, Slow) {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if step != 1 {
		return nil
	}
	switch {
	case strings.Contains(text, Fail):
		return errors.New("the test asked for it")
	case strings.Contains(text, Crash):
		fmt.Fprintln(os.Stderr, "GGML_ASSERT(the test asked for it) failed")
		os.Exit(134)
	case strings.Contains(text, Hang):
		<-make(chan struct{})
	}
	return nil
}

// Picture is the picture of a request that was drawn with some adapters.
func Picture(q request.Resolved, extras ...wire.Model) *image.NRGBA {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s|%d|%s|%s|%d|%g", q.Prompt, q.Seed, q.Sampler.Name, q.Schedule.Name, q.Steps, q.Guidance)
	for _, x := range extras {
		fmt.Fprintf(h, "|%s %s", x.Role, filepath.Base(x.Path))
	}
	for _, a := range q.Adapters {
		_, strength := a.Strengths()
		fmt.Fprintf(h, "|%s %g", a.Name, strength)
	}
	for i, c := range q.Controls {
		weight, start, end := c.Numbers()
		fmt.Fprintf(h, "|%s %s %g %g %g %s|", c.Name, c.Preprocess, weight, start, end, c.Mode)
		if img := q.ControlPictures[i]; img != nil {
			h.Write(img.Pix)
		}
		if face := q.ControlFaces[i]; len(face) > 0 {
			fmt.Fprintf(h, "%g", face)
		}
	}
	if q.Classifier != "" {
		fmt.Fprintf(h, "|%s %s %g", q.Classifier, q.ClassifierClass, q.ClassifierScale)
	}
	for i, g := range q.Guides {
		fmt.Fprintf(h, "|%s %s %s %s %s %v|", g.Kind, g.Colour, g.Classifier, g.Class, q.GuideMethod, q.GuideOptions)
		for _, img := range []*image.NRGBA{q.GuidePictures[i].Image, q.GuidePictures[i].Of} {
			if img != nil {
				fmt.Fprintf(h, "%v", img.Rect)
				h.Write(img.Pix)
			}
		}
	}
	if q.Class != "" {
		fmt.Fprintf(h, "|class %s", q.Class)
	}
	if q.Image != nil {
		h.Write(q.Image.Pix)
	}
	if q.Mask != nil {
		h.Write(q.Mask.Pix)
	}
	sum := h.Sum64()
	img := image.NewNRGBA(image.Rect(0, 0, q.Width, q.Height))
	for i := 0; i < len(img.Pix); i += 4 {
		img.Pix[i], img.Pix[i+1], img.Pix[i+2], img.Pix[i+3] = byte(sum)+byte(i>>2), byte(sum>>8), byte(sum>>16), 255
	}
	return img
}

func (e *engine) Upscale(_ context.Context, img image.Image, width, height int, onTile func(index, of int) error) (*image.NRGBA, error) {
	if err := onTile(1, 1); err != nil {
		return nil, err
	}
	return imaging.Resize(img, width, height, imaging.NearestNeighbor), nil
}
