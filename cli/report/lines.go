package report

import (
	"fmt"
	"io"
	"time"
)

// lines reports in lines, at most one a second.
type lines struct {
	w     io.Writer
	now   func() time.Time
	intro string // of the model; it waits for the first progress: a refused request is one line
	last  time.Time
	first map[string]time.Duration // of a picture and pass: when its first step was done
}

// due reports whether a line is to be written: for the last of several parts, or
// after a second.
func (l *lines) due(p Progress) bool {
	now := l.now()
	if p.Index != p.Of && now.Sub(l.last) < time.Second {
		return false
	}
	l.last = now
	return true
}

func (l *lines) Loaded(m Load) {
	l.intro = fmt.Sprintf("loaded %s in %s", Printable(m.Model), Short(duration(m.Seconds)))
}

func (l *lines) Progress(p Progress) {
	if l.intro != "" {
		fmt.Fprintln(l.w, l.intro)
		l.intro = ""
	}
	if p.Stage == Upscale && p.Of > 1 && l.due(p) {
		fmt.Fprintf(l.w, "picture %d, tile %d of %d, %s\n", p.Picture+1, p.Index, p.Of, Short(p.Elapsed))
	}
	if p.Stage != Sample {
		return
	}
	if p.Index == 1 {
		if l.first == nil {
			l.first = map[string]time.Duration{}
		}
		l.first[p.picture()] = p.Elapsed
	}
	if !l.due(p) {
		return
	}
	each := p.Elapsed / time.Duration(p.Index)
	fmt.Fprintf(l.w, "%s, step %d", p.picture(), p.Index)
	if p.Of > 0 {
		fmt.Fprintf(l.w, " of %d", p.Of)
	}
	fmt.Fprintf(l.w, ", %s a step", Short(each))
	// The first step is slower than those that come: it reads the weights.
	steady := each
	if first, known := l.first[p.picture()]; known && p.Index > 1 {
		steady = (p.Elapsed - first) / time.Duration(p.Index-1)
	}
	if left := steady * time.Duration(p.Of-p.Index); left > 0 {
		fmt.Fprintf(l.w, ", %s left", Short(left))
	}
	fmt.Fprintln(l.w)
}

func (l *lines) Saved(i Image)         { writeImage(l.w, i) }
func (l *lines) Upscaled(u Upscaled)   { writeUpscaled(l.w, u) }
func (l *lines) Sheet(s Sheet)         { writeSheet(l.w, s) }
func (l *lines) Job(j Job, d JobsDone) { writeJob(l.w, j, d) }
func (l *lines) Done(d Done)           { writeDone(l.w, d) }
func (l *lines) Close()                {}

// picture names the picture and, after the first, its pass.
func (p Progress) picture() string {
	if p.Pass == 0 {
		return fmt.Sprintf("picture %d", p.Picture+1)
	}
	return fmt.Sprintf("picture %d, pass %d", p.Picture+1, p.Pass+1)
}

// writeImage says what a picture was made with.
func writeImage(w io.Writer, i Image) {
	path := i.Path
	if path == "" {
		path = fmt.Sprintf("picture %d of %d", i.Picture, i.Of)
	}
	fmt.Fprintf(w, "%s: seed %d, %dx%d, %d steps of %s\n", Printable(path), i.Seed, i.Width, i.Height, i.Steps, i.Sampler)
}

func writeUpscaled(w io.Writer, u Upscaled) {
	fmt.Fprintf(w, "%s: %dx%d in %.1f s\n", Printable(u.Path), u.Width, u.Height, u.Seconds)
}

func writeSheet(w io.Writer, s Sheet) {
	fmt.Fprintf(w, "%s: %s\n", Printable(s.Path), Plural(s.Images, "picture"))
}

// writeJob says how far all jobs are. Skipped ones pass in silence, but for the
// last.
func writeJob(w io.Writer, j Job, d JobsDone) {
	if j.State == JobSkipped && d.Ended != d.Of {
		return
	}
	if j.State == JobFailed {
		fmt.Fprintln(w, j.Message)
	}
	fmt.Fprintf(w, "%d of %s", d.Ended, Plural(d.Of, "job"))
	if drawn := d.Ended - d.Skipped; d.Ended < d.Of && drawn > 0 {
		fmt.Fprintf(w, ", %s left", Short(d.Elapsed/time.Duration(drawn)*time.Duration(d.Of-d.Ended)))
	}
	fmt.Fprintln(w)
}

func writeDone(w io.Writer, d Done) {
	t := d.Timings
	fmt.Fprintf(w, "%s in %.1f s: load %.1f, text %.1f, sampling %.1f, decoding %.1f\n",
		Plural(d.Images, "picture"), t.Total, t.Load, t.Text, t.Sample, t.Decode)
	for i, spent := range t.Stages {
		fmt.Fprintf(w, "stage %d: %.1f s of it\n", i+2, spent)
	}
	if d.Jobs != nil {
		fmt.Fprintf(w, "%s done, %d already there, %d failed\n", Plural(d.Jobs.Done, "job"), d.Jobs.Skipped, d.Jobs.Failed)
	}
}
