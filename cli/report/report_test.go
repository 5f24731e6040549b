package report

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// clock is a clock that stands still until it is moved.
type clock struct{ t time.Time }

func newClock() *clock { return &clock{time.Unix(1000, 0)} }

func (c *clock) now() time.Time          { return c.t }
func (c *clock) advance(d time.Duration) { c.t = c.t.Add(d) }

// step is a denoising step.
func step(picture, index, of int, elapsed time.Duration) Progress {
	return Progress{Stage: Sample, Picture: picture, Index: index, Of: of, Elapsed: elapsed}
}

// tell reports two pictures and what else there is.
func tell(r Reporter, c *clock) {
	r.Loaded(Load{Model: "tiny\x1b", Threads: 2, Seconds: 0.25})
	r.Progress(Progress{Stage: Text, Index: 1, Of: 1, Elapsed: time.Millisecond})
	for i := 1; i <= 4; i++ {
		c.advance(400 * time.Millisecond)
		r.Progress(step(0, i, 4, time.Duration(i)*400*time.Millisecond))
	}
	r.Progress(Progress{Stage: Decode, Picture: 0, Index: 1, Of: 1, Elapsed: time.Second})
	r.Saved(Image{Picture: 1, Of: 2, Path: "out.png", Seed: 5, Width: 64, Height: 32, Steps: 4, Sampler: "euler", Params: map[string]int{"steps": 4}})
	r.Saved(Image{Picture: 2, Of: 2, Seed: 6, Width: 64, Height: 32, Steps: 4, Sampler: "euler"})
	r.Upscaled(Upscaled{Picture: 1, Of: 2, From: "a.png", Path: "a-x2.png", Width: 128, Height: 64, Seconds: 1.25})
	r.Sheet(Sheet{Images: 2, Path: "sheet.png"})
	r.Done(Done{Images: 2, Timings: Timings{Load: 0.25, Text: 0.5, Sample: 1, Decode: 2, Total: 4}})
	r.Close()
}

// What is left is reckoned without the first step, which reads the weights and takes longer.
func TestTimeLeftLeavesTheFirstStepOut(t *testing.T) {
	var out strings.Builder
	l := &lines{w: &out, now: func() time.Time { return time.Unix(1e9, 0) }}
	for i := range 4 {
		l.last = time.Time{}
		l.Progress(Progress{Stage: Sample, Index: i + 1, Of: 8, Elapsed: time.Duration(10+i) * time.Second})
	}
	require.Contains(t, out.String(), "step 1 of 8, 10 s a step, 70 s left\n")
	require.Contains(t, out.String(), "step 4 of 8, 3.2 s a step, 4.0 s left\n")
}

func TestLines(t *testing.T) {
	var w bytes.Buffer
	c := newClock()
	tell(New(Lines, &w, c.now), c)
	require.Equal(t, strings.Join([]string{
		`loaded tiny\x1b in 0.2 s`,
		"picture 1, step 1 of 4, 0.4 s a step, 1.2 s left",
		"picture 1, step 4 of 4, 0.4 s a step",
		"out.png: seed 5, 64x32, 4 steps of euler",
		"picture 2 of 2: seed 6, 64x32, 4 steps of euler",
		"a-x2.png: 128x64 in 1.2 s",
		"sheet.png: 2 pictures",
		"2 pictures in 4.0 s: load 0.2, text 0.5, sampling 1.0, decoding 2.0",
		"",
	}, "\n"), w.String())
}

// There is at most a line a second, but for the last of several parts. Passes are
// named, a number of steps that is not known is not.
func TestLinesAreFew(t *testing.T) {
	var w bytes.Buffer
	c := newClock()
	r := New(Lines, &w, c.now)
	for i := 1; i <= 50; i++ {
		c.advance(100 * time.Millisecond)
		p := step(2, i, 0, time.Duration(i)*100*time.Millisecond)
		p.Pass = 1
		r.Progress(p)
	}
	require.Equal(t, 5, strings.Count(w.String(), "\n"))
	require.True(t, strings.HasPrefix(w.String(), "picture 3, pass 2, step 1, 0.1 s a step\npicture 3, pass 2, step 11, "), w.String())

	w.Reset()
	for i := 1; i <= 3; i++ {
		r.Progress(Progress{Stage: Upscale, Picture: 1, Index: i, Of: 3, Elapsed: time.Second})
	}
	r.Progress(Progress{Stage: Upscale, Index: 1, Of: 1}) // no tiles
	require.Equal(t, "picture 2, tile 3 of 3, 1.0 s\n", w.String())
}

