// Package server serves pictures over HTTP: AUTOMATIC1111's interface, OpenAI's, and one
// of its own. It computes nothing itself: worker processes do (package pool), and what
// they run comes from the program that starts the server.
package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sdgo/sdgo/server/a1111"
	"github.com/sdgo/sdgo/server/api"
	"github.com/sdgo/sdgo/server/metrics"
	"github.com/sdgo/sdgo/server/openai"
	"github.com/sdgo/sdgo/server/page"
	"github.com/sdgo/sdgo/server/pool"
	"github.com/sdgo/sdgo/server/queue"
	"github.com/sdgo/sdgo/server/reply"
	"github.com/sdgo/sdgo/server/security"
	"github.com/sdgo/sdgo/server/service"
)

// Config says how a server works.
type Config struct {
	Listen   string // such as 127.0.0.1:7860
	Metrics  string // where metrics are served; "" is nowhere
	Profile  bool   // serves pprof there, too
	Insecure bool   // allows a public address without authentication

	Security security.Config
	Service  service.Config // without Queue and Pool
	Queue    queue.Limits
	Pool     pool.Config   // Lookup may be nil: it is the catalog's
	Keep     reply.Keep    // of synchronous calls
	BaseURL  string        // of pictures in OpenAI's replies; "" is the request's host
	AnyModel bool          // OpenAI's interface takes the default for models that it doesn't know
	Watch    time.Duration // between scans of the models folder; 0 means 5 seconds
	Drain    time.Duration // for running jobs when the server ends; 0 means 30 seconds
	Body     time.Duration // for a client to send a request; 0 means 2 minutes
	Log      *slog.Logger
	Prompts  bool // the log has prompts
}

// Server is a running server.
type Server struct {
	config  Config
	service *service.Service
	metrics *metrics.Metrics
	mux     *mux
	handler http.Handler
	ready   atomic.Bool
	ends    sync.WaitGroup // of jobs that have ended, whose pictures are being saved
}

// mux remembers the patterns of its routes.
type mux struct {
	http.ServeMux
	patterns []string
}

func (m *mux) HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request)) {
	m.patterns = append(m.patterns, pattern)
	m.ServeMux.HandleFunc(pattern, handler)
}

// Paths that need no authentication.
const (
	healthPath = "/healthz"
	readyPath  = "/readyz"
)

// New makes a server. It refuses to serve others than this machine without
// authentication.
func New(c Config) (*Server, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Watch, c.Drain, c.Body = cmp.Or(c.Watch, 5*time.Second), cmp.Or(c.Drain, 30*time.Second), cmp.Or(c.Body, 2*time.Minute)
	c.Security.Listen, c.Security.Log = c.Listen, c.Log
	c.Security.Public = []string{healthPath, readyPath}
	guard, err := security.New(c.Security)
	if err != nil {
		return nil, err
	}
	if !security.Loopback(c.Listen) && !guard.Authenticates() && !c.Insecure {
		return nil, fmt.Errorf("%s can be reached by others, and there is neither a user nor an API key; --auth-file or --api-key-file name some, --insecure serves everybody", c.Listen)
	}
	s := &Server{config: c, metrics: metrics.New(), mux: &mux{}}
	q := queue.New(c.Queue, nil)
	c.Pool.Log, c.Pool.Observe = c.Log, s.metrics
	c.Service.Queue = q
	if c.Pool.Lookup == nil {
		c.Pool.Lookup = func(key string) (pool.Model, bool) { return lookup(c.Service.Catalog, key) }
	}
	c.Service.Pool = pool.New(q, c.Pool)
	s.service = service.New(c.Service)
	q.OnEnd(s.ended)
	s.metrics.Watch(q, c.Service.Pool)
	if err := s.routes(); err != nil {
		return nil, err
	}
	s.handler = timed(c.Body, guard.Wrap(s.logged(s.metrics.Wrap(s.mux))))
	s.ready.Store(true)
	return s, nil
}

// routes adds all routes.
func (s *Server) routes() error {
	s.mux.HandleFunc("GET "+healthPath, s.health)
	s.mux.HandleFunc("GET "+readyPath, s.readiness)
	api.New(s.service).Register(s.mux)
	a1111.New(s.service, s.config.Keep).Register(s.mux)
	openai.New(s.service, openai.Options{Keep: s.config.Keep, BaseURL: s.config.BaseURL, AnyModel: s.config.AnyModel}).Register(s.mux)
	return page.Register(s.mux)
}

// Patterns are the patterns of all routes.
func (s *Server) Patterns() []string { return slices.Clone(s.mux.patterns) }

// Handler answers requests.
func (s *Server) Handler() http.Handler { return s.handler }

// Service takes orders.
func (s *Server) Service() *service.Service { return s.service }

