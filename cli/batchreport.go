package cli

import (
	"fmt"
	"io"
	"time"
)

// jobEvent tells that a job has ended.
type jobEvent struct {
	Event   string `json:"event"` // "job"
	Line    int    `json:"line"`  // of the file of jobs
	State   string `json:"state"` // "done", "skipped" or "failed"
	Images  int    `json:"images"`
	Message string `json:"message,omitempty"` // why it failed
}

// batchCounts are the jobs by what became of them.
type batchCounts struct {
	Done    int `json:"done"`
	Skipped int `json:"skipped"` // they had been done before
	Failed  int `json:"failed"`
}

// batchDoneEvent is the end of all jobs.
type batchDoneEvent struct {
	Event   string      `json:"event"` // "done"
	Images  int         `json:"images"`
	Jobs    batchCounts `json:"jobs"`
	Timings timings     `json:"timings"`
}

func (r *events) job(e jobEvent, _, _ int, _ time.Duration, _ int) { writeEvent(r.w, e) }

func (r *events) batchDone(images int, n batchCounts, t timings) {
	writeEvent(r.w, batchDoneEvent{"done", images, n, t})
}

func (silence) job(jobEvent, int, int, time.Duration, int) {}
func (silence) batchDone(int, batchCounts, timings)        {}
func (l *lines) batchDone(i int, n batchCounts, t timings) { writeBatchDone(l.w, i, n, t) }
func (b *bars) batchDone(i int, n batchCounts, t timings)  { writeBatchDone(b.w, i, n, t) }

func (l *lines) job(e jobEvent, ended, of int, after time.Duration, skipped int) {
	writeJob(l.w, e, ended, of, after, skipped)
}

func (b *bars) job(e jobEvent, ended, of int, after time.Duration, skipped int) {
	b.close()
	writeJob(b.w, e, ended, of, after, skipped)
}

// writeJob says how far all jobs are: `ended` of them, `skipped` at no cost.
func writeJob(w io.Writer, e jobEvent, ended, of int, after time.Duration, skipped int) {
	if e.State == "skipped" && ended != of {
		return
	}
	if e.State == "failed" {
		fmt.Fprintln(w, e.Message)
	}
	fmt.Fprintf(w, "%d of %s", ended, plural(of, "job"))
	if drawn := ended - skipped; ended < of && drawn > 0 {
		fmt.Fprintf(w, ", %s left", short(after/time.Duration(drawn)*time.Duration(of-ended)))
	}
	fmt.Fprintln(w)
}

func writeBatchDone(w io.Writer, images int, n batchCounts, t timings) {
	writeDone(w, images, t)
	fmt.Fprintf(w, "%s done, %d there before, %d failed\n", plural(n.Done, "job"), n.Skipped, n.Failed)
}
