package a1111

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/server/loose"
	"github.com/sdgo/sdgo/server/service"
	"github.com/sdgo/sdgo/server/wire"
)

// drawing is a request for pictures that was read.
type drawing struct {
	order   service.Order
	ignored []string // settings that were passed over
	body    json.RawMessage

	batch, iterations int
	sendImages        bool
	includeInit       bool
	subseed           int64
	subseedStrength   float64
	seed              int64
	denoising         float64
	extra             map[string]any    // of the metadata
	maps              []request.Control // whose preprocessors' pictures are in the reply
}

// decoder reads a request's fields.
type decoder struct {
	*API
	*loose.Object
	ctx     context.Context
	client  string
	img2img bool
	out     *drawing
	request *request.Request
	units   units // of the ControlNet extension
}

// read reads a request for pictures.
func (a *API) read(ctx context.Context, client string, body []byte, img2img bool) (*drawing, error) {
	o, err := loose.Parse(body)
	if err != nil {
		return nil, err
	}
	d := &decoder{API: a, Object: o, ctx: ctx, client: client, img2img: img2img, out: &drawing{body: body, extra: map[string]any{}}, request: &request.Request{}}
	d.units.decoder = d
	d.out.order = service.Order{API: "a1111", Client: client, Previews: true}
	if err := d.infotext(); err != nil {
		return nil, err
	}
	d.prompts()
	d.numbers()
	d.settings()
	d.samplers()
	d.seeds()
	d.hires()
	d.scripts()
	d.switches()
	d.textless()
	if err := d.Err(); err != nil {
		return nil, err
	}
	if err := d.units.apply(); err != nil {
		return nil, err
	}
	if img2img {
		if err := d.pictures(); err != nil {
			return nil, err
		}
	} else {
		d.spread(nil)
	}
	return d.out, d.Err()
}

// refuse says that a field is not supported.
func (d *decoder) refuse(key, why string) { d.Add(key, "value_error", "%s", why) }

// infotext takes the parameters of a picture for what the request does not say.
func (d *decoder) infotext() error {
	text, ok := d.String("infotext")
	if !ok || text == "" {
		return nil
	}
	p, unread, err := job.ReadText(text)
	if err != nil {
		d.refuse("infotext", err.Error())
		return nil
	}
	for _, u := range unread {
		d.out.ignored = append(d.out.ignored, "infotext: "+u.String())
	}
	r := p.Request
	if t := r.Interpolate; r.UnsignedSeed || t != nil && t.UnsignedSeed {
		d.refuse("infotext", "its seeds must be below 2^63")
		return nil
	}
	r.ImageFile, r.MaskFile = "", ""
	*d.request = r
	for key, v := range map[string]any{"prompt": r.Prompt, "negative_prompt": r.NegativePrompt, "sampler_name": r.Sampler, "scheduler": r.Schedule, "seed": r.Seed,
		"width": r.Width, "height": r.Height, "steps": r.Steps} {
		if v != "" && v != 0 {
			d.Set(key, v)
		}
	}
	if r.Guidance != nil {
		d.Set("cfg_scale", *r.Guidance)
	}
	if r.Strength != nil {
		d.Set("denoising_strength", *r.Strength)
	}
	if r.ClipSkip > 0 {
		d.Set("clip_skip", r.ClipSkip)
	}
	if t := r.Interpolate; t != nil && t.Seed != nil {
		d.Set("subseed", *t.Seed)
		d.Set("subseed_strength", t.At)
	}
	d.request.Interpolate, d.request.Hires, d.request.Count = nil, nil, 0
	if len(r.Hires) > 0 {
		h := r.Hires[0]
		d.Set("enable_hr", true)
		d.Set("hr_scale", max(h.Scale, 0))
		d.Set("hr_resize_x", h.Width)
		d.Set("hr_resize_y", h.Height)
		d.Set("hr_upscaler", h.Upscaler)
		d.Set("hr_second_pass_steps", h.Steps)
		if h.Strength != nil {
			d.Set("denoising_strength", *h.Strength)
		}
	}
	return nil
}

// networkTag is a tag of an extra network in a prompt.
var networkTag = regexp.MustCompile(`<(?:lora|lyco|hypernet):[^<>]*>`)

