package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/server/queue"
	"github.com/sdgo/sdgo/server/reply"
	"github.com/sdgo/sdgo/server/service"
	"github.com/sdgo/sdgo/server/wire"
)

func itoa(n int) string { return strconv.Itoa(n) }

// keyOf is a field of a request in the words of JSON.
func keyOf(field string) string {
	if f, ok := job.Find(field); ok {
		return f.Key
	}
	return strings.ToLower(field)
}

// keys are what a job's description may have beside a request.
var keys = []string{"model", "vae", "request", "image", "mask", "control_images", "control_faces", "guide_images", "priority", "previews", "output", "key", "upscale"}

// maxPriority bounds a job's priority on either side of 0.
const maxPriority = 100

// order is a job's description that was read.
type order struct {
	service.Order
	image, mask image.Image
	controls    []image.Image // of each ControlNet; nil is one that sees image
	faces       [][]float32   // of each ControlNet; nil is none
	guides      []shown       // of each guide
	upscale     *upscale
}

// create makes a job.
func (a *API) create(w http.ResponseWriter, r *http.Request) {
	data, err := reply.Body(r)
	if err != nil {
		fail(w, err)
		return
	}
	o, err := a.decode(r.Context(), data)
	if err != nil {
		fail(w, err)
		return
	}
	o.API, o.Client = "api", client(r)
	var j *queue.Job
	if o.upscale != nil {
		j, err = a.upscaled(o)
	} else {
		j, err = a.service.Order(o.Order)
	}
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Location", "/api/v1/jobs/"+j.ID)
	reply.JSON(w, http.StatusAccepted, view(j))
}

// decode reads a job's description.
func (a *API) decode(ctx context.Context, data []byte) (o order, err error) {
	members, err := job.Members(data)
	if err != nil {
		return o, err
	}
	members = slices.DeleteFunc(members, func(m job.Member) bool { return string(m.Value) == "null" }) // the default
	o.Previews = true
	read := &reading{api: a, ctx: ctx}
	q := job.Begin(job.Txt2Img)
	var e request.Error
	for _, m := range members {
		err := o.read(read, m, &q)
		var fields *request.Error
		switch {
		case errors.As(err, &fields):
			e.Problems = append(e.Problems, fields.Problems...)
		case err != nil:
			e.Add(fmt.Sprintf("%.80s", m.Key), "%v", err)
		}
	}
	o.show(&q, &e)
	if err := e.Err(); err != nil {
		return o, invalidOrder(&e)
	}
	o.Requests = []request.Request{q}
	return o, nil
}

// read reads a member of a job's description; what is of the picture goes to q.
func (o *order) read(read *reading, m job.Member, q *request.Request) (err error) {
	switch m.Key {
	case "model":
		err = text(m, &o.Model)
	case "vae":
		err = text(m, &o.VAE)
	case "key":
		if err = text(m, &o.Key); err == nil && (o.Key == "" || len(o.Key) > 128) {
			err = errors.New("must be a text of 1 to 128 bytes")
		}
	case "priority":
		o.Priority, err = priority(m.Value)
	case "previews":
		if json.Unmarshal(m.Value, &o.Previews) != nil {
			err = fmt.Errorf("must be true or false, got %.40s", m.Value)
		}
	case "output":
		o.Output, err = output(m.Value)
	case "image":
		o.image, err = read.picture(m)
	case "mask":
		o.mask, err = read.picture(m)
	case "control_images":
		o.controls, err = readControls(read, m)
	case "control_faces":
		o.faces, err = readFaces(m.Value)
	case "guide_images":
		o.guides, err = readGuides(read, m)
	case "upscale":
		o.upscale, err = readUpscale(m.Value)
	case "request":
		err = applyRequest(q, m.Value)
	default:
		err = fmt.Errorf("unknown field; there are %s", strings.Join(keys, ", "))
	}
	return err
}

// priority reads a job's priority.
func priority(raw json.RawMessage) (n int, err error) {
	if json.Unmarshal(raw, &n) != nil || n < -maxPriority || n > maxPriority {
		return 0, fmt.Errorf("must be a whole number from %d to %d, got %.40s", -maxPriority, maxPriority, raw)
	}
	return n, nil
}

// show gives a request the order's pictures.
func (o *order) show(q *request.Request, e *request.Error) {
	if q.ImageFile != "" || q.MaskFile != "" {
		e.Add("input", "is not for requests of the server: send the pictures as image and mask")
	}
	showControls(q, o.controls, e)
	showFaces(q, o.faces, e)
	showGuides(q, o.guides, e)
	q.Image, q.Mask = o.image, o.mask
}

// invalidOrder is an error whose fields have JSON's names already.
func invalidOrder(e *request.Error) error {
	out := &service.Error{Status: http.StatusBadRequest, Code: "invalid_request", Message: e.Error(), Param: e.Problems[0].Field}
	for _, p := range e.Problems {
		out.Problems = append(out.Problems, wire.Problem{Field: p.Field, Message: p.Text})
	}
	return out
}

