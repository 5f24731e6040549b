package a1111

import (
	"cmp"
	"net/http"
	"strings"

	"github.com/sdgo/sdgo/internal/limits"
	"github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/server/catalog"
	"github.com/sdgo/sdgo/server/loose"
	"github.com/sdgo/sdgo/server/reply"
	"github.com/sdgo/sdgo/server/service"
)

// lists are what clients ask for when they start: each a value by its path.
func (a *API) lists() map[string]func(*http.Request) any {
	empty := func(*http.Request) any { return []any{} }
	return map[string]func(*http.Request) any{
		"/sdapi/v1/samplers":             samplers,
		"/sdapi/v1/schedulers":           schedulerList,
		"/sdapi/v1/upscalers":            func(*http.Request) any { return upscalers(a) },
		"/sdapi/v1/latent-upscale-modes": func(*http.Request) any { return latentModes(a) },
		"/sdapi/v1/sd-models":            func(*http.Request) any { return models(a) },
		"/sdapi/v1/sd-vae":               func(*http.Request) any { return autoencoders(a) },
		"/sdapi/v1/sd-modules":           empty, // Forge's
		"/sdapi/v1/hypernetworks":        empty,
		"/sdapi/v1/face-restorers":       empty,
		"/sdapi/v1/realesrgan-models":    empty,
		"/sdapi/v1/prompt-styles":        empty,
		"/sdapi/v1/extensions":           empty,
		"/sdapi/v1/loras":                func(*http.Request) any { return loras(a) },
		"/sdapi/v1/embeddings":           a.embeddings,
		"/sdapi/v1/scripts":              func(*http.Request) any { return map[string]any{"txt2img": []string{}, "img2img": []string{}} },
		"/sdapi/v1/script-info":          empty,
		"/sdapi/v1/cmd-flags":            func(*http.Request) any { return map[string]any{"api": true} },
		"/sdapi/v1/memory":               func(*http.Request) any { return memory(a) },
		"/internal/ping":                 func(*http.Request) any { return map[string]any{} },
	}
}

func samplers(*http.Request) any {
	type one struct {
		Name    string            `json:"name"`
		Aliases []string          `json:"aliases"`
		Options map[string]string `json:"options"`
	}
	all := []one{}
	for _, s := range sampler.Samplers() {
		all = append(all, one{s.Name, append([]string{}, s.Aliases...), map[string]string{"scheduler": s.DefaultSchedule()}})
	}
	return all
}

func schedulerList(*http.Request) any {
	type one struct {
		Name    string   `json:"name"`
		Label   string   `json:"label"`
		Aliases []string `json:"aliases"`
		Rho     float64  `json:"default_rho"`
		Inner   bool     `json:"need_inner_model"`
	}
	rho := map[string]float64{"karras": 7, "polyexponential": 1}
	all := []one{}
	for _, s := range schedulers() {
		o := one{Name: s[0], Label: s[1], Aliases: []string{}, Rho: -1}
		if v, ok := rho[s[0]]; ok {
			o.Rho = v
		}
		all = append(all, o)
	}
	return all
}

// upscalerView is an upscaler as JSON. Paths are nobody's business.
type upscalerView struct {
	Name  string  `json:"name"`
	Model *string `json:"model_name"`
	Path  *string `json:"model_path"`
	URL   *string `json:"model_url"`
	Scale float64 `json:"scale"`
}

func upscalers(a *API) any {
	all := []upscalerView{{Name: "None", Scale: 4}, {Name: "Lanczos", Scale: 4}, {Name: "Nearest", Scale: 4}}
	for _, e := range a.service.Catalog.Entries(catalog.Upscaler) {
		name := e.Name
		all = append(all, upscalerView{Name: e.Name, Model: &name, Path: &e.File, Scale: float64(max(e.Scale, 1))})
	}
	return all
}

func latentModes(a *API) any {
	all := []map[string]string{}
	for _, name := range []string{"Latent", "Latent (antialiased)", "Latent (bicubic)", "Latent (bicubic antialiased)", "Latent (nearest)", "Latent (nearest-exact)"} {
		if a.service.IsFilter(name) {
			all = append(all, map[string]string{"name": name})
		}
	}
	return all
}