// A request that is refused once the model is open leaves one line, the error's.
func TestLinesWaitForProgress(t *testing.T) {
	var w bytes.Buffer
	r := New(Lines, &w, newClock().now)
	r.Loaded(Load{Model: "tiny"})
	r.Close()
	require.Empty(t, w.String())
}

func TestJobs(t *testing.T) {
	for _, c := range []struct {
		job  Job
		done JobsDone
		want string
	}{
		{Job{State: JobSkipped}, JobsDone{Ended: 1, Of: 5, Skipped: 1}, ""},
		{Job{State: JobDone}, JobsDone{Ended: 3, Of: 5, Skipped: 1, Elapsed: 4 * time.Second}, "3 of 5 jobs, 4.0 s left\n"},
		{Job{State: JobFailed, Message: "no"}, JobsDone{Ended: 4, Of: 5, Skipped: 4}, "no\n4 of 5 jobs\n"},
		{Job{State: JobSkipped}, JobsDone{Ended: 1, Of: 1, Skipped: 1}, "1 of 1 job\n"},
	} {
		for _, style := range []Style{Lines, Bars} {
			var w bytes.Buffer
			New(style, &w, newClock().now).Job(c.job, c.done)
			require.Equal(t, c.want, w.String())
		}
	}
	var w bytes.Buffer
	New(Lines, &w, nil).Done(Done{Images: 1, Jobs: &Jobs{Done: 1, Skipped: 2, Failed: 3}})
	require.Equal(t, "1 picture in 0.0 s: load 0.0, text 0.0, sampling 0.0, decoding 0.0\n1 job done, 2 already there, 3 failed\n", w.String())
}

func TestSilence(t *testing.T) {
	var w bytes.Buffer
	c := newClock()
	r := New(Silent, &w, c.now)
	tell(r, c)
	r.Job(Job{}, JobsDone{})
	require.Empty(t, w.String())
}

func TestEvents(t *testing.T) {
	var w bytes.Buffer
	c := newClock()
	r := New(Events, &w, c.now)
	tell(r, c)
	r.Progress(Progress{Stage: Upload, Picture: 3, Index: 7, Of: 9, Elapsed: 1500 * time.Microsecond})
	r.Progress(Progress{Stage: Sample, Picture: 3, Pass: 1, Index: 7, Of: 9})
	r.Job(Job{Line: 3, State: JobFailed, Message: "no"}, JobsDone{})
	r.Done(Done{Images: 1, Jobs: &Jobs{Done: 1}, Timings: Timings{Encode: 0.5}})
	require.Equal(t, strings.Join([]string{
		`{"event":"load","model":"tiny\u001b","threads":2,"seconds":0.25}`,
		`{"event":"text","index":1,"of":1,"seconds":0.001}`,
		`{"event":"step","picture":1,"index":1,"of":4,"seconds":0.4}`,
		`{"event":"step","picture":1,"index":2,"of":4,"seconds":0.8}`,
		`{"event":"step","picture":1,"index":3,"of":4,"seconds":1.2}`,
		`{"event":"step","picture":1,"index":4,"of":4,"seconds":1.6}`,
		`{"event":"decode","picture":1,"index":1,"of":1,"seconds":1}`,
		`{"event":"image","picture":1,"of":2,"path":"out.png","seed":5,"params":{"steps":4}}`,
		`{"event":"image","picture":2,"of":2,"path":"","seed":6,"params":null}`,
		`{"event":"upscaled","picture":1,"of":2,"from":"a.png","path":"a-x2.png","width":128,"height":64,"seconds":1.25}`,
		`{"event":"sheet","images":2,"path":"sheet.png"}`,
		`{"event":"done","images":2,"timings":{"load":0.25,"text":0.5,"sample":1,"decode":2,"total":4}}`,
		`{"event":"upload","index":7,"of":9,"seconds":0.002}`,
		`{"event":"step","picture":4,"pass":2,"index":7,"of":9,"seconds":0}`,
		`{"event":"job","line":3,"state":"failed","images":0,"message":"no"}`,
		`{"event":"done","images":1,"jobs":{"done":1,"skipped":0,"failed":0},"timings":{"load":0,"text":0,"encode":0.5,"sample":0,"decode":0,"total":0}}`,
		"",
	}, "\n"), w.String())

	w.Reset()
	Event(&w, "empty", struct{}{})
	require.Equal(t, "{\"event\":\"empty\"}\n", w.String())
}
