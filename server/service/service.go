// Package service is what the server's interfaces have in common: an order for pictures
// is checked, its names are looked up, its seeds drawn, its pictures become the tasks of
// a job, and its result is waited for. It knows nothing of HTTP but the status that fits
// an error.
package service

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/server/catalog"
	"github.com/sdgo/sdgo/server/gallery"
	"github.com/sdgo/sdgo/server/inputs"
	"github.com/sdgo/sdgo/server/pool"
	"github.com/sdgo/sdgo/server/queue"
	"github.com/sdgo/sdgo/server/wire"
)

// Limits bound what one order may ask for. Zero values are the defaults.
type Limits struct {
	Pictures int     // 0 means 64
	Pixels   int     // of a picture, with its hires passes; 0 means 4096 x 4096
	Work     float64 // pixels times steps times pictures; 0 means 1e11
	Inputs   int     // pixels of all pictures of a request; 0 means 2 x 8192 x 8192
	Rate     float64 // orders of a client a second; 0 is no limit
	Burst    int     // orders at once; 0 means 20
}

// Config says what a service consists of.
type Config struct {
	Queue   *queue.Queue
	Pool    *pool.Pool
	Catalog *catalog.Catalog
	Gallery *gallery.Folder // nil keeps pictures in memory alone
	Inputs  inputs.Reader
	Limits  Limits
	Default string        // the model of orders that name none; "" is the catalog's first
	Filters []string      // of upscaling without a network
	Grace   time.Duration // after which a job is cancelled whose caller is gone; 0 means 15 seconds
	Version string
}

// Service takes orders. Its methods may be called from any goroutine.
type Service struct {
	Config

	mutex    sync.Mutex
	waiting  map[*queue.Job]int // callers that wait
	chosen   map[string]choice  // of clients
	recent   map[string]recent  // synchronous calls, by their keys
	limiters map[string]*rate.Limiter
	thumbs   thumbnails
}

// choice is what holds for a client which names no model.
type choice struct{ model, vae string }

type recent struct {
	job  *queue.Job
	when time.Time
}

// New makes a service.
func New(c Config) *Service {
	l := &c.Limits
	l.Pictures = cmp.Or(l.Pictures, 64)
	l.Pixels = cmp.Or(l.Pixels, 4096*4096)
	l.Work = cmp.Or(l.Work, 1e11)
	l.Inputs = cmp.Or(l.Inputs, 2*request.MaxSide*request.MaxSide)
	l.Burst = cmp.Or(l.Burst, 20)
	c.Grace = cmp.Or(c.Grace, 15*time.Second)
	if c.Inputs.Gate == nil {
		c.Inputs.Gate = make(inputs.Gate, runtime.GOMAXPROCS(0))
	}
	return &Service{Config: c, waiting: map[*queue.Job]int{}, chosen: map[string]choice{}, recent: map[string]recent{}, limiters: map[string]*rate.Limiter{}}
}

// Error is why an order is refused, or a job gave nothing.
type Error struct {
	Status     int // of HTTP
	Code       string
	Message    string
	Param      string // the field, in the words of request.Request; "" if it is none
	Problems   []wire.Problem
	RetryAfter int // seconds; 0 is none
}

func (e *Error) Error() string { return e.Message }

