package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// byteProgress shows how much of a number of bytes is done: as a bar, in lines,
// as JSON events or, where w is nil, not at all.
type byteProgress struct {
	w    io.Writer
	show func(p *byteProgress, done, total int64)
	bar  *progressbar.ProgressBar
	last time.Time // when something was shown
}

// bytesEvent is progress under --json.
type bytesEvent struct {
	Event string `json:"event"` // "convert"
	Done  int64  `json:"done"`  // bytes
	Of    int64  `json:"of"`
}

// newByteProgress chooses how to show progress.
func (r *run) newByteProgress(quiet bool) *byteProgress {
	switch {
	case r.json:
		return &byteProgress{w: r.out, show: (*byteProgress).event}
	case quiet:
		return &byteProgress{}
	case isTerminal(r.err):
		return &byteProgress{w: r.err, show: (*byteProgress).render}
	}
	return &byteProgress{w: r.err, show: (*byteProgress).line}
}

// advance is told of progress, and shows it a few times a second at most.
func (p *byteProgress) advance(done, total int64) {
	if p.w != nil && (done == total || time.Since(p.last) > 250*time.Millisecond) {
		p.last = time.Now()
		p.show(p, done, total)
	}
}

func (p *byteProgress) event(done, total int64) { writeEvent(p.w, bytesEvent{"convert", done, total}) }

func (p *byteProgress) line(done, total int64) {
	fmt.Fprintf(p.w, "converted %s of %s\n", byteSize(uint64(done)), byteSize(uint64(total)))
}

func (p *byteProgress) render(done, total int64) {
	if p.bar == nil {
		p.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(p.w),
			progressbar.OptionSetDescription("converting"),
			progressbar.OptionSetWidth(24),
			progressbar.OptionShowBytes(true),
			progressbar.OptionShowCount(),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionClearOnFinish(),
		)
	}
	_ = p.bar.Set64(done) // a terminal that is gone shows nothing
}

// close wipes the bar off the terminal.
func (p *byteProgress) close() {
	if p.bar != nil {
		_ = p.bar.Clear()
		p.bar = nil
	}
}
