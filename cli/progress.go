package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/sdgo/sdgo/sd"
)

// reporter shows a request's progress: as a bar, in lines, as JSON events
// (json.go) or not at all.
type reporter interface {
	loaded(model string, threads int, after time.Duration)
	progress(e sd.Event)           // every stage but StageImage
	saved(e sd.Event, path string) // a picture is in its file, or on the sheet, whose path is ""
	upscaled(e upscaledEvent)      // an enlarged picture is in its file
	sheet(pictures int, path string)
	done(pictures int, t timings) // all went well
	// A job of a batch has ended: `ended` of `of` have, `skipped` at no cost.
	job(e jobEvent, ended, of int, after time.Duration, skipped int)
	batchDone(images int, n batchCounts, t timings) // every job has ended
	close()                                         // whatever happened; nothing comes after it
}

// timings are what the parts of a request took, in seconds.
type timings struct {
	Load   float64 `json:"load"`
	Text   float64 `json:"text"`
	Encode float64 `json:"encode,omitempty"` // of a picture to begin with
	Sample float64 `json:"sample"`
	Decode float64 `json:"decode"`
	Total  float64 `json:"total"`
}

// seconds rounds to milliseconds.
func seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }

// newReporter chooses how to report.
func (r *run) newReporter(quiet bool) reporter {
	switch {
	case r.json:
		return &events{w: r.out}
	case quiet:
		return silence{}
	case isTerminal(r.err):
		return &bars{w: r.err}
	}
	return &lines{w: r.err}
}

// silence reports nothing.
type silence struct{}

func (silence) loaded(string, int, time.Duration) {}
func (silence) progress(sd.Event)                 {}
func (silence) saved(sd.Event, string)            {}
func (silence) upscaled(upscaledEvent)            {}
func (silence) sheet(int, string)                 {}
func (silence) done(int, timings)                 {}
func (silence) close()                            {}

// lines reports in lines, at most one a second.
type lines struct {
	w     io.Writer
	begun bool
	intro string // waits for the first event: a refused request is one line
	last  time.Time
}

// passOf names a picture and, behind the first, its pass.
func passOf(e sd.Event) string {
	if e.Pass == 0 {
		return fmt.Sprintf("picture %d", e.Picture+1)
	}
	return fmt.Sprintf("picture %d, pass %d", e.Picture+1, e.Pass+1)
}

// due reports whether a line is to be written: for the last of several, or
// after a second.
func (l *lines) due(e sd.Event) bool {
	if e.Index != e.Of && time.Since(l.last) < time.Second {
		return false
	}
	l.last = time.Now()
	return true
}

func (l *lines) loaded(model string, threads int, after time.Duration) {
	l.intro = fmt.Sprintf("loaded %s in %s", printable(model), short(after))
}

func (l *lines) progress(e sd.Event) {
	if !l.begun && l.intro != "" {
		l.begun = true
		fmt.Fprintln(l.w, l.intro)
	}
	if e.Stage == sd.StageUpscale && e.Of > 1 && l.due(e) {
		fmt.Fprintf(l.w, "picture %d, tile %d of %d, %s\n", e.Picture+1, e.Index, e.Of, short(e.Elapsed))
	}
	if e.Stage != sd.StageSample || !l.due(e) {
		return
	}
	each := e.Elapsed / time.Duration(e.Index)
	fmt.Fprintf(l.w, "%s, step %d", passOf(e), e.Index)
	if e.Of > 0 {
		fmt.Fprintf(l.w, " of %d", e.Of)
	}
	fmt.Fprintf(l.w, ", %s a step", short(each))
	if left := each * time.Duration(e.Of-e.Index); left > 0 {
		fmt.Fprintf(l.w, ", %s left", short(left))
	}
	fmt.Fprintln(l.w)
}

func (l *lines) saved(e sd.Event, path string) { writeSaved(l.w, e, path) }
func (l *lines) upscaled(e upscaledEvent)      { writeUpscaled(l.w, e) }
func (l *lines) sheet(n int, path string)      { writeSheet(l.w, n, path) }
func (l *lines) done(n int, t timings)         { writeDone(l.w, n, t) }
func (l *lines) close()                        {}

