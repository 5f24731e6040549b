// Package worker is the side of a worker process: it opens one model, generates the
// pictures that the server sends over a pipe, and reports progress. It ends when the
// pipe does, so that no worker outlives its server.
package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/sdgo/sdgo/internal/guard"
	"github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/server/wire"
)

// Engine is an open model, an upscaler among them.
type Engine interface {
	// Info describes it.
	Info() wire.Info

	// Attach opens another network, once, that requests name by its name here.
	Attach(m wire.Model) error

	// Draw generates the pictures of a request; it is called for several requests at
	// once. extras are the adapters, textual inversions, ControlNets and classifiers that
	// the request names, by these names; no other request's are its.
	Draw(ctx context.Context, r request.Request, priority int, extras []wire.Model) (*request.Result, error)

	// Upscale enlarges a picture to a size.
	Upscale(ctx context.Context, img image.Image, width, height int, onTile func(index, of int) error) (*image.NRGBA, error)
}

// Backend opens engines.
type Backend struct {
	Open func(m wire.Model, warn func(text string)) (Engine, error)

	// Code is the code of an error that is the library's own, or "".
	Code func(err error) string

	// Version is the library's, for the parameters of pictures.
	Version string
}

// aliveEvery is how often a worker says that it is there.
const aliveEvery = 2 * time.Second

// ErrOrphan is what [Run] returns when the server is gone.
var ErrOrphan = errors.New("the server is gone")

// worker is a running worker.
type worker struct {
	backend Backend
	out     *wire.Writer
	hash    string // of the model's file, "" if unknown

	previews previews
	count    int             // of pictures
	last     <-chan struct{} // is closed when the last picture is with the engine, so that pictures are begun in their order

	mutex    sync.Mutex
	engine   Engine // nil until it is open
	cancels  map[string]context.CancelFunc
	attached map[wire.Model]bool // networks
}

