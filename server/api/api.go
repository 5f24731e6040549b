// Package api is the server's own interface, /api/v1: jobs with server-sent events, the
// gallery, models, capabilities. openapi.json describes it. Requests are package job's;
// what they have that is not known is an error.
package api

import (
	_ "embed" // the description
	"encoding/json"
	"errors"
	"net/http"

	"github.com/sdgo/sdgo/server/loose"
	"github.com/sdgo/sdgo/server/reply"
	"github.com/sdgo/sdgo/server/security"
	"github.com/sdgo/sdgo/server/service"
	"github.com/sdgo/sdgo/server/wire"
)

//go:embed openapi.json
var description []byte

// Router takes handlers by patterns of http.ServeMux.
type Router interface {
	HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request))
}

// API answers requests.
type API struct {
	service *service.Service
	uploads *uploads
}

// New makes the interface to a service.
func New(s *service.Service) *API { return &API{s, newUploads()} }

// Register adds the interface's routes.
func (a *API) Register(r Router) {
	r.HandleFunc("GET /api/v1/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(description)
	})
	r.HandleFunc("GET /api/v1/capabilities", func(w http.ResponseWriter, _ *http.Request) { capabilities(a, w) })
	r.HandleFunc("GET /api/v1/status", func(w http.ResponseWriter, _ *http.Request) { status(a, w) })

	r.HandleFunc("POST /api/v1/jobs", a.create)
	r.HandleFunc("GET /api/v1/jobs", a.jobs)
	r.HandleFunc("GET /api/v1/jobs/{id}", a.job)
	r.HandleFunc("GET /api/v1/jobs/{id}/events", a.events)
	r.HandleFunc("GET /api/v1/jobs/{id}/preview", a.preview)
	r.HandleFunc("POST /api/v1/jobs/{id}/cancel", a.cancel)
	r.HandleFunc("POST /api/v1/jobs/{id}/skip", a.skip)

	r.HandleFunc("POST /api/v1/uploads", a.upload)
	r.HandleFunc("POST /api/v1/parameters", a.parameters)
	r.HandleFunc("POST /api/v1/preprocess", func(w http.ResponseWriter, r *http.Request) { preprocessed(a, w, r) })
	r.HandleFunc("POST /api/v1/tokens", func(w http.ResponseWriter, r *http.Request) { tokens(a, w, r) })
	r.HandleFunc("GET /api/v1/pictures", a.pictures)
	r.HandleFunc("GET /api/v1/pictures/{id}", a.picture)
	r.HandleFunc("GET /api/v1/pictures/{id}/thumbnail", a.thumbnail)
	r.HandleFunc("GET /api/v1/pictures/{id}/parameters", a.pictureParameters)
	r.HandleFunc("DELETE /api/v1/pictures/{id}", a.deletePicture)

	r.HandleFunc("GET /api/v1/models", a.models)
	r.HandleFunc("POST /api/v1/models/refresh", a.refresh)
	r.HandleFunc("POST /api/v1/models/load", a.load)
	r.HandleFunc("POST /api/v1/models/unload", a.unload)
	r.HandleFunc("/api/", func(w http.ResponseWriter, _ *http.Request) {
		fail(w, service.Errorf(http.StatusNotFound, "not_found", "there is no such address; GET /api/v1/openapi.json lists all"))
	})
}

// client is whose a request is.
func client(r *http.Request) string { return security.Client(r.Context()) }

// failure is an error in the interface's words.
type failure struct {
	Code     string    `json:"code"`
	Message  string    `json:"message"`
	Param    string    `json:"param,omitempty"`
	Problems []problem `json:"problems,omitempty"`
}

type problem struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

// describe is an error with its status.
func describe(err error) (int, int, failure) {
	var refused *service.Error
	var large *reply.TooLarge
	var wrong loose.Errors
	switch {
	case errors.As(err, &refused):
		return refused.Status, refused.RetryAfter, failure{refused.Code, refused.Message, keyOf(refused.Param), problems(refused.Problems)}
	case errors.As(err, &large):
		return http.StatusRequestEntityTooLarge, 0, failure{Code: "too_large", Message: err.Error()}
	case errors.As(err, &wrong):
		return http.StatusBadRequest, 0, failure{Code: "invalid_request", Message: err.Error()}
	}
	return http.StatusBadRequest, 0, failure{Code: "invalid_request", Message: err.Error()}
}

func problems(all []wire.Problem) (out []problem) {
	for _, p := range all {
		out = append(out, problem{keyOf(p.Field), p.Message})
	}
	return out
}

// fail answers with an error.
func fail(w http.ResponseWriter, err error) {
	status, after, f := describe(err)
	if after > 0 {
		w.Header().Set("Retry-After", json.Number(itoa(after)).String())
	}
	reply.JSON(w, status, map[string]failure{"error": f})
}
