package a1111

import (
	"bytes"
	"net/http"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/sd/preprocess"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/server/catalog"
	"github.com/sdgo/sdgo/server/loose"
	"github.com/sdgo/sdgo/server/service"
)

// unit is a unit of the extension.
type unit struct {
	request.Control
	picture *string // base64; nil is the initial picture
	mode    int     // how the picture gets the size that is drawn
	saves   bool    // what the preprocessor made is in the reply
	at      *loose.Object
}

// units are those of a request that are on.
type units struct {
	*decoder
	all []unit
}

// read reads the units of the ControlNet extension: those that are off are passed over.
func (d *units) read(o *loose.Object) {
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
	if len(d.all) > request.MaxControls {
		o.Add("args", "value_error", "must be at most %d units, got %d", request.MaxControls, len(d.all))
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
func (d *units) unit(o *loose.Object, name, model string) {
	u := unit{mode: choice(o, "resize_mode", resizeModes, cropAndResize), saves: true, at: o}
	if noneOf(model) {
		o.Add("model", "value_error", "must name a network: a unit without one does nothing")
		return
	}
	if _, err := d.service.Catalog.Lookup("ControlNet", model, catalog.Control); err != nil {
		o.Add("model", "value_error", "%v", err)
	}
	u.Name, u.Mode = model, ourModes[choice(o, "control_mode", controlModes, 0)]
	u.Weight, u.Start = part(o, "weight"), part(o, "guidance_start")
	if u.End = part(o, "guidance_end"); u.End == nil {
		u.End = part(o, "guidance") // of older versions
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
	d.all = append(d.all, u)
}

// part is a number of a unit; nil if it is not there.
func part(o *loose.Object, key string) *float64 {
	if v, ok := o.Float(key); ok {
		return &v
	}
	return nil
}

// unitModule reads a unit's preprocessor. With pixel_perfect it sees the picture in the
// size that is drawn, otherwise in that of processor_res.
func (d *units) unitModule(o *loose.Object, u *unit, name string) {
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
func (d *units) unitPicture(o *loose.Object, u *unit) {
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
func (d *units) noUnitMask(o *loose.Object, key string) {
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

// apply puts the units into the request, when its size is known.
func (d *units) apply() error {
	pixels := 0
	for _, u := range d.all {
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
		if p, err := preprocess.Parse(c.Preprocess); err == nil && u.saves && !p.Masks() {
			d.out.maps = append(d.out.maps, c)
		}
		d.request.Controls = append(d.request.Controls, c)
	}
	return nil
}