func text(m job.Member, to *string) error {
	if json.Unmarshal(m.Value, to) != nil {
		return fmt.Errorf("must be a text, got %.40s", m.Value)
	}
	return nil
}

// applyRequest puts the members of a request into it.
func applyRequest(q *request.Request, raw json.RawMessage) error {
	members, err := job.Members(raw)
	if err != nil {
		return err
	}
	return job.Apply(q, members)
}

// output reads how pictures are encoded.
func output(raw json.RawMessage) (o wire.Output, err error) {
	members, err := job.Members(raw)
	if err != nil {
		return o, err
	}
	for _, m := range members {
		switch {
		case string(m.Value) == "null":
		case m.Key == "format":
			if err := text(m, &o.Format); err != nil {
				return o, err
			}
			f, err := picture.ParseFormat(o.Format)
			if err != nil {
				return o, fmt.Errorf("format: %w", err)
			}
			o.Format = string(f)
		case m.Key == "quality":
			if json.Unmarshal(m.Value, &o.Quality) != nil || o.Quality < 1 || o.Quality > 100 {
				return o, fmt.Errorf("quality: must be 1 to 100, got %.40s", m.Value)
			}
		default:
			return o, fmt.Errorf("%.80s: unknown field; there are format and quality", m.Key)
		}
	}
	return o, nil
}

// reading reads the pictures of one request, and counts their pixels.
type reading struct {
	api    *API
	ctx    context.Context
	pixels int
}

// picture reads a picture: base64, a data URL, an address where these are allowed, or "id:"
// with the id of an upload or a picture.
func (r *reading) picture(m job.Member) (image.Image, error) {
	var s string
	if err := text(m, &s); err != nil {
		return nil, err
	}
	img, err := r.api.read(r.ctx, s)
	if err != nil {
		return nil, err
	}
	size := img.Bounds().Size()
	if r.pixels += size.X * size.Y; r.pixels > r.api.service.Limits.Inputs {
		return nil, fmt.Errorf("all pictures together must have at most %d pixels", r.api.service.Limits.Inputs)
	}
	return img, nil
}

func (a *API) read(ctx context.Context, s string) (image.Image, error) {
	id, ok := strings.CutPrefix(s, "id:")
	if !ok {
		return a.service.Inputs.Text(ctx, s)
	}
	data, ok := a.uploads.find(id)
	if !ok {
		shot, found := a.service.Shot(id)
		if !found {
			return nil, errors.New("no upload and no picture has this id")
		}
		var err error
		if data, err = a.service.Read(shot); err != nil {
			return nil, errors.New("the picture can no longer be read")
		}
	}
	return a.service.Inputs.Data(data)
}

// jobView is a job as JSON.
type jobView struct {
	ID        string      `json:"id"`
	Key       string      `json:"key,omitempty"`
	Kind      string      `json:"kind"`
	Status    queue.State `json:"status"`
	Model     string      `json:"model"`
	Priority  int         `json:"priority"`
	Created   string      `json:"created"`
	Began     string      `json:"began,omitempty"`
	Ended     string      `json:"ended,omitempty"`
	Position  int         `json:"queue_position"`
	Attempt   int         `json:"attempt"`
	Progress  progress    `json:"progress"`
	Preview   string      `json:"preview_url,omitempty"`
	Pictures  []shotView  `json:"pictures"`
	Warnings  []string    `json:"warnings,omitempty"`
	Error     *failure    `json:"error,omitempty"`
	PollURL   string      `json:"poll_url"`
	EventsURL string      `json:"events_url"`
}

