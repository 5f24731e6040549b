package report

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// Bytes shows how much of a file is converted or fetched.
type Bytes struct {
	verb  string
	style Style
	w     io.Writer
	now   func() time.Time
	bar   *progressbar.ProgressBar
	last  time.Time // when something was shown
}

// BytesDone is progress as an event.
type BytesDone struct {
	Done int64 `json:"done"` // bytes
	Of   int64 `json:"of"`
}

// NewBytes shows progress in a style on w. now is the clock; the verb, such as convert or
// fetch, says what is done, and is the name of events.
func NewBytes(verb string, style Style, w io.Writer, now func() time.Time) *Bytes {
	return &Bytes{verb: verb, style: style, w: w, now: now}
}

// Advance receives the number of bytes that are done, and shows it a few times a
// second at most.
func (b *Bytes) Advance(done, total int64) {
	now := b.now()
	if b.style == Silent || done != total && now.Sub(b.last) <= 250*time.Millisecond {
		return
	}
	b.last = now
	switch b.style {
	case Events:
		Event(b.w, b.verb, BytesDone{done, total})
	case Lines:
		fmt.Fprintf(b.w, "%sed %s of %s\n", b.verb, Size(uint64(done)), Size(uint64(total)))
	case Bars:
		b.render(done, total)
	}
}

func (b *Bytes) render(done, total int64) {
	if b.bar == nil {
		b.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(b.w),
			progressbar.OptionSetDescription(b.verb+"ing"),
			progressbar.OptionSetWidth(24),
			progressbar.OptionShowBytes(true),
			progressbar.OptionShowCount(),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionClearOnFinish(),
		)
	}
	_ = b.bar.Set64(done) // a terminal that is gone shows nothing
}

// Close wipes the bar off the terminal.
func (b *Bytes) Close() {
	if b.bar != nil {
		_ = b.bar.Clear()
		b.bar = nil
	}
}