func (d *decoder) prompts() {
	r := d.request
	if v, ok := d.String("prompt"); ok {
		r.Prompt = v
	}
	if v, ok := d.String("negative_prompt"); ok {
		r.NegativePrompt = v
	}
	if off, _ := d.Bool("disable_extra_networks"); off {
		r.Prompt, r.NegativePrompt = networkTag.ReplaceAllString(r.Prompt, ""), networkTag.ReplaceAllString(r.NegativePrompt, "")
	}
	d.Strings("styles") // there are none, and names that are not known are passed over
}

// integer is a whole number within bounds; otherwise is its default.
func (d *decoder) integer(key string, otherwise, low, high int64) int64 {
	v, ok := d.Int(key)
	if !ok {
		return otherwise
	}
	if v < low || v > high {
		d.Add(key, "value_error", "must be %d to %d, got %d", low, high, v)
		return otherwise
	}
	return v
}

// number is the same for any number.
func (d *decoder) number(key string, otherwise, low, high float64) float64 {
	v, ok := d.Float(key)
	if !ok {
		return otherwise
	}
	if !(v >= low && v <= high) {
		d.Add(key, "value_error", "must be %g to %g, got %g", low, high, v)
		return otherwise
	}
	return v
}

// aligned rounds a side down to what models draw.
func aligned(n int64) int { return max(8, int(n)/8*8) }

func (d *decoder) numbers() {
	r := d.request
	r.Steps = int(d.integer("steps", 50, 1, request.MaxSteps))
	cfg := d.number("cfg_scale", 7, 0, 1000)
	r.Guidance = &cfg
	r.Width = aligned(d.integer("width", 512, 1, request.MaxSide))
	r.Height = aligned(d.integer("height", 512, 1, request.MaxSide))
	d.out.batch = int(d.integer("batch_size", 1, 1, 1024))
	d.out.iterations = int(d.integer("n_iter", 1, 1, 1024))
	d.out.denoising = d.number("denoising_strength", 0.75, 0, 1)
	if v := d.integer("clip_skip", 0, 0, 100); v > 1 {
		r.ClipSkip = int(v)
	}
	for _, side := range []string{"seed_resize_from_w", "seed_resize_from_h"} {
		if v, ok := d.Int(side); ok && v > 0 {
			d.refuse(side, "is not supported; 0 or -1 turns it off")
		}
	}
}

// settings reads override_settings, which hold for this request alone.
func (d *decoder) settings() {
	d.Bool("override_settings_restore_afterwards") // always, since there is a queue
	o := d.Sub("override_settings")
	if o == nil {
		o, _ = loose.Parse(nil)
	}
	d.out.order.Model, d.out.order.VAE = d.networks(o)
	if v, ok := o.Int("CLIP_stop_at_last_layers"); ok && v > 1 && v <= 100 {
		d.request.ClipSkip = int(v)
	}
	if v, ok := o.Float("token_merging_ratio"); ok {
		if v < 0 || v > request.MaxTokenMerging {
			o.Add("token_merging_ratio", "value_error", "must be 0 to %g, got %g", request.MaxTokenMerging, v)
		}
		d.request.TokenMerging = v
	}
	if v, ok := o.Int("eta_noise_seed_delta"); ok && v != 0 {
		o.Add("eta_noise_seed_delta", "value_error", "must be 0, got %d", v)
	}
	if v, ok := o.String("randn_source"); ok {
		switch strings.ToLower(v) {
		case "cpu":
			d.request.RNG = request.TorchRNG
		case "gpu", "nv":
			d.request.RNG = request.PhiloxRNG
		default:
			o.Add("randn_source", "value_error", "must be CPU, GPU or NV, got %.40q", v)
		}
	}
	d.out.order.Output = d.format(o)
	for _, key := range o.Unknown() {
		d.out.ignored = append(d.out.ignored, "override_settings."+key)
	}
}

// format is how pictures are encoded, by the settings of a request.
func (d *decoder) format(o *loose.Object) (out wire.Output) {
	if v, ok := o.String("samples_format"); ok {
		f, err := picture.ParseFormat(v)
		if err != nil {
			o.Add("samples_format", "value_error", "%v", err)
		}
		out.Format = string(f)
	}
	if v, ok := o.Int("jpeg_quality"); ok {
		if v < 1 || v > 100 {
			o.Add("jpeg_quality", "value_error", "must be 1 to 100, got %d", v)
		}
		out.Quality = int(v)
	}
	if v, ok := o.Bool("enable_pnginfo"); ok {
		out.Bare = !v
	}
	return out
}

