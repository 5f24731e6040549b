// Package a1111 is the interface of AUTOMATIC1111's web UI, /sdapi/v1, as its clients
// use it. Every field of a request is followed or refused by name; only fields that no
// version of that program has are passed over.
package a1111

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/server/loose"
	"github.com/sdgo/sdgo/server/queue"
	"github.com/sdgo/sdgo/server/reply"
	"github.com/sdgo/sdgo/server/security"
	"github.com/sdgo/sdgo/server/service"
)

// Router takes handlers by patterns of http.ServeMux.
type Router interface {
	HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request))
}

// API answers requests.
type API struct {
	service *service.Service
	keep    reply.Keep
}

// New makes the interface to a service.
func New(s *service.Service, keep reply.Keep) *API { return &API{s, keep} }

// Register adds the interface's routes.
func (a *API) Register(r Router) {
	r.HandleFunc("POST /sdapi/v1/txt2img", a.draw(false))
	r.HandleFunc("POST /sdapi/v1/img2img", a.draw(true))
	r.HandleFunc("POST /sdapi/v1/extra-single-image", a.extraSingle)
	r.HandleFunc("POST /sdapi/v1/extra-batch-images", a.extraBatch)
	r.HandleFunc("POST /sdapi/v1/png-info", a.pngInfo)
	r.HandleFunc("POST /sdapi/v1/interrogate", a.interrogate)

	r.HandleFunc("GET /sdapi/v1/progress", a.progress)
	r.HandleFunc("POST /sdapi/v1/interrupt", a.interrupt)
	r.HandleFunc("POST /sdapi/v1/skip", a.skip)

	r.HandleFunc("GET /sdapi/v1/options", a.options)
	r.HandleFunc("POST /sdapi/v1/options", a.setOptions)
	r.HandleFunc("POST /sdapi/v1/unload-checkpoint", a.unload)
	r.HandleFunc("POST /sdapi/v1/reload-checkpoint", a.reload)
	for _, name := range []string{"checkpoints", "vae", "embeddings", "loras"} {
		r.HandleFunc("POST /sdapi/v1/refresh-"+name, a.refresh)
	}
	for path, list := range a.lists() {
		r.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) { reply.JSON(w, http.StatusOK, list(r)) })
	}
	a.registerControlNet(r)
	r.HandleFunc("/sdapi/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, service.Errorf(http.StatusNotFound, "not_found", "Not Found"))
	})
}

// client is whose a request is.
func client(r *http.Request) string { return security.Client(r.Context()) }

// failure is an error in the web UI's words.
type failure struct {
	Error  string `json:"error"`
	Detail string `json:"detail"`
	Body   string `json:"body"`
	Errors string `json:"errors"`
}

// fail answers with an error: wrong fields with status 422 and a list, others with a
// text.
func fail(w http.ResponseWriter, err error) {
	var wrong loose.Errors
	if errors.As(err, &wrong) {
		reply.JSON(w, http.StatusUnprocessableEntity, map[string]any{"detail": wrong})
		return
	}
	status, code := http.StatusBadRequest, "HTTPException"
	var refused *service.Error
	var large *reply.TooLarge
	switch {
	case errors.As(err, &large):
		status = http.StatusRequestEntityTooLarge
	case errors.As(err, &refused):
		if list := problems(refused); refused.Code == "invalid_request" && len(list) > 0 {
			reply.JSON(w, http.StatusUnprocessableEntity, map[string]any{"detail": list})
			return
		}
		status = refused.Status
		if refused.Code == "model_not_found" {
			status = http.StatusBadRequest // as the web UI does for names of models
		}
		if refused.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(refused.RetryAfter))
		}
	}
	reply.JSON(w, status, failure{code, err.Error(), "", err.Error()})
}

// problems are fields of a request that are wrong, by their names here.
func problems(e *service.Error) (list loose.Errors) {
	for _, p := range e.Problems {
		name := p.Field
		if f, ok := job.Find(p.Field); ok && f.API != "" {
			name = f.API
		} else if ok {
			name = f.Key
		}
		list = append(list, loose.Problem{Loc: []any{"body", name}, Msg: p.Message, Type: "value_error"})
	}
	return list
}

// own is the client's job that runs, else the one that waits; a task's, if its id is
// known.
func (a *API) own(client, task string) *queue.Job {
	if task != "" {
		if j, ok := a.service.Queue.Find(client, task); ok && j.Spec.Client == client {
			return j
		}
	}
	var waiting *queue.Job
	for _, j := range a.service.Queue.Jobs() { // the newest first
		if j.Spec.Client != client || j.Spec.API != "a1111" {
			continue
		}
		switch j.State() {
		case queue.Running:
			return j
		case queue.Queued:
			waiting = j // at last the oldest
		}
	}
	return waiting
}

// interrupt ends the client's own job; the call that made it gets the pictures that are
// finished.
func (a *API) interrupt(w http.ResponseWriter, r *http.Request) {
	if j := a.own(client(r), r.URL.Query().Get("id_task")); j != nil {
		a.service.Queue.Cancel(j)
	}
	reply.JSON(w, http.StatusOK, struct{}{})
}

// skip leaves out the picture that the client's own job makes.
func (a *API) skip(w http.ResponseWriter, r *http.Request) {
	if j := a.own(client(r), ""); j != nil {
		a.service.Pool.Skip(j)
	}
	reply.JSON(w, http.StatusOK, nil)
}

// interrogate is what this program has no model for.
func (a *API) interrogate(w http.ResponseWriter, _ *http.Request) {
	fail(w, service.Errorf(http.StatusNotImplemented, "not_implemented", "interrogate is not supported: there is no model that describes pictures"))
}
