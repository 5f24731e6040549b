package a1111

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"net/http"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/sd/preprocess"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/server/catalog"
	"github.com/sdgo/sdgo/server/loose"
	"github.com/sdgo/sdgo/server/reply"
	"github.com/sdgo/sdgo/server/service"
)

// registerControlNet adds the routes of the ControlNet extension.
func (a *API) registerControlNet(r Router) {
	get := func(path string, of func() any) {
		r.HandleFunc("GET /controlnet/"+path, func(w http.ResponseWriter, _ *http.Request) { reply.JSON(w, http.StatusOK, of()) })
	}
	get("version", func() any { return map[string]int{"version": 3} })
	get("model_list", func() any { return map[string][]string{"model_list": a.controlModels()} })
	get("module_list", func() any { return modules() })
	get("control_types", func() any { return map[string]any{"control_types": a.controlTypes()} })
	get("settings", func() any { return map[string]int{"control_net_unit_count": request.MaxControls} })
	r.HandleFunc("POST /controlnet/detect", a.detect)
}

// controlModels are the networks as the extension lists them, with a part of their hashes
// as soon as these are known.
func (a *API) controlModels() []string {
	all := []string{}
	for _, e := range a.service.Catalog.Entries(catalog.Control) {
		a.service.Catalog.Hash(e)
		name := e.Name
		if e.Hash != "" {
			name = fmt.Sprintf("%s [%s]", e.Name, e.Hash[:8])
		}
		all = append(all, name)
	}
	return all
}

// sliders are the parameters of preprocessors that the extension's threshold_a and
// threshold_b set.
var sliders = map[string][]string{
	"canny": {"low", "high"}, "scribble": {"threshold"}, "threshold": {"level"}, "blur": {"sigma"}, "tile": {"factor"},
	"recolor_luminance": {"gamma"}, "recolor_intensity": {"gamma"},
}

// moduleOf is the extension's name of a preprocessor.
func moduleOf(p preprocess.Preprocessor) string {
	if len(p.Aliases) > 0 && p.Name != "canny" {
		return p.Aliases[0]
	}
	return p.Name
}

// modules are the preprocessors, and what sets them.
func modules() any {
	type slider struct {
		Name  string  `json:"name"`
		Value float64 `json:"value"`
		Min   float64 `json:"min"`
		Max   float64 `json:"max"`
	}
	type detail struct {
		ModelFree bool     `json:"model_free"`
		Sliders   []slider `json:"sliders"`
	}
	names, details := []string{"none"}, map[string]detail{"none": {Sliders: []slider{}}}
	for _, p := range preprocess.All() {
		d := detail{Sliders: []slider{}}
		if p.Scales() {
			d.Sliders = append(d.Sliders, slider{"Resolution", usualResolution, preprocess.MinResolution, preprocess.MaxResolution})
		}
		for _, name := range sliders[p.Name] {
			i := slices.IndexFunc(p.Parameters, func(x preprocess.Parameter) bool { return x.Name == name })
			x := p.Parameters[i]
			d.Sliders = append(d.Sliders, slider{x.Help, x.Default, x.Min, x.Max})
		}
		name := moduleOf(p)
		names = append(names, name)
		details[name] = d
	}
	return map[string]any{"module_list": names, "module_detail": details}
}

// controlKinds are the extension's kinds of control: the words of networks' names, and the
// preprocessor that usually goes with them.
var controlKinds = []struct{ name, word, module string }{
	{"All", "", ""}, {"Canny", "canny", "canny"}, {"Depth", "depth", ""}, {"IP-Adapter", "ip-adapter", ""}, {"Inpaint", "inpaint", ""}, {"InstructP2P", "ip2p", ""},
	{"Lineart", "lineart", "lineart"}, {"MLSD", "mlsd", ""}, {"NormalMap", "normal", ""}, {"OpenPose", "openpose", ""}, {"Recolor", "recolor", "recolor_luminance"},
	{"Scribble", "scribble", "scribble"}, {"Segmentation", "seg", ""}, {"Shuffle", "shuffle", "shuffle"}, {"SoftEdge", "softedge", ""}, {"T2I-Adapter", "t2i", ""}, {"Tile", "tile", "tile"},
}

