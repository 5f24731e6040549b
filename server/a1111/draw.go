package a1111

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/server/catalog"
	"github.com/sdgo/sdgo/server/queue"
	"github.com/sdgo/sdgo/server/reply"
	"github.com/sdgo/sdgo/server/service"
)

// result is the reply to a request for pictures.
type result struct {
	Images     []string        `json:"images"`
	Parameters json.RawMessage `json:"parameters"`
	Info       string          `json:"info"`
}

// draw answers a request for pictures when they are finished.
func (a *API) draw(img2img bool) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := reply.Body(r)
		if err != nil {
			fail(w, err)
			return
		}
		d, err := a.read(r.Context(), client(r), body, img2img)
		if err != nil {
			fail(w, err)
			return
		}
		j, err := a.service.Order(d.order)
		if err != nil {
			fail(w, err)
			return
		}
		init := d.order.Requests
		d.order.Requests = init[:1:1] // the others' pictures are the job's
		reply.Late(w, r, a.keep, func(ctx context.Context) (*result, error) {
			v, err := a.service.Await(ctx, j, d.order.Key != "")
			if err != nil {
				return nil, err
			}
			if f := service.Failure(v); f != nil && v.State != queue.Cancelled {
				return nil, f
			}
			return a.result(d, j, v)
		}, func(err error) { fail(w, err) })
	}
}

// result makes the reply: what is finished of a job, all of it or what was finished when
// it was interrupted.
func (a *API) result(d *drawing, j *queue.Job, v queue.View) (*result, error) {
	e, err := a.service.Catalog.Lookup("model", j.Spec.Model, catalog.Checkpoint, catalog.Refiner)
	if err != nil {
		e = catalog.Entry{Name: j.Spec.Model, File: j.Spec.Model}
	}
	out := &result{Images: []string{}, Parameters: d.echo()}
	info := newInfo(d, e, a.service.Version, v.Began)
	if vae, err := a.service.VAE(j.Spec.Client, cmp.Or(j.Spec.VAE, "Automatic")); err == nil && vae.Name != "" {
		a.service.Catalog.Hash(vae)
		hash := vae.ShortHash()
		info.VAEName, info.VAEHash = &vae.File, &hash
	}
	for _, p := range v.Pictures {
		if p.Draft {
			continue
		}
		if d.sendImages {
			out.Images = append(out.Images, base64.StdEncoding.EncodeToString(p.Data))
		}
		info.add(p)
	}
	if d.sendImages && len(info.AllSeeds) > 0 {
		maps, err := extension{a.service}.maps(d)
		if err != nil {
			return nil, err
		}
		out.Images = append(out.Images, maps...)
	}
	text, err := json.Marshal(info)
	out.Info = string(text)
	return out, err
}

// echo is the request as it was sent; its pictures only where they were asked for.
func (d *drawing) echo() json.RawMessage {
	var all map[string]json.RawMessage
	if json.Unmarshal(d.body, &all) != nil || all == nil {
		return json.RawMessage("{}")
	}
	if !d.includeInit {
		for _, key := range []string{"init_images", "mask"} {
			if _, ok := all[key]; ok {
				all[key] = json.RawMessage("null")
			}
		}
		if scripts, ok := all["alwayson_scripts"]; ok {
			all["alwayson_scripts"] = withoutPictures(scripts)
		}
	}
	text, err := json.Marshal(all)
	if err != nil {
		return json.RawMessage("{}")
	}
	return text
}

// info is what the web UI says of pictures.
type info struct {
	Prompt          string         `json:"prompt"`
	AllPrompts      []string       `json:"all_prompts"`
	Negative        string         `json:"negative_prompt"`
	AllNegatives    []string       `json:"all_negative_prompts"`
	Seed            int64          `json:"seed"`
	AllSeeds        []int64        `json:"all_seeds"`
	Subseed         int64          `json:"subseed"`
	AllSubseeds     []int64        `json:"all_subseeds"`
	SubseedStrength float64        `json:"subseed_strength"`
	Width           int            `json:"width"`
	Height          int            `json:"height"`
	Sampler         string         `json:"sampler_name"`
	CFG             float64        `json:"cfg_scale"`
	Steps           int            `json:"steps"`
	BatchSize       int            `json:"batch_size"`
	RestoreFaces    bool           `json:"restore_faces"`
	FaceModel       *string        `json:"face_restoration_model"`
	ModelName       string         `json:"sd_model_name"`
	ModelHash       string         `json:"sd_model_hash"`
	VAEName         *string        `json:"sd_vae_name"`
	VAEHash         *string        `json:"sd_vae_hash"`
	ResizeW         int            `json:"seed_resize_from_w"`
	ResizeH         int            `json:"seed_resize_from_h"`
	Denoising       *float64       `json:"denoising_strength"`
	Extra           map[string]any `json:"extra_generation_params"`
	First           int            `json:"index_of_first_image"`
	Infotexts       []string       `json:"infotexts"`
	Styles          []string       `json:"styles"`
	Timestamp       string         `json:"job_timestamp"`
	ClipSkip        int            `json:"clip_skip"`
	Inpainting      bool           `json:"is_using_inpainting_conditioning"`
	Version         string         `json:"version"`
	IgnoredSettings []string       `json:"ignored_settings,omitempty"`
}

// timestamp is how the web UI writes times.
const timestamp = "20060102150405"

