package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/sdgo/sdgo/sd"
)

// events reports as JSON, one object a line. docs/cli.md documents the fields,
// which other programs depend on.
type events struct{ w io.Writer }

type loadEvent struct {
	Event   string  `json:"event"` // "load"
	Model   string  `json:"model"`
	Threads int     `json:"threads"` // of the CPU
	Seconds float64 `json:"seconds"`
}

type progressEvent struct {
	Event   string  `json:"event"`             // "upload" (MiB), "text", "step", "decode" or "upscale"
	Picture int     `json:"picture,omitempty"` // from 1; not with "upload" and "text"
	Pass    int     `json:"pass,omitempty"`    // of a picture with further stages, from 1
	Index   int     `json:"index"`             // from 1
	Of      int     `json:"of"`
	Seconds float64 `json:"seconds"` // since the stage began
}

type imageEvent struct {
	Event   string     `json:"event"`   // "image"
	Picture int        `json:"picture"` // from 1
	Of      int        `json:"of"`
	Path    string     `json:"path"` // empty on a contact sheet
	Seed    int64      `json:"seed"`
	Params  jsonParams `json:"params"`
}

// jsonParams are a picture's parameters, named like the flags.
type jsonParams struct {
	Prompt    string  `json:"prompt"`
	Negative  string  `json:"negative"`
	Width     int     `json:"width"`
	Height    int     `json:"height"`
	Steps     int     `json:"steps"`
	CFGScale  float64 `json:"cfg_scale"`
	Sampler   string  `json:"sampler"`
	Schedule  string  `json:"schedule"`
	Seed      int64   `json:"seed"`
	RNG       string  `json:"rng"`
	ClipSkip  int     `json:"clip_skip"`            // 0: the model's own
	DeepCache int     `json:"deep_cache,omitempty"` // 1 is as without
	Strength  float64 `json:"strength,omitempty"`
	Model     string  `json:"model"`

	Decoder string      `json:"decoder,omitempty"` // "TAESD" where that decoded the picture
	To      *string     `json:"to,omitempty"`      // of the picture that this one is on the way to,
	ToSeed  *int64      `json:"to_seed,omitempty"`
	At      *float64    `json:"at,omitempty"` // how far
	Stages  []jsonStage `json:"stages,omitempty"`
}

// jsonStage are the parameters of a further pass.
type jsonStage struct {
	Width    int     `json:"width"`
	Height   int     `json:"height"`
	Upscaler string  `json:"upscaler"`
	Strength float64 `json:"strength"`
	Steps    int     `json:"steps"`
	Sampler  string  `json:"sampler"`
	Schedule string  `json:"schedule"`
	CFGScale float64 `json:"cfg_scale"`
}

func jsonStages(p sd.Params) (all []jsonStage) {
	width, height := p.Width, p.Height
	for _, h := range p.Hires {
		side := func(n int) int { return int(float64(n)*h.Scale) / 8 * 8 }
		if width, height = side(width), side(height); h.Width > 0 {
			width, height = h.Width, h.Height
		}
		all = append(all, jsonStage{width, height, h.Upscaler, *h.Strength, h.Steps, h.Sampler, h.Schedule, *h.Guidance})
	}
	return all
}

// upscaledEvent is a picture that sdgo upscale has written.
type upscaledEvent struct {
	Event   string  `json:"event"`   // "upscaled"
	Picture int     `json:"picture"` // from 1
	Of      int     `json:"of"`
	From    string  `json:"from"`
	Path    string  `json:"path"`
	Width   int     `json:"width"`
	Height  int     `json:"height"`
	Seconds float64 `json:"seconds"`
}

// warningEvent is what a person should know although all goes on.
type warningEvent struct {
	Event   string `json:"event"` // "warning"
	Message string `json:"message"`
}

type sheetEvent struct {
	Event  string `json:"event"` // "sheet"
	Images int    `json:"images"`
	Path   string `json:"path"`
}

type doneEvent struct {
	Event   string  `json:"event"` // "done"
	Images  int     `json:"images"`
	Timings timings `json:"timings"`
}

// writeEvent writes one line. What can't be written, r.out remembers.
func writeEvent(w io.Writer, event any) { _ = encodeJSON(w, event, "") }

// encodeJSON writes a value and a new line. Whatever is not to be shown as it
// is, such as a terminal's control characters and marks that turn the direction
// of text, is escaped.
func encodeJSON(w io.Writer, value any, indent string) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	if err := e.Encode(value); err != nil {
		return err
	}
	_, err := w.Write(escapeJSON(b.Bytes()))
	return err
}

// escapeJSON escapes what stands in JSON's strings and can't be printed. Outside
// of them JSON has ASCII alone.
func escapeJSON(text []byte) []byte {
	hidden := func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }
	if bytes.IndexFunc(text, hidden) < 0 {
		return text
	}
	out := make([]byte, 0, len(text)+len(text)/8)
	for _, r := range string(text) {
		if !hidden(r) {
			out = utf8.AppendRune(out, r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			out = fmt.Appendf(out, `\u%04x`, unit)
		}
	}
	return out
}

func (r *events) loaded(model string, threads int, after time.Duration) {
	writeEvent(r.w, loadEvent{"load", model, threads, seconds(after)})
}

func (r *events) progress(e sd.Event) {
	p := progressEvent{Event: string(e.Stage), Picture: e.Picture + 1, Index: e.Index, Of: e.Of, Seconds: seconds(e.Elapsed)}
	if e.Pass > 0 {
		p.Pass = e.Pass + 1
	}
	switch e.Stage {
	case sd.StageText, sd.StageUpload:
		p.Picture = 0
	case sd.StageSample:
		p.Event = "step"
	}
	writeEvent(r.w, p)
}

func (r *events) saved(e sd.Event, path string) {
	p := e.Image.Params
	params := jsonParams{
		Prompt: p.Prompt, Negative: p.NegativePrompt, Width: p.Width, Height: p.Height,
		Steps: p.Steps, CFGScale: *p.Guidance, Sampler: p.Sampler, Schedule: p.Schedule,
		Seed: p.Seed, RNG: string(p.RNG), ClipSkip: p.ClipSkip, DeepCache: p.DeepCache, Model: p.Model,
		Stages: jsonStages(p),
	}
	if p.Strength != nil {
		params.Strength = *p.Strength
	}
	if p.TAESD != "" {
		params.Decoder = "TAESD"
	}
	if t := p.Interpolate; t != nil {
		params.To, params.ToSeed, params.At = t.Prompt, t.Seed, &t.At
	}
	writeEvent(r.w, imageEvent{"image", e.Picture + 1, e.Of, path, p.Seed, params})
}

func (r *events) upscaled(e upscaledEvent) { writeEvent(r.w, e) }

func (r *events) sheet(n int, path string) { writeEvent(r.w, sheetEvent{"sheet", n, path}) }

func (r *events) done(n int, t timings) { writeEvent(r.w, doneEvent{"done", n, t}) }
func (r *events) close()                {}