// sameAs are what clients send for "the same as in the first pass".
func sameAs(name string) bool {
	return name == "" || strings.EqualFold(name, "none") || strings.HasPrefix(strings.ToLower(name), "use same")
}

// samplers reads the sampler, the schedule and the sampler's own numbers.
func (d *decoder) samplers() {
	r := d.request
	name, ok := d.String("sampler_name")
	if index, has := d.String("sampler_index"); !ok || name == "" {
		if name = "Euler"; has && index != "" {
			name = index
		}
	}
	s, err := sampler.Lookup(name)
	if err != nil {
		d.Add("sampler_name", "sampler_not_found", "Sampler not found: %v", err)
		return
	}
	r.Sampler, r.Schedule = name, d.scheduler("scheduler")
	takes := func(option string) bool {
		return slices.ContainsFunc(s.Parameters, func(p sampler.Parameter) bool { return p.Name == option })
	}
	for _, option := range []string{"eta", "s_churn", "s_tmin", "s_tmax", "s_noise"} {
		v, ok := d.Float(option)
		if !ok || !takes(option) || option == "s_tmax" && v == 0 { // 0 is no limit
			continue
		}
		if r.SamplerOptions == nil {
			r.SamplerOptions = map[string]float64{}
		}
		r.SamplerOptions[option] = v
	}
	if v, ok := d.Float("s_min_uncond"); ok && v > 0 {
		d.refuse("s_min_uncond", "is not supported; 0 turns it off")
	}
}

// scheduler is the name of a schedule; "" is the sampler's own.
func (d *decoder) scheduler(key string) string {
	name, ok := d.String(key)
	if !ok || strings.EqualFold(name, "automatic") || sameAs(name) {
		return ""
	}
	s, err := sampler.LookupSchedule(name)
	if err != nil {
		d.Add(key, "scheduler_not_found", "Scheduler not found: %v", err)
		return ""
	}
	return s.Name
}

func (d *decoder) seeds() {
	const most = 1<<63 - 1 - 2*request.MaxCount
	d.out.seed = d.integer("seed", -1, -1<<62, most)
	if d.out.seed < 0 {
		d.out.seed = service.Seed()
	}
	d.out.subseed = d.integer("subseed", -1, -1<<62, most)
	if d.out.subseed < 0 {
		d.out.subseed = service.Seed()
	}
	d.out.subseedStrength = d.number("subseed_strength", 0, 0, 1)
}

// hires reads the second pass.
func (d *decoder) hires() {
	on, _ := d.Bool("enable_hr")
	var h request.HiresPass
	scale := d.number("hr_scale", 2, 0, 1000)
	x, y := d.integer("hr_resize_x", 0, 0, request.MaxSide), d.integer("hr_resize_y", 0, 0, request.MaxSide)
	firstW, firstH := d.integer("firstphase_width", 0, 0, request.MaxSide), d.integer("firstphase_height", 0, 0, request.MaxSide)
	h.Steps = int(d.integer("hr_second_pass_steps", 0, 0, request.MaxSteps))
	upscaler, _ := d.String("hr_upscaler")
	samplerName, _ := d.String("hr_sampler_name")
	schedule := d.scheduler("hr_scheduler")
	checkpoint, _ := d.String("hr_checkpoint_name")
	prompt, _ := d.String("hr_prompt")
	negative, _ := d.String("hr_negative_prompt")
	guidance, hasGuidance := d.Float("hr_cfg")
	d.List("hr_additional_modules") // Forge's, for models of other families
	if !on {
		return
	}
	if d.img2img {
		d.refuse("enable_hr", "is not for img2img")
		return
	}
	r := d.request
	switch {
	case firstW > 0 && firstH > 0: // the old way to say it
		x, y = int64(r.Width), int64(r.Height)
		r.Width, r.Height = aligned(firstW), aligned(firstH)
	case firstW > 0 || firstH > 0:
		d.refuse("firstphase_width", "must be given together with firstphase_height")
	}
	hiresSize(&h, r, scale, x, y)
	h.Upscaler = upscalerOf(upscaler)
	if !sameAs(samplerName) {
		if _, err := sampler.Lookup(samplerName); err != nil {
			d.Add("hr_sampler_name", "sampler_not_found", "Sampler not found: %v", err)
		}
		h.Sampler = samplerName
	}
	h.Schedule = schedule
	strength := d.out.denoising
	h.Strength = &strength
	if hasGuidance && guidance > 0 {
		h.Guidance = &guidance
	}
	if !sameAs(checkpoint) {
		d.refuse("hr_checkpoint_name", "is not supported: the second pass uses the same model")
	}
	if prompt != "" && prompt != r.Prompt {
		d.refuse("hr_prompt", "is not supported: the second pass has the same prompt")
	}
	if negative != "" && negative != r.NegativePrompt {
		d.refuse("hr_negative_prompt", "is not supported: the second pass has the same negative prompt")
	}
	r.Hires = []request.HiresPass{h}
}