// writeSaved says what a picture was made with.
func writeSaved(w io.Writer, e sd.Event, path string) {
	p := e.Image.Params
	if path == "" {
		path = fmt.Sprintf("picture %d of %d", e.Picture+1, e.Of)
	}
	size := e.Image.Image.Rect.Size()
	fmt.Fprintf(w, "%s: seed %d, %dx%d, %d steps of %s\n", printable(path), p.Seed, size.X, size.Y, p.Steps, p.Sampler)
}

func writeUpscaled(w io.Writer, e upscaledEvent) {
	fmt.Fprintf(w, "%s: %dx%d in %.1f s\n", printable(e.Path), e.Width, e.Height, e.Seconds)
}

// writeSheet says where the contact sheet is.
func writeSheet(w io.Writer, n int, path string) {
	fmt.Fprintf(w, "%s: %s\n", printable(path), plural(n, "picture"))
}

func writeDone(w io.Writer, n int, t timings) {
	fmt.Fprintf(w, "%s in %.1f s: load %.1f, text %.1f, sampling %.1f, decoding %.1f\n",
		plural(n, "picture"), t.Total, t.Load, t.Text, t.Sample, t.Decode)
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// short is a duration with about two digits.
func short(d time.Duration) string {
	switch {
	case d < 100*time.Millisecond:
		return fmt.Sprintf("%.0f ms", d.Seconds()*1000)
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// bars reports on a terminal, with a bar for each picture's steps and one for
// its decoding.
type bars struct {
	w       io.Writer
	bar     *progressbar.ProgressBar
	count   int  // steps of the bar
	picture int  // whose steps it shows; those drawn together with it are
	busy    bool // not shown while it is being sampled
}

// begin replaces the bar by another of n parts; n is 0 if that is not known.
func (b *bars) begin(description string, n int) {
	b.close()
	b.count = n
	if n == 0 {
		n = -1
	}
	b.bar = progressbar.NewOptions(n,
		progressbar.OptionSetWriter(b.w),
		progressbar.OptionSetDescription(description),
		progressbar.OptionSetWidth(24),
		progressbar.OptionShowCount(),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionSetElapsedTime(true),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetRenderBlankState(true),
	)
}

func (b *bars) loaded(string, int, time.Duration) { b.begin("text", 1) }

func (b *bars) progress(e sd.Event) {
	switch e.Stage {
	case sd.StageUpload:
		if e.Of != b.count || b.bar == nil {
			b.begin("uploading, MiB", e.Of)
		}
		_ = b.bar.Set(e.Index)
		if e.Index == e.Of {
			b.begin("text", 1)
		}
	case sd.StageSample:
		if e.Index == 1 && !b.busy {
			b.picture, b.busy = e.Picture, true
		}
		if e.Picture != b.picture {
			return
		}
		picture := passOf(e)
		if e.Index == 1 || b.bar == nil {
			b.begin(picture, e.Of)
		}
		b.bar.Describe(picture + ", " + short(e.Elapsed/time.Duration(e.Index)) + "/step")
		_ = b.bar.Set(e.Index) // a terminal that is gone shows nothing
		if e.Index == e.Of {
			b.busy = false
			b.begin("decoding", 1)
		}
	case sd.StageDecode:
		b.busy = false
		if e.Of != b.count || b.bar == nil {
			b.begin("decoding", e.Of)
		}
		_ = b.bar.Set(e.Index)
	case sd.StageUpscale:
		if e.Index == 1 || b.bar == nil {
			b.begin(fmt.Sprintf("upscaling %d", e.Picture+1), e.Of)
		}
		_ = b.bar.Set(e.Index)
	}
}

func (b *bars) saved(e sd.Event, path string) {
	b.close()
	writeSaved(b.w, e, path)
}

func (b *bars) upscaled(e upscaledEvent) {
	b.close()
	writeUpscaled(b.w, e)
}

func (b *bars) sheet(n int, path string) { writeSheet(b.w, n, path) }

func (b *bars) done(n int, t timings) { writeDone(b.w, n, t) }

// close wipes the bar off the terminal.
func (b *bars) close() {
	if b.bar != nil {
		_ = b.bar.Clear()
		b.bar = nil
	}
}