func newInfo(d *drawing, e catalog.Entry, version string, began time.Time) *info {
	r := d.order.Requests[0]
	i := &info{Prompt: r.Prompt, Negative: r.NegativePrompt, AllPrompts: []string{}, AllNegatives: []string{}, AllSeeds: []int64{}, AllSubseeds: []int64{}, Infotexts: []string{}, Styles: []string{},
		Seed: d.seed, Subseed: d.subseed, SubseedStrength: d.subseedStrength, Width: r.Width, Height: r.Height, Sampler: r.Sampler, CFG: 7, Steps: r.Steps, BatchSize: d.batch,
		ModelName: e.Name, ModelHash: e.ShortHash(), Extra: d.extra, Timestamp: began.Format(timestamp), ClipSkip: max(1, r.ClipSkip),
		Inpainting: e.Variant == "inpaint", Version: "sdgo " + version, IgnoredSettings: d.ignored}
	if r.Guidance != nil {
		i.CFG = *r.Guidance
	}
	if r.Strength != nil || len(r.Hires) > 0 {
		i.Denoising = &d.denoising
	}
	if r.Schedule != "" {
		i.Extra["Schedule type"] = schedulerLabel(r.Schedule)
	}
	return i
}

// add adds a picture.
func (i *info) add(p *queue.Picture) {
	if len(i.AllSeeds) == 0 {
		i.Seed = int64(p.Seed) // which are below 2^63 here
	}
	subseed := i.Subseed
	if r, err := job.Decode(p.Request); err == nil && r.Interpolate != nil && r.Interpolate.Seed != nil {
		subseed = *r.Interpolate.Seed
	}
	i.AllPrompts, i.AllNegatives = append(i.AllPrompts, i.Prompt), append(i.AllNegatives, i.Negative)
	i.AllSeeds, i.AllSubseeds = append(i.AllSeeds, int64(p.Seed)), append(i.AllSubseeds, subseed)
	i.Infotexts = append(i.Infotexts, p.Text)
}

// progressView is how far a client's job is.
type progressView struct {
	Progress float64       `json:"progress"`
	ETA      float64       `json:"eta_relative"`
	State    progressState `json:"state"`
	Image    *string       `json:"current_image"`
	Text     *string       `json:"textinfo"`
	Task     *string       `json:"current_task"`
}

type progressState struct {
	Skipped     bool   `json:"skipped"`
	Interrupted bool   `json:"interrupted"`
	Stopping    bool   `json:"stopping_generation"`
	Job         string `json:"job"`
	Count       int    `json:"job_count"`
	Timestamp   string `json:"job_timestamp"`
	Number      int    `json:"job_no"`
	Step        int    `json:"sampling_step"`
	Steps       int    `json:"sampling_steps"`
}

// progress answers how far the client's own job is. All is 0 when there is none: clients
// wait for that.
func (a *API) progress(w http.ResponseWriter, r *http.Request) {
	out := progressView{State: progressState{Timestamp: "0"}}
	j := a.own(client(r), r.URL.Query().Get("id_task"))
	if j == nil || j.State().Ended() {
		reply.JSON(w, http.StatusOK, out)
		return
	}
	v, _ := j.View()
	task := j.ID
	if j.Spec.Key != "" {
		task = j.Spec.Key
	}
	out.Task = &task
	out.Progress = min(1, 0.01+0.99*v.Fraction)
	out.ETA = v.Left.Seconds()
	out.State = progressState{Skipped: v.Skipped > 0, Job: task, Count: v.Total, Timestamp: v.Created.Format(timestamp), Number: v.Finished + v.Skipped}
	if v.State == queue.Queued {
		text := "In queue..."
		out.Text = &text
	}
	if v.Task >= 0 && v.Stage == string(request.StageSample) {
		out.State.Step, out.State.Steps = v.Step, v.Of
	}
	if skip := strings.ToLower(r.URL.Query().Get("skip_current_image")); skip != "true" && skip != "1" {
		if p := j.Preview(); p != nil {
			text := base64.StdEncoding.EncodeToString(p.Data)
			out.Image = &text
		}
	}
	reply.JSON(w, http.StatusOK, out)
}

// schedulers are AUTOMATIC1111's schedules, with their labels; those that this program
// has beside them follow.
func schedulers() (all [][2]string) {
	all = [][2]string{{"automatic", "Automatic"}, {"uniform", "Uniform"}, {"karras", "Karras"}, {"exponential", "Exponential"}, {"polyexponential", "Polyexponential"},
		{"sgm_uniform", "SGM Uniform"}, {"kl_optimal", "KL Optimal"}, {"align_your_steps", "Align Your Steps"}, {"simple", "Simple"}, {"normal", "Normal"}, {"ddim", "DDIM"}, {"beta", "Beta"}}
	known := map[string]bool{}
	for _, s := range all {
		if own, err := sampler.LookupSchedule(s[0]); err == nil && s[0] != "automatic" {
			known[own.Name] = true
		}
	}
	for _, s := range sampler.Schedules() {
		if !known[s.Name] {
			all = append(all, [2]string{s.Name, s.Name})
		}
	}
	return all
}

// schedulerLabel is what the web UI calls a schedule.
func schedulerLabel(name string) string {
	for _, s := range schedulers() {
		if own, err := sampler.LookupSchedule(s[0]); err == nil && own.Name == name && s[0] != "automatic" {
			return s[1]
		}
	}
	return name
}
