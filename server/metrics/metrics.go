// Package metrics counts what the server does, for Prometheus. Labels have names of
// models and samplers, and never a prompt, a user or a path.
package metrics

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/server/pool"
	"github.com/sdgo/sdgo/server/queue"
)

// Metrics are a server's.
type Metrics struct {
	registry *prometheus.Registry

	jobs         *prometheus.CounterVec
	jobSeconds   *prometheus.HistogramVec
	queueWait    prometheus.Histogram
	steps        *prometheus.CounterVec
	stepSeconds  *prometheus.HistogramVec
	pictures     *prometheus.CounterVec
	restarts     *prometheus.CounterVec
	loads        *prometheus.CounterVec
	loadSeconds  *prometheus.HistogramVec
	httpRequests *prometheus.HistogramVec
}

// New makes metrics, all at zero.
func New() *Metrics {
	seconds := []float64{1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 3600}
	fast := []float64{0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	}
	m := &Metrics{
		registry:     prometheus.NewRegistry(),
		jobs:         counter("sdgo_jobs_total", "Jobs that have ended.", "api", "model", "outcome"),
		jobSeconds:   histogram("sdgo_job_seconds", "Time from a job's arrival to its end.", seconds, "api"),
		queueWait:    prometheus.NewHistogram(prometheus.HistogramOpts{Name: "sdgo_queue_wait_seconds", Help: "Time that jobs wait before they begin.", Buckets: fast}),
		steps:        counter("sdgo_steps_total", "Denoising steps.", "model", "sampler"),
		stepSeconds:  histogram("sdgo_step_seconds", "Time of a denoising step.", fast, "model"),
		pictures:     counter("sdgo_pictures_total", "Finished pictures.", "model"),
		restarts:     counter("sdgo_worker_restarts_total", "Workers that were lost.", "model"),
		loads:        counter("sdgo_model_loads_total", "Models that were opened.", "model"),
		loadSeconds:  histogram("sdgo_model_load_seconds", "Time to open a model.", fast, "model"),
		httpRequests: histogram("sdgo_http_request_seconds", "Time of HTTP requests, by route.", fast, "route", "status"),
	}
	m.registry.MustRegister(m.jobs, m.jobSeconds, m.queueWait, m.steps, m.stepSeconds, m.pictures, m.restarts, m.loads, m.loadSeconds, m.httpRequests,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Watch adds what is read when it is asked for: the queue and the workers.
func (m *Metrics) Watch(q *queue.Queue, p *pool.Pool) { m.registry.MustRegister(watched{q, p}) }

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// JobEnded takes note of a job's end.
func (m *Metrics) JobEnded(j *queue.Job) {
	v, _ := j.View()
	m.jobs.WithLabelValues(j.Spec.API, j.Spec.Model, string(v.State)).Inc()
	m.jobSeconds.WithLabelValues(j.Spec.API).Observe(v.Ended.Sub(v.Created).Seconds())
	m.pictures.WithLabelValues(j.Spec.Model).Add(float64(v.Finished))
}

// JobBegan takes note of a job that is given to a worker.
func (m *Metrics) JobBegan(_ *queue.Job, waited time.Duration) { m.queueWait.Observe(waited.Seconds()) }

// Stepped takes note of a denoising step. A sampler has one name here, whatever a request
// calls it.
func (m *Metrics) Stepped(model, name string, took time.Duration) {
	label := "default"
	if s, err := sampler.Lookup(name); name != "" && err == nil {
		label = s.Name
	}
	m.steps.WithLabelValues(model, label).Inc()
	m.stepSeconds.WithLabelValues(model).Observe(max(0, took.Seconds()))
}

// ModelLoaded takes note of an open model.
func (m *Metrics) ModelLoaded(model string, took time.Duration) {
	m.loads.WithLabelValues(model).Inc()
	m.loadSeconds.WithLabelValues(model).Observe(took.Seconds())
}

// WorkerLost takes note of a worker that ended unexpectedly.
func (m *Metrics) WorkerLost(model string) { m.restarts.WithLabelValues(model).Inc() }

// watched are gauges.
type watched struct {
	queue *queue.Queue
	pool  *pool.Pool
}

// gauges are the descriptions of what is watched.
func gauges() (queueDepth, workerUp, memory *prometheus.Desc) {
	queueDepth = prometheus.NewDesc("sdgo_queue_depth", "Jobs that wait.", []string{"model"}, nil)
	workerUp = prometheus.NewDesc("sdgo_worker_up", "Workers whose model is open.", []string{"worker"}, nil)
	memory = prometheus.NewDesc("sdgo_memory_bytes", "Most memory that workers have had.", []string{"kind"}, nil)
	return queueDepth, workerUp, memory
}

func (watched) Describe(c chan<- *prometheus.Desc) {
	queueDepth, workerUp, memory := gauges()
	c <- queueDepth
	c <- workerUp
	c <- memory
}

func (w watched) Collect(c chan<- prometheus.Metric) {
	queueDepth, workerUp, memory := gauges()
	for model, n := range w.queue.Depth() {
		c <- prometheus.MustNewConstMetric(queueDepth, prometheus.GaugeValue, float64(n), model)
	}
	total := uint64(0)
	for _, s := range w.pool.Workers() {
		up := 0.0
		if s.State == "loaded" {
			up = 1
		}
		total += s.Resident
		c <- prometheus.MustNewConstMetric(workerUp, prometheus.GaugeValue, up, s.Worker)
	}
	c <- prometheus.MustNewConstMetric(memory, prometheus.GaugeValue, float64(total), "workers")
}

// Wrap measures requests by their routes' patterns.
func (m *Metrics) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		s := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			route := r.Pattern
			if route == "" {
				route = "none"
			}
			m.httpRequests.WithLabelValues(route, strconv.Itoa(s.status)).Observe(time.Since(start).Seconds())
		}()
		next.ServeHTTP(s, r)
	})
}

// statusWriter remembers the status.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (s *statusWriter) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (s *statusWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }
