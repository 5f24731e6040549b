// Package openai is OpenAI's Images interface, /v1/images, with the server's own models:
// generations, edits and variations, streamed with partial pictures, with OpenAI's
// errors.
package openai

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/server/catalog"
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

// Options say how the interface works.
type Options struct {
	Keep     reply.Keep
	BaseURL  string // of pictures; "" is the request's own host
	AnyModel bool   // takes the default model for names that are not known
}

// API answers requests.
type API struct {
	service *service.Service
	options Options
	links   *links
}

// New makes the interface to a service.
func New(s *service.Service, o Options) *API { return &API{s, o, newLinks()} }

// Register adds the interface's routes.
func (a *API) Register(r Router) {
	r.HandleFunc("POST /v1/images/generations", a.generations)
	r.HandleFunc("POST /v1/images/edits", a.edits)
	r.HandleFunc("POST /v1/images/variations", a.variations)
	for _, name := range []string{"generations", "edits", "variations"} { // some clients ask whether it is there
		r.HandleFunc("OPTIONS /v1/images/"+name, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Allow", "OPTIONS, POST")
			w.WriteHeader(http.StatusNoContent)
		})
	}
	r.HandleFunc("GET /v1/images/files/{id}", a.file)
	r.HandleFunc("GET /v1/models", a.models)
	r.HandleFunc("GET /v1/models/{id}", a.model)
	r.HandleFunc("/v1/", func(w http.ResponseWriter, _ *http.Request) {
		fail(w, service.Errorf(http.StatusNotFound, "not_found", "there is no such address"))
	})
}

func client(r *http.Request) string { return security.Client(r.Context()) }

// failure is an error in OpenAI's words.
type failure struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
}

// describe is an error with its status and when to try again.
func describe(err error) (status, after int, f failure) {
	status, f = http.StatusBadRequest, failure{Message: err.Error(), Type: "invalid_request_error"}
	var refused *service.Error
	var large *reply.TooLarge
	var wrong loose.Errors
	set := func(to **string, text string) {
		if text != "" {
			*to = &text
		}
	}
	switch {
	case errors.As(err, &large):
		status = http.StatusRequestEntityTooLarge
	case errors.As(err, &wrong):
		if loc := wrong[0].Loc; len(loc) > 1 {
			if name, ok := loc[1].(string); ok {
				set(&f.Param, name)
			}
		}
	case errors.As(err, &refused):
		status, after = refused.Status, refused.RetryAfter
		set(&f.Code, refused.Code)
		set(&f.Param, paramOf(refused.Param))
		switch {
		case status == http.StatusTooManyRequests:
			f.Type = "rate_limit_error"
		case status >= 500:
			f.Type = "server_error"
		}
	}
	return status, after, f
}

// paramOf is a field of a request by its name here.
func paramOf(field string) string {
	switch field {
	case "Count":
		return "n"
	case "Width", "Height":
		return "size"
	case "Image", "Mask", "Model":
		return strings.ToLower(field)
	}
	if f, ok := job.Find(field); ok {
		return f.Key
	}
	return field
}

func fail(w http.ResponseWriter, err error) {
	status, after, f := describe(err)
	if after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(after))
	}
	reply.JSON(w, status, map[string]failure{"error": f})
}

// modelView is a model as JSON.
type modelView struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	Owner   string `json:"owned_by"`
}

func viewOf(e catalog.Entry) modelView {
	created := int64(0)
	if !e.Modified.IsZero() {
		created = e.Modified.Unix()
	}
	return modelView{e.Name, "model", created, "sdgo"}
}

func (a *API) models(w http.ResponseWriter, _ *http.Request) {
	all := []modelView{}
	for _, e := range a.service.Catalog.Entries(catalog.Checkpoint, catalog.Refiner) {
		all = append(all, viewOf(e))
	}
	reply.JSON(w, http.StatusOK, map[string]any{"object": "list", "data": all})
}

func (a *API) model(w http.ResponseWriter, r *http.Request) {
	e, err := a.service.Model(client(r), r.PathValue("id"))
	if err != nil {
		fail(w, err)
		return
	}
	reply.JSON(w, http.StatusOK, viewOf(e))
}

// retried finds the job of a request that a client repeats after its connection broke.
func (a *API) retried(r *http.Request, key string) (*queue.Job, bool) {
	if n, err := strconv.Atoi(r.Header.Get("X-Stainless-Retry-Count")); err != nil || n < 1 {
		if r.Header.Get("Idempotency-Key") == "" {
			return nil, false
		}
	}
	return a.service.Recall(key)
}

// keyOf is a key of a request: whose it is, where it goes, and what it has.
func keyOf(r *http.Request, body []byte) string {
	if given := r.Header.Get("Idempotency-Key"); given != "" {
		return client(r) + "\x00" + r.URL.Path + "\x00" + given
	}
	sum := sha256.Sum256(body)
	return client(r) + "\x00" + r.URL.Path + "\x00" + hex.EncodeToString(sum[:])
}

// base is the beginning of absolute addresses. The host was checked.
func (a *API) base(r *http.Request) string {
	if a.options.BaseURL != "" {
		return strings.TrimSuffix(a.options.BaseURL, "/")
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}
