package openai

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"net/http"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/server/loose"
	"github.com/sdgo/sdgo/server/reply"
	"github.com/sdgo/sdgo/server/service"
)

// Bounds of a request.
const (
	maxPrompt = 32_000 // characters
	maxFiles  = 16     // pictures of an edit
	maxNumber = 10     // pictures
)

// drawing is a request that was read.
type drawing struct {
	order   service.Order
	kind    string // of the events: image_generation or image_edit
	url     bool   // pictures as addresses
	stream  bool
	partial int
	format  string
	quality string
}

// decoder reads a request.
type decoder struct {
	*loose.Object
	api   *API
	ctx   context.Context
	out   *drawing
	r     *request.Request
	files map[string][][]byte // of a form
}

// read reads a request of JSON or a form. One that edits or varies begins with a picture.
func (a *API) read(r *http.Request, editing, varying bool) (*drawing, []byte, error) {
	body, err := reply.Body(r)
	if err != nil {
		return nil, nil, err
	}
	o, files, err := parse(r.Header.Get("Content-Type"), body)
	if err != nil {
		return nil, nil, err
	}
	d := &decoder{o, a, r.Context(), &drawing{kind: "image_generation"}, &request.Request{Seed: request.RandomSeed}, files}
	d.out.order = service.Order{API: "openai", Client: client(r), Told: true}
	if editing {
		d.out.kind = "image_edit"
	}
	d.prompt(varying)
	d.model()
	d.size()
	d.quality()
	d.format()
	d.streaming()
	d.extensions()
	d.r.Count = 1
	if n, ok := d.Int("n"); ok {
		if n < 1 || n > maxNumber {
			d.Add("n", "value", "must be 1 to %d, got %d", maxNumber, n)
		}
		d.r.Count = int(min(max(n, 1), maxNumber))
	}
	if err := d.Err(); err != nil {
		return nil, nil, err
	}
	if editing {
		if err := d.pictures(varying); err != nil {
			return nil, nil, err
		}
	}
	d.out.order.Requests = []request.Request{*d.r}
	d.out.order.Previews = d.out.stream && d.out.partial > 0
	return d.out, body, nil
}

// extraArgs is how stable-diffusion.cpp's clients put further fields into a prompt.
var extraArgs = regexp.MustCompile(`(?s)<sd_cpp_extra_args>(.*?)</sd_cpp_extra_args>`)

func (d *decoder) prompt(optional bool) {
	text, ok := d.String("prompt")
	if !ok && !optional {
		d.Add("prompt", "missing", "is missing")
	}
	if m := extraArgs.FindStringSubmatch(text); m != nil {
		text = strings.TrimSpace(extraArgs.ReplaceAllString(text, ""))
		var more map[string]any
		if json.Unmarshal([]byte(m[1]), &more) != nil {
			d.Add("prompt", "value", "its sd_cpp_extra_args must be a JSON object")
		}
		for key, v := range more {
			if key != "prompt" {
				d.Set(key, v)
			}
		}
	}
	if n := len([]rune(text)); n > maxPrompt {
		d.Add("prompt", "value", "must be at most %d characters, got %d", maxPrompt, n)
	}
	d.r.Prompt = text
	if v, ok := d.String("negative_prompt"); ok {
		d.r.NegativePrompt = v
	}
}

// model finds the model. A name that begins with dall-e asks for addresses of pictures.
func (d *decoder) model() {
	name, _ := d.String("model")
	d.out.url = strings.HasPrefix(strings.ToLower(name), "dall-e")
	d.out.order.Model = name
	if _, err := d.api.service.Model(d.out.order.Client, name); err != nil && d.api.options.AnyModel {
		d.out.order.Model = ""
	}
	if format, ok := d.String("response_format"); ok {
		d.out.url = format == "url"
		if format != "url" && format != "b64_json" {
			d.Add("response_format", "value", "must be url or b64_json, got %.40q", format)
		}
	}
}

var sizeText = regexp.MustCompile(`^(\d{1,5})\s*[xX]\s*(\d{1,5})$`)

// size reads WxH, whose sides are rounded to what models draw.
func (d *decoder) size() {
	text, ok := d.String("size")
	if !ok || text == "" || text == "auto" {
		return
	}
	m := sizeText.FindStringSubmatch(text)
	if m == nil {
		d.Add("size", "value", "must be auto or WxH, such as 512x768, got %.40q", text)
		return
	}
	w, _ := strconv.Atoi(m[1])
	h, _ := strconv.Atoi(m[2])
	if w < 8 || h < 8 || w > request.MaxSide || h > request.MaxSide || w > 3*h || h > 3*w {
		d.Add("size", "value", "sides must be 8 to %d, and one at most three times the other, got %dx%d", request.MaxSide, w, h)
		return
	}
	d.r.Width, d.r.Height = (w+4)/8*8, (h+4)/8*8
}