// controlTypes are the kinds, with the networks and preprocessors of each.
func (a *API) controlTypes() map[string]any {
	all, models := map[string]any{}, a.controlModels()
	for _, k := range controlKinds {
		some, names := []string{"None"}, []string{"none"}
		for _, m := range models {
			if strings.Contains(strings.ToLower(m), k.word) {
				some = append(some, m)
			}
		}
		usual := "none"
		for _, p := range preprocess.All() {
			if k.word == "" || p.Name == k.module {
				names = append(names, moduleOf(p))
			}
			if p.Name == k.module {
				usual = moduleOf(p)
			}
		}
		model := "None"
		if k.word != "" && len(some) > 1 {
			model = some[1]
		}
		all[k.name] = map[string]any{"module_list": names, "model_list": some, "default_option": usual, "default_model": model}
	}
	return all
}

// usualResolution is the extension's own: the shorter side that preprocessors see.
const usualResolution = 512

// module is a preprocessor with the extension's settings; those that are out of range are
// its own.
func module(name string, resolution int64, thresholds ...float64) (preprocess.Preprocessor, error) {
	p, err := preprocess.Lookup(name)
	if err != nil {
		return p, err
	}
	for i, parameter := range sliders[p.Name] {
		if i < len(thresholds) && thresholds[i] >= 0 {
			if with, err := p.With(map[string]float64{parameter: thresholds[i]}); err == nil {
				p = with
			}
		}
	}
	if p.Scales() && resolution != 0 {
		if resolution < preprocess.MinResolution || resolution > preprocess.MaxResolution {
			resolution = usualResolution
		}
		return p.With(map[string]float64{"resolution": float64(resolution)})
	}
	return p, nil
}

// detect answers with what a preprocessor makes of pictures.
func (a *API) detect(w http.ResponseWriter, r *http.Request) {
	o, _, err := reply.Object(r)
	if err != nil {
		fail(w, err)
		return
	}
	name, _ := o.String("controlnet_module")
	images := o.Strings("controlnet_input_images")
	if len(images) == 0 {
		images = o.Strings("controlnet_images") // as webuiapi says it
	}
	if some := o.Strings("controlnet_masks"); len(some) > 0 {
		o.Add("controlnet_masks", "value_error", "are not supported")
	}
	o.Bool("low_vram")
	resolution, ok := o.Int("controlnet_processor_res")
	if !ok || resolution == 0 {
		resolution = usualResolution
	}
	var thresholds [2]float64
	for i, key := range []string{"controlnet_threshold_a", "controlnet_threshold_b"} {
		thresholds[i] = -1
		if v, ok := o.Float(key); ok {
			thresholds[i] = v
		}
	}
	p, err := module(name, resolution, thresholds[:]...)
	switch {
	case err != nil:
		o.Add("controlnet_module", "value_error", "%v", err)
	case len(images) == 0:
		o.Add("controlnet_input_images", "value_error", "No image selected")
	case len(images) > request.MaxControls:
		o.Add("controlnet_input_images", "value_error", "must be at most %d pictures, got %d", request.MaxControls, len(images))
	}
	if err := o.Err(); err != nil {
		fail(w, err)
		return
	}
	out := []string{}
	for i, data := range images {
		img, err := a.service.Inputs.Text(r.Context(), data)
		if err != nil {
			fail(w, loose.Errors{{Loc: []any{"body", "controlnet_input_images", i}, Msg: "Invalid image: " + err.Error(), Type: "value_error"}})
			return
		}
		made, err := a.map64(img, p.String())
		if err != nil {
			fail(w, err)
			return
		}
		out = append(out, made)
	}
	reply.JSON(w, http.StatusOK, map[string]any{"images": out, "info": "Success"})
}

// map64 is what a preprocessor makes of a picture, in base64.
func (a *API) map64(img image.Image, preprocessor string) (string, error) {
	made, err := a.service.Detect(img, preprocessor)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	err = picture.Encode(&b, made, picture.Options{})
	return base64.StdEncoding.EncodeToString(b.Bytes()), err
}

// unit is a unit of the extension.
type unit struct {
	request.Control
	picture *string // base64; nil is the initial picture
	mode    int     // how the picture gets the size that is drawn
	saves   bool    // what the preprocessor made is in the reply
	at      *loose.Object
}