// modelView is a model as JSON.
type modelView struct {
	Title    string  `json:"title"`
	Name     string  `json:"model_name"`
	Hash     *string `json:"hash"`
	SHA256   *string `json:"sha256"`
	Filename string  `json:"filename"`
	Config   *string `json:"config"`
}

func models(a *API) any {
	all := []modelView{}
	for _, e := range a.service.Catalog.Entries(catalog.Checkpoint, catalog.Refiner) {
		v := modelView{Title: e.Title(), Name: e.Name, Filename: e.File}
		if e.Hash != "" {
			short, long := e.ShortHash(), e.Hash
			v.Hash, v.SHA256 = &short, &long
		}
		all = append(all, v)
	}
	return all
}

// autoencoders are those that models may be opened with.
func autoencoders(a *API) any {
	type one struct {
		Name     string `json:"model_name"`
		Filename string `json:"filename"`
	}
	all := []one{}
	for _, e := range a.service.Catalog.Entries(catalog.VAE) {
		all = append(all, one{e.Name, e.File})
	}
	return all
}

// loras are the adapters that prompts may name. The name of one without its trainer's is
// that of its file.
func loras(a *API) any {
	type one struct {
		Name     string         `json:"name"`
		Alias    string         `json:"alias"`
		Path     string         `json:"path"` // without its folder
		Metadata map[string]any `json:"metadata"`
	}
	all := []one{}
	for _, e := range a.service.Catalog.Entries(catalog.LoRA) {
		all = append(all, one{e.Name, cmp.Or(e.Adapter.Alias, e.Name), e.File, e.Adapter.Values()})
	}
	return all
}

// embeddings are the textual inversions: loaded are those that the client's model can
// use, skipped those that are for others.
func (a *API) embeddings(r *http.Request) any {
	type one struct {
		Step           *int    `json:"step"`
		Checkpoint     *string `json:"sd_checkpoint"`
		CheckpointName *string `json:"sd_checkpoint_name"`
		Shape          int     `json:"shape"`
		Vectors        int     `json:"vectors"`
	}
	model, _ := a.service.Model(client(r), "") // without one, none fits
	all := map[string]map[string]one{"loaded": {}, "skipped": {}}
	for _, e := range a.service.Catalog.Entries(catalog.Embedding) {
		where := "skipped"
		if e.Word.Fits(model) {
			where = "loaded"
		}
		all[where][e.Name] = one{Shape: e.Word.Widths[len(e.Word.Widths)-1], Vectors: e.Word.Vectors}
	}
	return all
}

// memory is how much there is. Of the workers it is the most that they have had.
func memory(a *API) any {
	used := uint64(0)
	for _, s := range a.service.Pool.Workers() {
		used += s.Resident
	}
	free := limits.Memory().Amount
	if free == limits.Unlimited {
		free = 0
	}
	return map[string]any{"ram": map[string]uint64{"free": free, "used": used, "total": free + used}, "cuda": map[string]string{"error": "not measured"}}
}

// settingsView are the settings that there are, for a client.
func (a *API) settingsView(client string) map[string]any {
	title, hash, vae := "", "", "Automatic"
	if e, err := a.service.VAE(client, ""); err == nil && e.Name != "" {
		vae = e.File
	}
	if e, err := a.service.Model(client, ""); err == nil {
		title, hash = e.Title(), e.Hash
	}
	return map[string]any{
		"sd_model_checkpoint": title, "sd_checkpoint_hash": hash, "sd_vae": vae, "CLIP_stop_at_last_layers": 1, "samples_format": "png", "jpeg_quality": 90,
		"eta_noise_seed_delta": 0, "randn_source": "CPU", "enable_pnginfo": true, "samples_save": true, "grid_save": false, "return_grid": false, "forge_preset": "all",
		"outdir_samples": "", "outdir_txt2img_samples": "", "outdir_img2img_samples": "", "outdir_extras_samples": "", "outdir_grids": "", "outdir_txt2img_grids": "", "outdir_img2img_grids": "",
		"show_progress_every_n_steps": 10, "show_progress_type": "Approx NN", "live_previews_enable": true, "inpainting_mask_weight": 1.0, "initial_noise_multiplier": 1.0,
	}
}

