package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/server/gallery"
	"github.com/sdgo/sdgo/server/queue"
	"github.com/sdgo/sdgo/server/reply"
	"github.com/sdgo/sdgo/server/service"
)

// shotView is a picture as JSON.
type shotView struct {
	ID         string          `json:"id"`
	Job        string          `json:"job,omitempty"`
	Number     int             `json:"number,omitempty"` // in its job, from 1
	Created    string          `json:"created"`
	Format     string          `json:"format"`
	Width      int             `json:"width"`
	Height     int             `json:"height"`
	Bytes      int64           `json:"bytes"`
	Seed       *uint64         `json:"seed,omitempty"`
	Draft      bool            `json:"draft,omitempty"`
	Parameters string          `json:"parameters"`
	Request    json.RawMessage `json:"request,omitempty"`
	URL        string          `json:"url"`
	Thumbnail  string          `json:"thumbnail_url"`
}

func urls(id string) (string, string) {
	return "/api/v1/pictures/" + id, "/api/v1/pictures/" + id + "/thumbnail"
}

func ofPicture(p *queue.Picture) shotView {
	v := shotView{ID: p.ID, Job: p.Job, Number: p.Task + 1, Created: stamp(p.Created), Format: p.Format, Width: p.Width, Height: p.Height,
		Bytes: int64(len(p.Data)), Draft: p.Draft, Parameters: p.Text, Request: p.Request}
	if p.Request != nil {
		seed := p.Seed
		v.Seed = &seed
	}
	v.URL, v.Thumbnail = urls(p.ID)
	return v
}

func ofShot(s service.Shot) shotView {
	v := shotView{ID: s.ID, Job: s.Job, Created: stamp(s.Created), Format: s.Format, Width: s.Width, Height: s.Height, Bytes: s.Bytes, Draft: s.Draft, Parameters: s.Text}
	v.URL, v.Thumbnail = urls(s.ID)
	return v
}

// pictures lists a client's pictures, the newest first, a page at a time.
func (a *API) pictures(w http.ResponseWriter, r *http.Request) {
	limit := 50
	if text := r.URL.Query().Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 500 {
			fail(w, service.Errorf(http.StatusBadRequest, "invalid_request", "limit: must be 1 to 500, got %.40q", text))
			return
		}
		limit = n
	}
	all := a.service.Shots(client(r))
	if after := r.URL.Query().Get("after"); after != "" {
		at := slices.IndexFunc(all, func(s service.Shot) bool { return s.ID == after })
		if at < 0 {
			fail(w, service.Errorf(http.StatusNotFound, "not_found", "after: there is no such picture, or no longer"))
			return
		}
		all = all[at+1:]
	}
	out := struct {
		Pictures []shotView `json:"pictures"`
		Next     string     `json:"next,omitempty"`
	}{Pictures: []shotView{}}
	for i, s := range all {
		if i == limit {
			out.Next = "/api/v1/pictures?limit=" + strconv.Itoa(limit) + "&after=" + all[i-1].ID
			break
		}
		out.Pictures = append(out.Pictures, ofShot(s))
	}
	reply.JSON(w, http.StatusOK, out)
}

func (a *API) shot(w http.ResponseWriter, r *http.Request) (service.Shot, []byte, bool) {
	id := r.PathValue("id")
	s, ok := a.service.Shot(id)
	if !ok || !gallery.ValidID(id) {
		fail(w, service.Errorf(http.StatusNotFound, "not_found", "there is no such picture, or no longer"))
		return s, nil, false
	}
	data, err := a.service.Read(s)
	if err != nil {
		fail(w, service.Errorf(http.StatusNotFound, "not_found", "the picture can no longer be read"))
		return s, nil, false
	}
	return s, data, true
}

// picture answers with a picture's file, which never changes.
func (a *API) picture(w http.ResponseWriter, r *http.Request) {
	if s, data, ok := a.shot(w, r); ok {
		w.Header().Set("Content-Type", "image/"+s.Format)
		w.Header().Set("Content-Disposition", `inline; filename="sdgo-`+s.ID[:8]+"."+s.Format+`"`)
		w.Header().Set("Cache-Control", "private, max-age=86400, immutable")
		http.ServeContent(w, r, "", s.Created, bytes.NewReader(data))
	}
}

func (a *API) thumbnail(w http.ResponseWriter, r *http.Request) {
	s, _, ok := a.shot(w, r)
	if !ok {
		return
	}
	data, err := a.service.Thumbnail(s)
	if err != nil {
		fail(w, service.Errorf(http.StatusInternalServerError, "failed", "the thumbnail cannot be made"))
		return
	}
	w.Header().Set("Content-Type", "image/jpeg")
	w.Header().Set("Cache-Control", "private, max-age=86400, immutable")
	http.ServeContent(w, r, "", s.Created, bytes.NewReader(data))
}

