package cli

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/cli/report"
	requests "github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/sd"
)

// jsonParams are what a picture was made with, the params of an image event: the whole
// request as JSON, and what a program would have to work out of it.
type jsonParams struct{ sd.Params }

// jsonExtra are beside the request.
type jsonExtra struct {
	Negative *string `json:"negative,omitempty"`  // where the request leaves it out
	ClipSkip *int    `json:"clip_skip,omitempty"` // 0: the model's own
	Model    string  `json:"model"`
	Hash     string  `json:"model_hash,omitempty"`
	jsonParts
	Decoder string      `json:"decoder,omitempty"` // "TAESD" where that decoded the picture
	Stages  []jsonStage `json:"stages,omitempty"`
}

// jsonParts are the files in place of the model's own networks.
type jsonParts struct {
	VAE     string `json:"vae,omitempty"`
	VAEHash string `json:"vae_hash,omitempty"`
	CLIPL   string `json:"clip_l,omitempty"`
	CLIPG   string `json:"clip_g,omitempty"`
	T5      string `json:"t5xxl,omitempty"`
	LLM     string `json:"llm,omitempty"`
}

// jsonStage are the parameters of a further pass, with its picture's size.
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

// MarshalJSON joins the request and the rest to one object.
func (j jsonParams) MarshalJSON() ([]byte, error) {
	request, err := requestJSON(j.Request)
	if err != nil {
		return nil, err
	}
	p := j.Params
	extra := jsonExtra{Model: p.Model, Hash: p.ModelHash, jsonParts: jsonParts(p.Parts)}
	if p.NegativePrompt == "" {
		extra.Negative = new(string)
	}
	if p.ClipSkip == 0 {
		extra.ClipSkip = new(int)
	}
	if p.TAESD != "" {
		extra.Decoder = "TAESD"
	}
	width, height := p.Width, p.Height
	for _, h := range p.Hires {
		side := func(n int) int { return int(float64(n)*h.Scale) / 8 * 8 }
		if width, height = side(width), side(height); h.Width > 0 {
			width, height = h.Width, h.Height
		}
		extra.Stages = append(extra.Stages, jsonStage{width, height, h.Upscaler, *h.Strength, h.Steps, h.Sampler, h.Schedule, *h.Guidance})
	}
	var b bytes.Buffer
	if err := report.JSON(&b, extra, ""); err != nil {
		return nil, err
	}
	return append(append(request[:len(request)-1], ','), bytes.TrimSpace(b.Bytes())[1:]...), nil
}

// requestJSON is a request as JSON. Texts of a command line that are not UTF-8 become
// it.
func requestJSON(q sd.Request) (json.RawMessage, error) {
	valid := func(s string) string { return strings.ToValidUTF8(s, "\ufffd") }
	q.Image, q.Mask = nil, nil
	for _, s := range []*string{&q.Prompt, &q.NegativePrompt, &q.ImageFile, &q.MaskFile, &q.Refiner, &q.TAESD} {
		*s = valid(*s)
	}
	if t := q.Interpolate; t != nil && t.Prompt != nil {
		other, text := *t, valid(*t.Prompt)
		other.Prompt = &text
		q.Interpolate = &other
	}
	passes := append([]sd.HiresPass(nil), q.Hires...)
	for i := range passes {
		passes[i].Upscaler = valid(passes[i].Upscaler)
	}
	q.Hires = passes
	q.Controls = append([]sd.RequestControl(nil), q.Controls...)
	for i := range q.Controls {
		c := &q.Controls[i]
		c.Name, c.ImageFile, c.Image, c.FaceFile, c.Face = valid(c.Name), valid(c.ImageFile), nil, valid(c.FaceFile), nil
	}
	for _, f := range guideFiles(&q) {
		*f.name = valid(*f.name)
	}
	for i := range q.Guides {
		g := &q.Guides[i]
		g.Class, g.Image, g.Of = valid(g.Class), nil, nil
	}
	q.ClassifierClass = valid(q.ClassifierClass)
	q.Edits = slices.Clone(q.Edits)
	for i := range q.Edits {
		q.Edits[i].Prompt = valid(q.Edits[i].Prompt)
	}
	return requests.Encode(q)
}