// controlNet reads the units of the ControlNet extension: those that are off are passed
// over.
func (d *decoder) controlNet(o *loose.Object) {
	if o == nil {
		return
	}
	for _, raw := range o.Objects("args") {
		module, _ := raw.String("module")
		model, _ := raw.String("model")
		on, has := raw.Bool("enabled")
		if !has {
			on = !noneOf(module) || !noneOf(model)
		}
		if on {
			d.unit(raw, module, model)
		}
	}
	if len(d.units) > request.MaxControls {
		o.Add("args", "value_error", "must be at most %d units, got %d", request.MaxControls, len(d.units))
	}
}

func noneOf(name string) bool { return name == "" || strings.EqualFold(name, "none") }

// resizeModes and controlModes are the extension's words, by their numbers; what follows
// in brackets in older versions is left out.
var (
	resizeModes  = []string{"just resize", "crop and resize", "resize and fill"}
	controlModes = []string{"balanced", "my prompt is more important", "controlnet is more important"}
	ourModes     = []request.ControlMode{"", request.ControlPrompt, request.ControlNetwork}
)

// choice reads one of some words, or its number.
func choice(o *loose.Object, key string, words []string, otherwise int) int {
	raw := o.Raw(key)
	if len(raw) == 0 || string(raw) == "null" {
		return otherwise
	}
	if raw[0] != '"' {
		n, ok := o.Int(key)
		if ok && (n < 0 || n >= int64(len(words))) {
			o.Add(key, "value_error", "must be 0 to %d or one of %s, got %d", len(words)-1, strings.Join(words, ", "), n)
			return otherwise
		}
		return int(n)
	}
	text, _ := o.String(key)
	plain, _, _ := strings.Cut(strings.ToLower(text), " (")
	if i := slices.Index(words, plain); i >= 0 {
		return i
	}
	o.Add(key, "value_error", "must be one of %s, got %.40q", strings.Join(words, ", "), text)
	return otherwise
}

// unit reads a unit that is on.
func (d *decoder) unit(o *loose.Object, name, model string) {
	u := unit{mode: choice(o, "resize_mode", resizeModes, cropAndResize), saves: true, at: o}
	if noneOf(model) {
		o.Add("model", "value_error", "must name a network: a unit without one does nothing")
		return
	}
	if _, err := d.service.Catalog.Lookup("ControlNet", model, catalog.Control); err != nil {
		o.Add("model", "value_error", "%v", err)
	}
	u.Name, u.Mode = model, ourModes[choice(o, "control_mode", controlModes, 0)]
	u.Weight, u.Start = d.part(o, "weight"), d.part(o, "guidance_start")
	if u.End = d.part(o, "guidance_end"); u.End == nil {
		u.End = d.part(o, "guidance") // of older versions
	}
	if v, ok := o.Bool("save_detected_map"); ok {
		u.saves = v
	}
	d.unitModule(o, &u, name)
	d.unitPicture(o, &u)
	if v, ok := o.String("hr_option"); ok && !strings.EqualFold(v, "both") && len(d.request.Hires) > 0 {
		o.Add("hr_option", "value_error", "must be Both, got %.40q", v)
	}
	for _, key := range []string{"advanced_weighting", "effective_region_mask", "ipadapter_input"} {
		if raw := o.Raw(key); len(raw) > 0 && string(raw) != "null" {
			o.Add(key, "value_error", "is not supported")
		}
	}
	d.units = append(d.units, u)
}

// part is a number of a unit; nil if it is not there.
func (d *decoder) part(o *loose.Object, key string) *float64 {
	if v, ok := o.Float(key); ok {
		return &v
	}
	return nil
}

// unitModule reads a unit's preprocessor. With pixel_perfect it sees the picture in the
// size that is drawn, otherwise in that of processor_res.
func (d *decoder) unitModule(o *loose.Object, u *unit, name string) {
	resolution, ok := o.Int("processor_res")
	if !ok || resolution == 0 {
		resolution = usualResolution
	}
	if perfect, _ := o.Bool("pixel_perfect"); perfect {
		resolution = 0
	}
	thresholds := [2]float64{-1, -1}
	for i, key := range []string{"threshold_a", "threshold_b"} {
		if v, ok := o.Float(key); ok {
			thresholds[i] = v
		}
	}
	if noneOf(name) {
		return
	}
	p, err := module(name, resolution, thresholds[:]...)
	if err != nil {
		o.Add("module", "value_error", "%v", err)
		return
	}
	u.Preprocess = p.String()
}