func (a *API) options(w http.ResponseWriter, r *http.Request) {
	reply.JSON(w, http.StatusOK, a.settingsView(client(r)))
}

// setOptions takes settings. The model is the client's own from now on; the others are
// fixed, and a value that they don't have is refused where it would change pictures.
// Clients send back the whole dictionary.
func (a *API) setOptions(w http.ResponseWriter, r *http.Request) {
	o, _, err := reply.Object(r)
	if err != nil {
		fail(w, err)
		return
	}
	name, has := o.String("sd_model_checkpoint")
	vae, hasVAE := o.String("sd_vae")
	fixed := map[string]float64{"CLIP_stop_at_last_layers": 1, "eta_noise_seed_delta": 0, "initial_noise_multiplier": 1, "token_merging_ratio": 0}
	for key, want := range fixed {
		if v, ok := o.Float(key); ok && v != want {
			o.Add(key, "value_error", "must be %g for all requests; override_settings of a request can say otherwise where it is supported", want)
		}
	}
	if v, ok := o.String("randn_source"); ok && !strings.EqualFold(v, "CPU") {
		o.Add("randn_source", "value_error", "must be CPU for all requests; override_settings of a request can say otherwise")
	}
	if v, ok := o.String("samples_format"); ok && !strings.EqualFold(v, "png") {
		o.Add("samples_format", "value_error", "must be png for all requests; override_settings of a request can say otherwise")
	}
	if err := o.Err(); err != nil {
		fail(w, err)
		return
	}
	if has && name != "" {
		if err := a.service.Choose(client(r), name); err != nil {
			fail(w, err)
			return
		}
	}
	if hasVAE {
		if err := a.service.ChooseVAE(client(r), vae); err != nil {
			fail(w, err)
			return
		}
	}
	reply.JSON(w, http.StatusOK, nil)
}

// refresh scans the folder of models.
func (a *API) refresh(w http.ResponseWriter, _ *http.Request) {
	if err := a.service.Catalog.Scan(); err != nil {
		fail(w, service.Errorf(http.StatusInternalServerError, "failed", "the folder of models cannot be read"))
		return
	}
	reply.JSON(w, http.StatusOK, nil)
}

func (a *API) unload(w http.ResponseWriter, r *http.Request) {
	if e, err := a.service.Model(client(r), ""); err == nil && !a.service.Pool.Unload(e.Name) {
		fail(w, service.Errorf(http.StatusConflict, "in_use", "the model is in use"))
		return
	}
	reply.JSON(w, http.StatusOK, nil)
}

func (a *API) reload(w http.ResponseWriter, r *http.Request) {
	e, err := a.service.Model(client(r), "")
	if err == nil {
		if loadErr := a.service.Pool.Load(e.Name); loadErr != nil {
			err = service.Errorf(http.StatusConflict, "no_room", "%v", loadErr)
		}
	}
	if err != nil {
		fail(w, err)
		return
	}
	reply.JSON(w, http.StatusOK, nil)
}

// pngInfo reads the parameters of a picture.
func (a *API) pngInfo(w http.ResponseWriter, r *http.Request) {
	o, _, err := reply.Object(r)
	if err != nil {
		fail(w, err)
		return
	}
	image, ok := o.String("image")
	if !ok && o.Err() == nil {
		o.Add("image", "missing", "Field required")
	}
	if err := o.Err(); err != nil {
		fail(w, err)
		return
	}
	data, err := a.service.Inputs.Bytes(r.Context(), image)
	if err == nil {
		_, err = a.service.Inputs.Data(data)
	}
	if err != nil {
		fail(w, loose.Errors{{Loc: []any{"body", "image"}, Msg: "Invalid image: " + err.Error(), Type: "value_error"}})
		return
	}
	out := map[string]any{"info": "", "items": map[string]string{}, "parameters": map[string]string{}}
	if text, err := service.TextOfPicture(data); err == nil {
		out["info"], out["items"], out["parameters"] = text, map[string]string{"parameters": text}, job.Settings(text)
	}
	reply.JSON(w, http.StatusOK, out)
}