// Run serves the messages of in and writes to out until in ends, which is
// [ErrOrphan], or ctx is done.
func Run(ctx context.Context, in io.Reader, out io.Writer, b Backend) error {
	w := &worker{backend: b, out: wire.NewWriter(out), cancels: map[string]context.CancelFunc{}, attached: map[wire.Model]bool{}}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	messages, failed := make(chan wire.Message), make(chan error, 1)
	go func() {
		for {
			m, err := wire.Read(in)
			if err != nil {
				failed <- err
				return
			}
			select {
			case messages <- m:
			case <-ctx.Done():
				return
			}
		}
	}()
	go w.alive(ctx)
	opened := make(chan error, 1)
	for {
		select {
		case m := <-messages:
			if err := w.handle(ctx, m, opened); err != nil {
				return err
			}
		case err := <-opened:
			if err != nil {
				return err
			}
		case err := <-failed:
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return ErrOrphan
			}
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// handle handles a message of the server. A model is opened in the background, so that
// the end of the server is noticed meanwhile.
func (w *worker) handle(ctx context.Context, m wire.Message, opened chan<- error) error {
	switch {
	case m.Kind == wire.Open && m.Model != nil:
		go func() { opened <- w.open(*m.Model) }()
	case m.Kind == wire.Draw && m.Work != nil && w.ready() != nil:
		ctx, cancel := context.WithCancel(ctx)
		w.mutex.Lock()
		w.cancels[m.Task] = cancel
		w.mutex.Unlock()
		m.Work.Priority = w.place(m.Work.Priority)
		before, after := w.last, make(chan struct{})
		w.last = after
		go w.draw(ctx, m, before, after)
	case m.Kind == wire.Cancel:
		w.mutex.Lock()
		defer w.mutex.Unlock()
		if cancel := w.cancels[m.Task]; cancel != nil {
			cancel()
		}
	default:
		return fmt.Errorf("the server sent %q, which was not expected", m.Kind)
	}
	return nil
}

// place is the priority of the next picture: that of its job, and after those that came
// before.
func (w *worker) place(priority int) int {
	w.count++
	return priority<<32 - w.count
}

func (w *worker) ready() Engine {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return w.engine
}

// open opens the worker's model.
func (w *worker) open(m wire.Model) error {
	start := time.Now()
	var e Engine
	err := guard.Call("opening the model", func() (err error) {
		e, err = w.backend.Open(m, func(text string) { _ = w.out.Write(wire.Message{Kind: wire.Warning, Text: text}) })
		return err
	})
	if err != nil {
		return w.out.Write(wire.Message{Kind: wire.Failed, Error: &wire.Error{Code: wire.CodeModel, Message: err.Error()}})
	}
	w.mutex.Lock()
	w.engine, w.hash = e, m.Hash
	w.mutex.Unlock()
	info := e.Info()
	info.Seconds = time.Since(start).Seconds()
	return w.out.Write(wire.Message{Kind: wire.Ready, Info: &info, Resident: resident()})
}

// alive says from time to time that the process is there.
func (w *worker) alive(ctx context.Context) {
	for tick := time.NewTicker(aliveEvery); ; {
		select {
		case <-tick.C:
			if w.out.Write(wire.Message{Kind: wire.Alive, Resident: resident()}) != nil {
				return
			}
		case <-ctx.Done():
			tick.Stop()
			return
		}
	}
}

// draw makes the picture of a task. It is given to the engine when the one before is,
// and closes begun then.
func (w *worker) draw(ctx context.Context, m wire.Message, before <-chan struct{}, begun chan<- struct{}) {
	begin := sync.OnceFunc(func() { close(begun) })
	defer begin()
	done := wire.Message{Kind: wire.Done, Task: m.Task}
	err := guard.Call("drawing", func() (err error) {
		if m.Work.Upscale != nil {
			done.Picture, done.Parts, err = w.upscale(ctx, m)
		} else {
			done.Picture, done.Parts, err = w.generate(ctx, m, before, begin)
		}
		return err
	})
	w.mutex.Lock()
	w.cancels[m.Task]()
	delete(w.cancels, m.Task)
	w.mutex.Unlock()
	if err != nil {
		done = wire.Message{Kind: wire.Failed, Task: m.Task, Error: w.describe(err, m.Work.Attach)}
	}
	_ = w.out.Write(done) // that the server is gone is noticed by the reader
}

// describe is an error for the server. It has names in place of the paths of attached
// files, since clients are told.
func (w *worker) describe(err error, attached []wire.Model) *wire.Error {
	var paths []string
	for _, a := range attached {
		if a.Path != "" {
			paths = append(paths, a.Path, a.Name)
		}
		if a.CLIPVision != "" {
			paths = append(paths, a.CLIPVision, "the image encoder")
		}
	}
	plain := strings.NewReplacer(paths...).Replace
	e := &wire.Error{Code: wire.CodeFailed, Message: plain(err.Error())}
	var wrong *request.Error
	switch code := w.backend.Code(err); {
	case errors.As(err, &wrong):
		e.Code = wire.CodeInvalid
		for _, p := range wrong.Problems {
			e.Problems = append(e.Problems, wire.Problem{Field: p.Field, Message: plain(p.Text)})
		}
	case code != "":
		e.Code = code
	case errors.Is(err, context.Canceled):
		e.Code = wire.CodeCancel
	}
	return e
}

// generate makes the picture of a request.
func (w *worker) generate(ctx context.Context, m wire.Message, before <-chan struct{}, begin func()) (*wire.Picture, [][]byte, error) {
	r, extras, err := w.request(m)
	if err != nil {
		return nil, nil, err
	}
	if before != nil {
		select {
		case <-before:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
	begin()
	r.OnEvent = func(e request.Event) error { return w.event(m, e) }
	result, err := w.ready().Draw(ctx, r, m.Work.Priority, extras)
	if err != nil {
		return nil, nil, err
	}
	if len(result.Images) != 1 {
		return nil, nil, fmt.Errorf("the model returned %d pictures in place of 1", len(result.Images))
	}
	return w.finish(m, result.Images[0])
}

// request decodes a task's request with its pictures and networks.
func (w *worker) request(m wire.Message) (r request.Request, extras []wire.Model, err error) {
	if r, err = job.Decode(m.Work.Request); err != nil {
		return r, nil, err
	}
	if err = pictures(m, &r); err != nil {
		return r, nil, err
	}
	for _, a := range m.Work.Attach {
		if a.IsExtra() {
			extras = append(extras, a)
			continue
		}
		if err := w.attach(a); err != nil {
			return r, nil, err
		}
	}
	return r, extras, nil
}

// attach opens a network once.
func (w *worker) attach(m wire.Model) error {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if w.attached[m] {
		return nil
	}
	err := w.engine.Attach(m)
	w.attached[m] = err == nil
	return err
}

// pictures gives a request its task's pictures: the init image, the mask, and those of
// ControlNets and guides.
func pictures(m wire.Message, r *request.Request) error {
	parts := m.Parts
	take := func(s *wire.Size, bytes int) ([]byte, error) {
		if s.Width < 1 || s.Height < 1 || s.Width > picture.MaxSide || s.Height > picture.MaxSide || len(parts) == 0 || len(parts[0]) != s.Width*s.Height*bytes {
			return nil, fmt.Errorf("a picture of %dx%d pixels whose bytes don't fit", s.Width, s.Height)
		}
		p := parts[0]
		parts = parts[1:]
		return p, nil
	}
	colours := func(s *wire.Size, to *image.Image) error {
		if s == nil {
			return nil
		}
		pix, err := take(s, 4)
		if err == nil {
			*to = &image.NRGBA{Pix: pix, Stride: 4 * s.Width, Rect: image.Rect(0, 0, s.Width, s.Height)}
		}
		return err
	}
	if err := colours(m.Work.Image, &r.Image); err != nil {
		return err
	}
	if s := m.Work.Mask; s != nil {
		pix, err := take(s, 1)
		if err != nil {
			return err
		}
		r.Mask = &image.Gray{Pix: pix, Stride: s.Width, Rect: image.Rect(0, 0, s.Width, s.Height)}
	}
	if len(m.Work.Controls) > len(r.Controls) {
		return fmt.Errorf("%d pictures for %d ControlNets", len(m.Work.Controls), len(r.Controls))
	}
	for i, s := range m.Work.Controls {
		if err := colours(s, &r.Controls[i].Image); err != nil {
			return err
		}
	}
	if len(m.Work.Faces) > len(r.Controls) {
		return fmt.Errorf("%d faces for %d ControlNets", len(m.Work.Faces), len(r.Controls))
	}
	for i, face := range m.Work.Faces {
		r.Controls[i].Face = face
	}
	if len(m.Work.Guides) > len(r.Guides) {
		return fmt.Errorf("pictures of %d guides for %d", len(m.Work.Guides), len(r.Guides))
	}
	for i, g := range m.Work.Guides {
		if err := errors.Join(colours(g.Image, &r.Guides[i].Image), colours(g.Of, &r.Guides[i].Of)); err != nil {
			return err
		}
	}
	return nil
}

// event reports a request's progress.
func (w *worker) event(m wire.Message, e request.Event) error {
	switch e.Stage {
	case request.StageImage:
		return nil // Done says it
	case request.StageDraft:
		p, parts, err := w.finish(m, *e.Image)
		if err != nil {
			return err
		}
		return w.out.Write(wire.Message{Kind: wire.Draft, Task: m.Task, Picture: p, Parts: parts})
	}
	out := wire.Message{Kind: wire.Progress, Task: m.Task,
		Progress: &wire.Step{Stage: string(e.Stage), Pass: e.Pass, Index: e.Index, Of: e.Of, Took: e.Elapsed.Seconds()}}
	if e.Preview != nil {
		data, err := w.previews.encode(e.Preview)
		if err != nil {
			return err
		}
		out.Parts = [][]byte{data}
	}
	return w.out.Write(out)
}

// finish encodes a picture as the task asks for it.
func (w *worker) finish(m wire.Message, img request.Image) (*wire.Picture, [][]byte, error) {
	if img.Image == nil {
		return nil, nil, errors.New("the model makes no pictures, and the server returns nothing else")
	}
	p := img.Params
	p.ModelHash = w.hash
	encoded, err := job.Encode(p.Request)
	if err != nil {
		return nil, nil, err
	}
	out := &wire.Picture{Seed: uint64(p.Seed), Text: job.Text(p, w.backend.Version), Request: encoded}
	return encode(out, img.Image, m.Work.Output)
}

// encode writes a picture's file.
func encode(out *wire.Picture, img *image.NRGBA, o wire.Output) (*wire.Picture, [][]byte, error) {
	options := picture.Options{Format: picture.Format(o.Format), Quality: o.Quality, Parameters: out.Text}
	if o.Bare {
		options.Parameters = ""
	}
	var b bytes.Buffer
	if err := picture.Encode(&b, img, options); err != nil {
		return nil, nil, err
	}
	size := img.Rect.Size()
	out.Width, out.Height, out.Format = size.X, size.Y, o.Format
	if out.Format == "" {
		out.Format = string(picture.PNG)
	}
	return out, [][]byte{b.Bytes()}, nil
}

// upscale enlarges a task's picture.
func (w *worker) upscale(ctx context.Context, m wire.Message) (*wire.Picture, [][]byte, error) {
	var r request.Request
	err := pictures(m, &r)
	img := r.Image
	if err != nil || img == nil {
		return nil, nil, errors.Join(err, errors.New("no picture to upscale"))
	}
	start := time.Now()
	large, err := w.ready().Upscale(ctx, img, m.Work.Upscale.Width, m.Work.Upscale.Height, func(index, of int) error {
		return w.out.Write(wire.Message{Kind: wire.Progress, Task: m.Task,
			Progress: &wire.Step{Stage: string(request.StageUpscale), Index: index, Of: of, Took: time.Since(start).Seconds()}})
	})
	if err != nil {
		return nil, nil, err
	}
	return encode(&wire.Picture{Text: m.Work.Output.Text}, large, m.Work.Output)
}
