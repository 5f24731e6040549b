package report

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// bars reports on a terminal, with a bar for each picture's steps and one for its
// decoding.
type bars struct {
	w       io.Writer
	bar     *progressbar.ProgressBar
	count   int  // parts of the bar
	picture int  // whose steps it shows; of those drawn together only one has a bar
	busy    bool // that picture is being sampled
}

// begin replaces the bar by another of n parts; n is 0 if that is not known.
func (b *bars) begin(description string, n int) {
	b.Close()
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

// set moves the bar. A terminal that is gone shows nothing.
func (b *bars) set(n int) { _ = b.bar.Set(n) }

func (b *bars) Loaded(Load) { b.begin("text", 1) }

func (b *bars) Progress(p Progress) {
	switch p.Stage {
	case Upload:
		if p.Of != b.count || b.bar == nil {
			b.begin("uploading, MiB", p.Of)
		}
		b.set(p.Index)
		if p.Index == p.Of {
			b.begin("text", 1)
		}
	case Sample:
		b.sample(p)
	case Decode:
		b.busy = false
		if p.Of != b.count || b.bar == nil {
			b.begin("decoding", p.Of)
		}
		b.set(p.Index)
	case Upscale:
		if p.Index == 1 || b.bar == nil {
			b.begin(fmt.Sprintf("upscaling %d", p.Picture+1), p.Of)
		}
		b.set(p.Index)
	}
}

// sample shows a step.
func (b *bars) sample(p Progress) {
	if p.Index == 1 && !b.busy {
		b.picture, b.busy = p.Picture, true
	}
	if p.Picture != b.picture {
		return
	}
	if p.Index == 1 || b.bar == nil {
		b.begin(p.picture(), p.Of)
	}
	b.bar.Describe(p.picture() + ", " + Short(p.Elapsed/time.Duration(p.Index)) + "/step")
	b.set(p.Index)
	if p.Index == p.Of {
		b.busy = false
		b.begin("decoding", 1)
	}
}

func (b *bars) Saved(i Image) {
	b.Close()
	writeImage(b.w, i)
}

func (b *bars) Upscaled(u Upscaled) {
	b.Close()
	writeUpscaled(b.w, u)
}

func (b *bars) Job(j Job, d JobsDone) {
	b.Close()
	writeJob(b.w, j, d)
}

func (b *bars) Sheet(s Sheet) { writeSheet(b.w, s) }
func (b *bars) Done(d Done)   { writeDone(b.w, d) }

// Close wipes the bar off the terminal.
func (b *bars) Close() {
	if b.bar != nil {
		_ = b.bar.Clear()
		b.bar = nil
	}
}