func (a *API) deletePicture(w http.ResponseWriter, r *http.Request) {
	ok, err := a.service.Delete(client(r), r.PathValue("id"))
	switch {
	case err != nil:
		fail(w, service.Errorf(http.StatusInternalServerError, "failed", "the picture cannot be deleted"))
	case !ok:
		fail(w, service.Errorf(http.StatusNotFound, "not_found", "there is no such picture, or no longer"))
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// parametersView is what a picture says of how it was made.
type parametersView struct {
	Text    string          `json:"text"`
	Request json.RawMessage `json:"request"`
	Model   string          `json:"model,omitempty"`
	Hash    string          `json:"model_hash,omitempty"`
	Unread  []unread        `json:"unread"`
}

type unread struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	Why   string `json:"why,omitempty"`
}

// read reads the parameters of a text.
func parametersOf(text string) (parametersView, error) {
	p, left, err := job.ReadText(text)
	return parametersViewOf(text, p, left, err)
}

func parametersViewOf(text string, p request.Params, left []job.Unread, err error) (parametersView, error) {
	if err != nil {
		return parametersView{}, err
	}
	v := parametersView{Text: text, Model: p.Model, Hash: p.ModelHash, Unread: []unread{}}
	for _, u := range left {
		v.Unread = append(v.Unread, unread{u.Key, u.Value, u.Why})
	}
	v.Request, err = job.Encode(p.Request)
	return v, err
}

// parameters reads those of a picture that is sent, as a file or as JSON with a text.
func (a *API) parameters(w http.ResponseWriter, r *http.Request) {
	data, err := reply.Body(r)
	if err != nil {
		fail(w, err)
		return
	}
	text, err := textOf(data)
	if err != nil {
		fail(w, service.Errorf(http.StatusBadRequest, "invalid_request", "%v", err))
		return
	}
	v, err := parametersOf(text)
	if err != nil {
		fail(w, service.Errorf(http.StatusBadRequest, "invalid_request", "%v", err))
		return
	}
	reply.JSON(w, http.StatusOK, v)
}

// textOf is the parameters' text of a picture's file, or of a JSON object with a text.
func textOf(data []byte) (string, error) {
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		var body struct{ Text *string }
		if json.Unmarshal(data, &body) != nil || body.Text == nil {
			return "", errors.New(`must be a picture, or {"text": "…"}`)
		}
		return *body.Text, nil
	}
	return service.TextOfPicture(data)
}

func (a *API) pictureParameters(w http.ResponseWriter, r *http.Request) {
	s, _, ok := a.shot(w, r)
	if !ok {
		return
	}
	v, err := parametersOf(s.Text)
	if err != nil {
		fail(w, service.Errorf(http.StatusInternalServerError, "failed", "the parameters cannot be read"))
		return
	}
	reply.JSON(w, http.StatusOK, v)
}

// uploads are pictures that clients sent ahead of jobs, for a time.
type uploads struct {
	mutex sync.Mutex
	all   map[string]uploaded
	order []string
	bytes int
}

type uploaded struct {
	data []byte
	when time.Time
}

// Bounds of uploads.
const (
	keepUploads    = time.Hour
	maxUploadBytes = 256 << 20 // of all
)

func newUploads() *uploads { return &uploads{all: map[string]uploaded{}} }

func (u *uploads) add(data []byte) string {
	u.mutex.Lock()
	defer u.mutex.Unlock()
	id := queue.NewID()
	u.all[id] = uploaded{data, time.Now()}
	u.order = append(u.order, id)
	u.bytes += len(data)
	for len(u.order) > 1 && (u.bytes > maxUploadBytes || time.Since(u.all[u.order[0]].when) > keepUploads) {
		u.bytes -= len(u.all[u.order[0]].data)
		delete(u.all, u.order[0])
		u.order = u.order[1:]
	}
	return id
}

func (u *uploads) find(id string) ([]byte, bool) {
	u.mutex.Lock()
	defer u.mutex.Unlock()
	up, ok := u.all[id]
	return up.data, ok && time.Since(up.when) <= keepUploads
}

// upload takes a picture's file.
func (a *API) upload(w http.ResponseWriter, r *http.Request) {
	data, err := reply.Body(r)
	if err != nil {
		fail(w, err)
		return
	}
	img, err := a.service.Inputs.Data(data)
	if err != nil {
		fail(w, service.Errorf(http.StatusBadRequest, "invalid_request", "%v", err))
		return
	}
	out := map[string]any{"id": a.uploads.add(data), "width": img.Rect.Dx(), "height": img.Rect.Dy()}
	if text, err := service.TextOfPicture(data); err == nil {
		out["parameters"] = text
	}
	reply.JSON(w, http.StatusCreated, out)
}
