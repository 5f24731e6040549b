package report

import "io"

// events reports as JSON, one object a line.
type events struct{ w io.Writer }

// progress is Progress as an event, named "upload" (in MiB), "text", "step",
// "decode" or "upscale".
type progress struct {
	Picture int     `json:"picture,omitempty"` // from 1; not with "upload" and "text"
	Pass    int     `json:"pass,omitempty"`    // of a picture with further passes, from 2
	Index   int     `json:"index"`             // from 1
	Of      int     `json:"of"`
	Seconds float64 `json:"seconds"` // since the stage began
}

func (e events) Progress(p Progress) {
	name := string(p.Stage)
	fields := progress{Picture: p.Picture + 1, Index: p.Index, Of: p.Of, Seconds: Seconds(p.Elapsed)}
	if p.Pass > 0 {
		fields.Pass = p.Pass + 1
	}
	switch p.Stage {
	case Text, Upload:
		fields.Picture = 0
	case Sample:
		name = "step"
	}
	Event(e.w, name, fields)
}

func (e events) Loaded(m Load)       { Event(e.w, "load", m) }
func (e events) Saved(i Image)       { Event(e.w, "image", i) }
func (e events) Upscaled(u Upscaled) { Event(e.w, "upscaled", u) }
func (e events) Sheet(s Sheet)       { Event(e.w, "sheet", s) }
func (e events) Job(j Job, _ JobsDone) {
	Event(e.w, "job", j)
}
func (e events) Done(d Done) { Event(e.w, "done", d) }
func (e events) Close()      {}