// unitPicture reads a unit's picture: base64, or an object of a picture and a mask.
func (d *decoder) unitPicture(o *loose.Object, u *unit) {
	for _, key := range []string{"image", "input_image"} {
		raw := bytes.TrimSpace(o.Raw(key))
		var text string
		switch {
		case len(raw) == 0 || string(raw) == "null":
			continue
		case raw[0] == '{':
			sub := o.Sub(key)
			text, _ = sub.String("image")
			d.noUnitMask(sub, "mask")
		default:
			text, _ = o.String(key)
		}
		if text != "" && u.picture == nil {
			u.picture = &text
		}
	}
	d.noUnitMask(o, "mask")
	d.noUnitMask(o, "mask_image")
	if u.picture == nil && !d.img2img {
		o.Add("image", "value_error", "is missing: a unit needs a picture")
	}
}

// noUnitMask refuses a mask that is not black all over.
func (d *decoder) noUnitMask(o *loose.Object, key string) {
	text, ok := o.String(key)
	if !ok || text == "" {
		return
	}
	img, err := d.service.Inputs.Text(d.ctx, text)
	if err == nil && !slices.ContainsFunc(grey(img, false).Pix, func(v uint8) bool { return v != 0 }) {
		return
	}
	o.Add(key, "value_error", "is not supported: draw over the picture instead")
}

// controls puts the units into a request, when its size is known.
func (d *decoder) controls() error {
	pixels := 0
	for _, u := range d.units {
		c := u.Control
		if u.picture != nil {
			img, err := d.service.Inputs.Text(d.ctx, *u.picture)
			if err != nil {
				u.at.Add("image", "value_error", "Invalid image: %v", err)
				return d.Err()
			}
			if pixels += len(img.Pix) / 4; pixels > d.service.Limits.Inputs {
				return service.Errorf(http.StatusRequestEntityTooLarge, "too_large", "all pictures together must have at most %d pixels", d.service.Limits.Inputs)
			}
			if r := d.request; r.Width > 0 && r.Height > 0 && r.Width*r.Height <= d.service.Limits.Pixels {
				leave := d.service.Inputs.Gate.Enter()
				img = resized(img, r.Width, r.Height, u.mode)
				leave()
			}
			c.Image = img
		}
		if u.saves && c.Preprocess != "" {
			d.out.maps = append(d.out.maps, c)
		}
		d.request.Controls = append(d.request.Controls, c)
	}
	return nil
}

// maps are what the preprocessors of a drawing made, in base64, which follow its pictures.
func (a *API) maps(d *drawing) (all []string, err error) {
	for _, c := range d.maps {
		img := c.Image
		if img == nil {
			img = d.order.Requests[0].Image
		}
		made, err := a.map64(img, c.Preprocess)
		if err != nil {
			return nil, err
		}
		all = append(all, made)
	}
	return all, nil
}

// withoutPictures is the scripts of a request without the pictures of ControlNets, which
// are long.
func withoutPictures(raw json.RawMessage) json.RawMessage {
	var scripts map[string]json.RawMessage
	if json.Unmarshal(raw, &scripts) != nil {
		return raw
	}
	for name, script := range scripts {
		var args struct {
			Args []map[string]json.RawMessage `json:"args"`
		}
		if !strings.EqualFold(name, "controlnet") || json.Unmarshal(script, &args) != nil {
			continue
		}
		for _, unit := range args.Args {
			for _, key := range []string{"image", "input_image", "mask", "mask_image"} {
				if _, ok := unit[key]; ok {
					unit[key] = json.RawMessage("null")
				}
			}
		}
		if text, err := json.Marshal(args); err == nil {
			scripts[name] = text
		}
	}
	text, err := json.Marshal(scripts)
	if err != nil {
		return raw
	}
	return text
}