// ended takes note of a job's end.
func (s *Server) ended(j *queue.Job) {
	s.ends.Go(func() {
		s.metrics.JobEnded(j)
		v, _ := j.View()
		attributes := []any{"job", j.ID, "api", j.Spec.API, "model", j.Spec.Model, "state", string(v.State), "pictures", v.Finished, "attempt", v.Attempt, "seconds", v.Ended.Sub(v.Created).Seconds()}
		if v.Err != nil {
			attributes = append(attributes, "code", v.Err.Code)
		}
		if s.config.Prompts {
			attributes = append(attributes, "prompt", j.Task(0).Request.Prompt)
		}
		s.config.Log.Info("job ended", attributes...)
		if err := s.service.Save(j); err != nil {
			s.config.Log.Error("pictures cannot be saved", "job", j.ID, "error", err)
		}
	})
}

// health says whether the process answers, and whether models are disabled.
func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	status := "ok"
	if len(s.service.Pool.Disabled()) > 0 {
		status = "degraded"
	}
	reply.JSON(w, http.StatusOK, map[string]string{"status": status})
}

// readiness says whether the server takes orders.
func (s *Server) readiness(w http.ResponseWriter, _ *http.Request) {
	if !s.ready.Load() {
		reply.JSON(w, http.StatusServiceUnavailable, map[string]string{"status": "shutting down"})
		return
	}
	reply.JSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// logged writes a line for each request, without what it asks for.
func (s *Server) logged(next http.Handler) http.Handler {
	if !s.config.Log.Enabled(context.Background(), slog.LevelDebug) {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		next.ServeHTTP(w, r)
		s.config.Log.Debug("request", "method", r.Method, "route", r.Pattern, "seconds", time.Since(start).Seconds())
	})
}

// Times of connections; those of bodies and replies are timed's.
const (
	headerTime = 10 * time.Second
	idleTime   = 2 * time.Minute
)

func (s *Server) http(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: headerTime, IdleTimeout: idleTime, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(s.config.Log.Handler(), slog.LevelDebug)}
}

// Run serves until ctx is done. Then no orders are taken any more, running jobs may end
// within Drain, and their replies are written. listening is called with the address when
// requests are answered.
func (s *Server) Run(ctx context.Context, listening func(address string)) error {
	l, err := net.Listen("tcp", s.config.Listen)
	if err != nil {
		return fmt.Errorf("cannot listen: %w", err)
	}
	servers := []*http.Server{s.http(s.handler)}
	listeners := []net.Listener{l}
	if s.config.Metrics != "" {
		m, err := net.Listen("tcp", s.config.Metrics)
		if err != nil {
			l.Close()
			return fmt.Errorf("cannot listen for metrics: %w", err)
		}
		servers, listeners = append(servers, s.http(s.metricsHandler())), append(listeners, m)
	}
	failed := make(chan error, len(servers))
	for i := range servers {
		go func() { failed <- servers[i].Serve(listeners[i]) }()
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	go s.service.Catalog.Watch(watching, s.config.Watch)
	listening(l.Addr().String())
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	s.shutdown(servers)
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// replyTime is how long replies may take that are written when the last jobs have ended.
const replyTime = 5 * time.Second

// Close takes no jobs any more, lets those that run end until ctx is done, and saves
// their pictures.
func (s *Server) Close(ctx context.Context) {
	s.ready.Store(false)
	s.service.Queue.Stop()
	s.service.Pool.Close(ctx)
	s.ends.Wait()
}

// shutdown ends the server: first the jobs, whose replies are then written.
func (s *Server) shutdown(servers []*http.Server) {
	drain, cancel := context.WithTimeout(context.Background(), s.config.Drain)
	s.Close(drain)
	cancel()
	end, cancel := context.WithTimeout(context.Background(), replyTime)
	defer cancel()
	for _, one := range servers {
		if one.Shutdown(end) != nil {
			one.Close()
		}
	}
}

// metricsHandler serves what is for operators, on a listener of its own.
func (s *Server) metricsHandler() http.Handler {
	m := http.NewServeMux()
	m.Handle("GET /metrics", s.metrics.Handler())
	m.HandleFunc("GET "+healthPath, s.health)
	m.HandleFunc("GET "+readyPath, s.readiness)
	if s.config.Profile {
		m.HandleFunc("GET /debug/pprof/", func(w http.ResponseWriter, r *http.Request) {
			switch name := strings.TrimPrefix(r.URL.Path, "/debug/pprof/"); name {
			case "profile":
				pprof.Profile(w, r)
			case "trace":
				pprof.Trace(w, r)
			case "symbol":
				pprof.Symbol(w, r)
			case "cmdline": // may have secrets
				w.WriteHeader(http.StatusNotFound)
			default:
				pprof.Index(w, r)
			}
		})
	}
	return m
}