// hiresSize is the size of the second pass: by a scale, or a width and a height, one of
// which may be left to the picture's proportions.
func hiresSize(h *request.HiresPass, r *request.Request, scale float64, x, y int64) {
	switch {
	case x == 0 && y == 0:
		h.Scale = scale
		return
	case y == 0:
		y = x * int64(r.Height) / int64(r.Width)
	case x == 0:
		x = y * int64(r.Width) / int64(r.Height)
	}
	h.Width, h.Height = aligned(x), aligned(y)
}

// upscalerOf is an upscaler's name here; "None" scales pixels.
func upscalerOf(name string) string {
	switch strings.ToLower(name) {
	case "":
		return "latent"
	case "none":
		return "lanczos"
	}
	return name
}

// switches reads what is off or on.
func (d *decoder) switches() {
	for _, key := range []string{"restore_faces", "tiling"} {
		if on, _ := d.Bool(key); on {
			d.refuse(key, "is not supported")
		}
	}
	for _, key := range []string{"do_not_save_samples", "do_not_save_grid", "save_images"} {
		d.Bool(key) // what is kept is the server's affair
	}
	d.out.sendImages = true
	if v, ok := d.Bool("send_images"); ok {
		d.out.sendImages = v
	}
	if c := d.Sub("comments"); c != nil && len(c.Keys()) > 0 {
		d.refuse("comments", "is not supported")
	}
	if v, ok := d.String("force_task_id"); ok {
		if len(v) > 128 {
			d.refuse("force_task_id", "must be at most 128 bytes")
		}
		d.out.order.Key = v
	}
	if name, ok := d.String("refiner_checkpoint"); ok && !sameAs(name) {
		d.request.Refiner = name
		if v, ok := d.Float("refiner_switch_at"); ok {
			d.request.RefinerAt = &v
		}
	} else {
		d.Float("refiner_switch_at")
		d.request.Refiner, d.request.RefinerAt = "", nil
	}
}

// scripts reads what extensions would do.
func (d *decoder) scripts() {
	if name, ok := d.String("script_name"); ok && !sameAs(name) {
		d.Add("script_name", "value_error", "Script '%.80s' not found", name)
	}
	d.List("script_args")
	all := d.Sub("alwayson_scripts")
	if all == nil {
		return
	}
	for _, name := range all.Keys() {
		switch strings.ToLower(name) {
		case "controlnet":
			d.units.read(all.Sub(name))
		default:
			all.Add(name, "value_error", "always on script %.80s not found", name)
		}
	}
}

// spread makes a request of each picture. images are the initial pictures: none, one for
// all, or one for each picture of a batch.
func (d *decoder) spread(with func(r *request.Request, i int)) {
	for i := range d.out.batch * d.out.iterations {
		r := *d.request
		r.Seed = d.out.seed + int64(i)
		if d.out.subseedStrength > 0 { // variations of one picture
			seed := d.out.subseed + int64(i)
			r.Seed = d.out.seed
			r.Interpolate = &request.Interpolation{Seed: &seed, At: d.out.subseedStrength}
		}
		if with != nil {
			with(&r, i)
		}
		d.out.order.Requests = append(d.out.order.Requests, r)
		if i > 4096 {
			d.Add("n_iter", "value_error", "too many pictures: %d", d.out.batch*d.out.iterations)
			return
		}
	}
}

// text is a value for an error.
func text(v any) string { return fmt.Sprintf("%.40v", v) }