// progress is how far a job is.
type progress struct {
	Fraction float64 `json:"fraction"`
	Seconds  float64 `json:"seconds_left,omitempty"`
	Picture  int     `json:"picture,omitempty"` // that is being made, from 1
	Pictures int     `json:"pictures"`
	Finished int     `json:"finished"`
	Skipped  int     `json:"skipped,omitempty"`
	Stage    string  `json:"stage,omitempty"`
	Pass     int     `json:"pass,omitempty"` // from 1
	Step     int     `json:"step,omitempty"`
	Steps    int     `json:"steps,omitempty"`
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

func view(j *queue.Job) jobView {
	v, _ := j.View()
	return viewOf(j, v)
}

func viewOf(j *queue.Job, v queue.View) jobView {
	out := jobView{ID: j.ID, Key: j.Spec.Key, Kind: "generate", Status: v.State, Model: j.Spec.Model, Priority: j.Spec.Priority, Created: stamp(v.Created), Began: stamp(v.Began),
		Ended: stamp(v.Ended), Position: v.Position, Attempt: v.Attempt, Pictures: []shotView{}, Warnings: v.Warnings,
		PollURL: "/api/v1/jobs/" + j.ID, EventsURL: "/api/v1/jobs/" + j.ID + "/events",
		Progress: progress{Fraction: v.Fraction, Seconds: v.Left.Seconds(), Pictures: v.Total, Finished: v.Finished, Skipped: v.Skipped}}
	if len(j.Spec.Tasks) > 0 && j.Spec.Tasks[0].Upscale != nil {
		out.Kind = "upscale"
	}
	if v.State == queue.Running && v.Task >= 0 {
		out.Progress.Picture, out.Progress.Stage, out.Progress.Step, out.Progress.Steps = v.Task+1, v.Stage, v.Step, v.Of
		if v.Stage != "" {
			out.Progress.Pass = v.Pass + 1
		}
	}
	if p := j.Preview(); p != nil {
		out.Preview = fmt.Sprintf("/api/v1/jobs/%s/preview?at=%d.%d", j.ID, p.Task, p.Step)
	}
	for _, p := range v.Pictures {
		out.Pictures = append(out.Pictures, ofPicture(p))
	}
	if f := service.Failure(v); f != nil {
		out.Error = &failure{f.Code, f.Message, keyOf(f.Param), problems(f.Problems)}
	}
	return out
}

// find finds a client's job; whose id is unguessable anyway.
func (a *API) find(w http.ResponseWriter, r *http.Request) (*queue.Job, bool) {
	j, ok := a.service.Queue.Find(client(r), r.PathValue("id"))
	if !ok || j.Spec.Client != client(r) {
		fail(w, service.Errorf(http.StatusNotFound, "not_found", "there is no such job, or no longer"))
		return nil, false
	}
	return j, true
}

func (a *API) job(w http.ResponseWriter, r *http.Request) {
	if j, ok := a.find(w, r); ok {
		reply.JSON(w, http.StatusOK, view(j))
	}
}

// maxListed bounds lists of jobs.
const maxListed = 200

func (a *API) jobs(w http.ResponseWriter, r *http.Request) {
	all := []jobView{}
	for _, j := range a.service.Queue.Jobs() {
		if j.Spec.Client == client(r) && len(all) < maxListed {
			all = append(all, view(j))
		}
	}
	reply.JSON(w, http.StatusOK, map[string]any{"jobs": all})
}

func (a *API) cancel(w http.ResponseWriter, r *http.Request) {
	j, ok := a.find(w, r)
	if !ok {
		return
	}
	if !a.service.Queue.Cancel(j) {
		fail(w, service.Errorf(http.StatusConflict, "ended", "the job has ended before: %s", j.State()))
		return
	}
	reply.JSON(w, http.StatusOK, view(j))
}

func (a *API) skip(w http.ResponseWriter, r *http.Request) {
	j, ok := a.find(w, r)
	if !ok {
		return
	}
	if !a.service.Pool.Skip(j) {
		fail(w, service.Errorf(http.StatusConflict, "not_running", "the job makes no picture now: %s", j.State()))
		return
	}
	reply.JSON(w, http.StatusOK, view(j))
}

func (a *API) preview(w http.ResponseWriter, r *http.Request) {
	j, ok := a.find(w, r)
	if !ok {
		return
	}
	p := j.Preview()
	if p == nil {
		fail(w, service.Errorf(http.StatusNotFound, "not_found", "there is no preview now"))
		return
	}
	w.Header().Set("Content-Type", "image/png")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(p.Data))
}

// aliveEvery is how often a comment is sent while nothing changes, and leastEvery the
// least time between two events.
const (
	aliveEvery = 15 * time.Second
	leastEvery = 50 * time.Millisecond
)

// events streams a job as it changes: each event is the whole job, so that a client that
// misses some, or connects again, has lost nothing.
func (a *API) events(w http.ResponseWriter, r *http.Request) {
	j, ok := a.find(w, r)
	if !ok {
		return
	}
	out := reply.NewEvents(w)
	seen, err := strconv.ParseUint(r.Header.Get("Last-Event-ID"), 10, 64)
	first := err != nil
	tick := time.NewTicker(aliveEvery)
	defer tick.Stop()
	for {
		v, changed := j.View()
		if first || v.Version != seen {
			first, seen = false, v.Version
			if out.Send("job", strconv.FormatUint(v.Version, 10), viewOf(j, v)) != nil {
				return
			}
		}
		if v.State.Ended() {
			return
		}
		select {
		case <-changed:
		case <-tick.C:
			if v.State == queue.Queued { // its place in the queue is no change of its own
				first = true
			}
			if out.Alive() != nil {
				return
			}
		case <-r.Context().Done():
			return
		}
		select { // a step may take a millisecond
		case <-time.After(leastEvery):
		case <-j.Ended():
		case <-r.Context().Done():
			return
		}
	}
}