// Errorf makes an error.
func Errorf(status int, code, format string, args ...any) *Error {
	return &Error{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

// Order asks for pictures.
type Order struct {
	API, Client, Key string
	Model            string // as the client names it; "" is the default
	VAE              string // likewise; "" is the client's choice, "Automatic" the model's own
	Priority         int
	Requests         []request.Request // each of Count pictures
	Told             bool              // a prompt tells models without text which class to draw
	Output           wire.Output
	Previews         bool
	Note             json.RawMessage
}

// Order checks an order and puts it into the queue. The error is an [*Error].
func (s *Service) Order(o Order) (*queue.Job, error) {
	if err := s.allow(o.Client); err != nil {
		return nil, err
	}
	e, err := s.Model(o.Client, o.Model)
	if err != nil {
		return nil, err
	}
	vae, err := s.VAE(o.Client, o.VAE)
	if err != nil {
		return nil, err
	}
	spec := queue.Spec{API: o.API, Client: o.Client, Key: o.Key, Model: e.Name, VAE: vae.Name, Priority: o.Priority, Note: o.Note}
	work := 0.0
	for _, r := range o.Requests {
		tasks, more, err := s.tasks(e, r, o)
		if err != nil {
			return nil, err
		}
		work += more
		spec.Tasks = append(spec.Tasks, tasks...)
		if len(spec.Tasks) > s.Limits.Pictures {
			return nil, &Error{Status: 400, Code: "too_many_pictures", Param: "Count", Message: fmt.Sprintf("at most %d pictures a request, got %d", s.Limits.Pictures, len(spec.Tasks))}
		}
	}
	if work > s.Limits.Work {
		return nil, Errorf(400, "too_much_work", "too much for one request: %.3g pixels times steps, at most %.3g; fewer pictures, fewer steps or a smaller size", work, s.Limits.Work)
	}
	s.Catalog.Hash(e)
	return s.add(spec)
}

// add puts a job into the queue.
func (s *Service) add(spec queue.Spec) (*queue.Job, error) {
	j, err := s.Queue.Add(spec)
	switch {
	case errors.Is(err, queue.ErrFull) || errors.Is(err, queue.ErrTooMany):
		return nil, &Error{Status: http.StatusTooManyRequests, Code: "queue_full", Message: err.Error() + "; try again later", RetryAfter: 1 + min(60, len(s.Queue.Waiting()))}
	case errors.Is(err, queue.ErrStopping):
		return nil, &Error{Status: http.StatusServiceUnavailable, Code: "shutting_down", Message: err.Error(), RetryAfter: 30}
	case errors.Is(err, queue.ErrDuplicate):
		return nil, Errorf(http.StatusConflict, "duplicate", "%v", err)
	case err != nil:
		return nil, Errorf(http.StatusBadRequest, "invalid_request", "%v", err)
	}
	return j, nil
}

// allow holds a client to its rate.
func (s *Service) allow(client string) error {
	if s.Limits.Rate <= 0 {
		return nil
	}
	s.mutex.Lock()
	l := s.limiters[client]
	if l == nil {
		if len(s.limiters) > 10_000 { // those that are full again are no loss
			clear(s.limiters)
		}
		l = rate.NewLimiter(rate.Limit(s.Limits.Rate), s.Limits.Burst)
		s.limiters[client] = l
	}
	s.mutex.Unlock()
	if l.Allow() {
		return nil
	}
	return &Error{Status: http.StatusTooManyRequests, Code: "rate_limit", Message: fmt.Sprintf("at most %g requests a second", s.Limits.Rate), RetryAfter: 1}
}

// Model finds the model that a client names, or the one that holds for it.
func (s *Service) Model(client, name string) (catalog.Entry, error) {
	if name == "" {
		name = s.Chosen(client)
	}
	if name == "" {
		return catalog.Entry{}, Errorf(http.StatusServiceUnavailable, "no_model", "the server has no model")
	}
	e, err := s.Catalog.Lookup("model", name, catalog.Checkpoint, catalog.Refiner)
	if err != nil {
		if part, partErr := s.Catalog.Lookup("model", name, catalog.Incomplete); partErr == nil {
			return e, &Error{Status: http.StatusConflict, Code: "model_incomplete", Param: "Model", Message: fmt.Sprintf("the model %q cannot draw: %s", part.Name, part.Why)}
		}
		return e, &Error{Status: http.StatusNotFound, Code: "model_not_found", Param: "Model", Message: err.Error()}
	}
	return e, nil
}

// Chosen is the name of the model that holds for a client which names none.
func (s *Service) Chosen(client string) string {
	s.mutex.Lock()
	name := cmp.Or(s.chosen[client].model, s.Default)
	s.mutex.Unlock()
	if name != "" {
		return name
	}
	if all := s.Catalog.Entries(catalog.Checkpoint, catalog.Refiner); len(all) > 0 {
		return all[0].Name
	}
	return ""
}

// Choose sets the model that holds for a client.
func (s *Service) Choose(client, name string) error {
	e, err := s.Model(client, name)
	if err != nil {
		return err
	}
	s.choose(client, func(c *choice) { c.model = e.Name })
	return nil
}

// choose changes what holds for a client.
func (s *Service) choose(client string, change func(*choice)) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if len(s.chosen) > 10_000 {
		clear(s.chosen)
	}
	c := s.chosen[client]
	change(&c)
	s.chosen[client] = c
}

// OwnVAE reports whether a text is a name for a model's own autoencoder.
func OwnVAE(name string) bool {
	return slices.Contains([]string{"automatic", "none"}, strings.ToLower(name))
}

// VAE finds the autoencoder that a client names, or the one that holds for it; its name
// is empty if that is the model's own.
func (s *Service) VAE(client, name string) (catalog.Entry, error) {
	if name == "" {
		s.mutex.Lock()
		name = s.chosen[client].vae
		s.mutex.Unlock()
	}
	if name == "" || OwnVAE(name) {
		return catalog.Entry{}, nil
	}
	e, err := s.Catalog.Lookup("VAE", name, catalog.VAE)
	if err != nil {
		return e, &Error{Status: http.StatusNotFound, Code: "model_not_found", Param: "VAE", Message: err.Error()}
	}
	return e, nil
}

// ChooseVAE sets the autoencoder that holds for a client.
func (s *Service) ChooseVAE(client, name string) error {
	e, err := s.VAE(client, cmp.Or(name, "Automatic"))
	if err != nil {
		return err
	}
	s.choose(client, func(c *choice) { c.vae = e.Name })
	return nil
}

// Seed draws a seed of 32 bits, which programs in all languages can hold.
func Seed() int64 {
	var b [4]byte
	rand.Read(b[:]) // never fails
	return int64(binary.BigEndian.Uint32(b[:]))
}

// tasks are the pictures of a request, and how much work they are.
func (s *Service) tasks(e catalog.Entry, r request.Request, o Order) (all []queue.Task, work float64, err error) {
	if r.Random() {
		r.Seed = Seed()
	}
	if err := s.told(e, &r, o.Told); err != nil {
		return nil, 0, err
	}
	attach, err := s.attach(e, &r)
	if err != nil {
		return nil, 0, err
	}
	q, err := r.Resolve(request.Defaults{Side: cmp.Or(e.NativeSize, 512), Align: cmp.Or(e.Align, 8), Guidance: e.Guidance, Sampler: e.Sampler, Schedule: e.Schedule, Steps: e.Steps, Enlarges: e.Variant == "enlarge"})
	if err != nil {
		return nil, 0, invalid(err)
	}
	count := max(1, r.Count)
	if count > s.Limits.Pictures {
		return nil, 0, &Error{Status: 400, Code: "too_many_pictures", Param: "Count", Message: fmt.Sprintf("at most %d pictures a request, got %d", s.Limits.Pictures, count)}
	}
	pixels := q.Width * q.Height
	work = float64(pixels) * float64(q.Steps) * passes(q)
	for _, p := range q.Hires {
		n := p.Request.Width * p.Request.Height
		pixels = max(pixels, n)
		work += float64(n) * float64(p.Steps)
	}
	if pixels > s.Limits.Pixels {
		return nil, 0, &Error{Status: 400, Code: "too_many_pixels", Param: "Width", Message: fmt.Sprintf("at most %d pixels a picture, got %d", s.Limits.Pixels, pixels)}
	}
	if o.Previews && r.PreviewEvery == 0 {
		r.PreviewEvery = max(1, q.Steps/20)
	}
	for i := range count {
		one := r
		one.Count = 0
		one.SetSeed(uint64(r.Seed) + uint64(i))
		if t := r.Interpolate; t != nil && t.Seed != nil {
			other := *t
			other.SetSeed(uint64(*t.Seed) + uint64(i))
			one.Interpolate = &other
		}
		all = append(all, queue.Task{Request: one, Attach: attach, Output: o.Output})
	}
	return all, work * float64(count), nil
}

// invalid is an error of a request's fields.
func invalid(err error) error {
	var wrong *request.Error
	if !errors.As(err, &wrong) {
		return Errorf(http.StatusBadRequest, "invalid_request", "%v", err)
	}
	out := &Error{Status: http.StatusBadRequest, Code: "invalid_request", Message: err.Error()}
	for _, p := range wrong.Problems {
		out.Problems = append(out.Problems, wire.Problem{Field: p.Field, Message: p.Text})
	}
	out.Param = wrong.Problems[0].Field
	return out
}

// IsFilter reports whether an upscaler is one without a network.
func (s *Service) IsFilter(name string) bool {
	plain := strings.ReplaceAll(strings.ToLower(strings.NewReplacer("(", "", ")", "").Replace(name)), " ", "-")
	return slices.Contains(s.Filters, plain)
}

// Upscale orders a picture at another size, made with a network of the catalog.
func (s *Service) Upscale(api, client string, e catalog.Entry, img image.Image, width, height int, o wire.Output) (*queue.Job, error) {
	if err := s.allow(client); err != nil {
		return nil, err
	}
	if width < 1 || height < 1 || width*height > 4*s.Limits.Pixels || width > 4*request.MaxSide || height > 4*request.MaxSide {
		return nil, Errorf(400, "too_many_pixels", "an upscaled picture must have 1 to %d pixels, got %dx%d", 4*s.Limits.Pixels, width, height)
	}
	return s.add(queue.Spec{API: api, Client: client, Model: e.Name, Tasks: []queue.Task{
		{Request: request.Request{Image: img}, Upscale: &wire.Size{Width: width, Height: height}, Output: o}}})
}

// Await waits for a job's end. If ctx is done before, and keep is false, the job is
// cancelled a while later, unless somebody else waits for it then.
func (s *Service) Await(ctx context.Context, j *queue.Job, keep bool) (queue.View, error) {
	s.mutex.Lock()
	s.waiting[j]++
	s.mutex.Unlock()
	left := func() int {
		s.mutex.Lock()
		defer s.mutex.Unlock()
		if s.waiting[j]--; s.waiting[j] > 0 {
			return s.waiting[j]
		}
		delete(s.waiting, j)
		return 0
	}
	select {
	case <-j.Ended():
		left()
		v, _ := j.View()
		return v, nil
	case <-ctx.Done():
	}
	if left() == 0 && !keep {
		time.AfterFunc(s.Grace, func() {
			s.mutex.Lock()
			n := s.waiting[j]
			s.mutex.Unlock()
			if n == 0 {
				s.Queue.Cancel(j)
			}
		})
	}
	return queue.View{}, context.Cause(ctx)
}

// recallFor is how long a synchronous call is known by its key after it came.
const recallFor = 15 * time.Minute

// Recall returns the job of an earlier call with a key, which a client repeats whose
// connection broke.
func (s *Service) Recall(key string) (*queue.Job, bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	r, ok := s.recent[key]
	return r.job, ok && time.Since(r.when) < recallFor && r.job.State() != queue.Cancelled
}

// Remember keeps the job of a call by a key.
func (s *Service) Remember(key string, j *queue.Job) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for k, r := range s.recent {
		if time.Since(r.when) > recallFor || len(s.recent) > 1000 {
			delete(s.recent, k)
		}
	}
	s.recent[key] = recent{j, time.Now()}
}

// Failure is the error of a job that has failed or was cancelled; nil of others.
func Failure(v queue.View) *Error {
	if v.State == queue.Cancelled {
		return Errorf(http.StatusConflict, "cancelled", "the job was cancelled")
	}
	if v.State != queue.Failed {
		return nil
	}
	e := v.Err
	if e == nil {
		e = &queue.Error{Code: wire.CodeFailed, Message: "the job failed"}
	}
	out := &Error{Status: http.StatusInternalServerError, Code: e.Code, Message: e.Message, Problems: e.Problems}
	switch e.Code {
	case wire.CodeInvalid:
		out.Status = http.StatusBadRequest
		if len(e.Problems) > 0 {
			out.Param = e.Problems[0].Field
		}
	case wire.CodeMemory:
		out.Status = http.StatusInsufficientStorage
	case "model_disabled", "shutting_down":
		out.Status, out.RetryAfter = http.StatusServiceUnavailable, 30
	}
	return out
}