// stepsOf are the steps of a quality; auto leaves them to the default.
func stepsOf(quality string) (int, bool) {
	n, ok := map[string]int{"low": 12, "standard": 20, "medium": 20, "high": 30, "hd": 30, "xhigh": 40, "max": 50, "auto": 0}[quality]
	return n, ok
}

func (d *decoder) quality() {
	d.out.quality = "auto"
	text, ok := d.String("quality")
	if !ok || text == "" {
		return
	}
	n, known := stepsOf(strings.ToLower(text))
	if !known {
		d.Add("quality", "value", "must be low, medium, high, xhigh, max, auto, standard or hd, got %.40q", text)
		return
	}
	d.out.quality, d.r.Steps = strings.ToLower(text), n
}

// oneOf checks a text that changes nothing here.
func (d *decoder) oneOf(key string, words ...string) {
	if v, ok := d.String(key); ok && !slices.Contains(words, v) {
		d.Add(key, "value", "must be %s, got %.40q", strings.Join(words, " or "), v)
	}
}

func (d *decoder) format() {
	d.out.format = "png"
	if v, ok := d.String("output_format"); ok {
		f, err := picture.ParseFormat(v)
		if err != nil {
			d.Add("output_format", "value", "%v", err)
		}
		d.out.format = string(f)
	}
	d.out.order.Output.Format = d.out.format
	if v, ok := d.Int("output_compression"); ok {
		if v < 0 || v > 100 {
			d.Add("output_compression", "value", "must be 0 to 100, got %d", v)
		}
		if d.out.format == "jpeg" { // PNG and WebP are lossless here
			d.out.order.Output.Quality = int(max(1, v))
		}
	}
	if v, ok := d.String("background"); ok && v != "opaque" && v != "auto" {
		d.Add("background", "value", "must be opaque or auto: models draw no transparency, got %.40q", v)
	}
	for _, key := range []string{"frame_count", "frame_duration_ms"} {
		if d.Has(key) {
			d.Add(key, "value", "is not supported: there are no animations")
		}
	}
	d.oneOf("moderation", "low", "auto")
	d.oneOf("style", "vivid", "natural")
	d.oneOf("input_fidelity", "low", "high")
	for _, key := range []string{"user", "safety_identifier", "complexity"} { // of OpenAI's own affairs
		d.Raw(key)
	}
}

func (d *decoder) streaming() {
	d.out.stream, _ = d.Bool("stream")
	if v, ok := d.Int("partial_images"); ok {
		if v < 0 || v > 3 {
			d.Add("partial_images", "value", "must be 0 to 3, got %d", v)
		}
		d.out.partial = int(v)
	}
}

// extensions are fields that local servers have beside OpenAI's.
func (d *decoder) extensions() {
	if v, ok := d.Int("seed"); ok && v >= 0 {
		d.r.Seed = v
	}
	if v, ok := d.Int("steps"); ok {
		if v < 1 || v > request.MaxSteps {
			d.Add("steps", "value", "must be 1 to %d, got %d", request.MaxSteps, v)
		}
		d.r.Steps = int(min(max(v, 1), request.MaxSteps))
	}
	for _, key := range []string{"cfg_scale", "guidance_scale"} {
		if v, ok := d.Float(key); ok {
			d.r.Guidance = &v
		}
	}
	for _, key := range []string{"sampler", "sample_method", "sampler_name"} {
		if v, ok := d.String(key); ok && v != "" {
			if _, err := sampler.Lookup(v); err != nil {
				d.Add(key, "value", "%v", err)
			}
			d.r.Sampler = v
		}
	}
	for _, key := range []string{"scheduler", "schedule"} {
		if v, ok := d.String(key); ok && v != "" && !strings.EqualFold(v, "automatic") {
			s, err := sampler.LookupSchedule(v)
			if err != nil {
				d.Add(key, "value", "%v", err)
			}
			d.r.Schedule = s.Name
		}
	}
	if v, ok := d.Int("clip_skip"); ok && v > 0 {
		d.r.ClipSkip = int(min(v, 1000))
	}
	if v, ok := d.Float("strength"); ok {
		d.r.Strength = &v
	}
}
