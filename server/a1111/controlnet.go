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
	e := extension{a.service}
	get := func(path string, of func() any) {
		r.HandleFunc("GET /controlnet/"+path, func(w http.ResponseWriter, _ *http.Request) { reply.JSON(w, http.StatusOK, of()) })
	}
	get("version", func() any { return map[string]int{"version": 3} })
	get("model_list", func() any { return map[string][]string{"model_list": e.models()} })
	get("module_list", func() any { return modules() })
	get("control_types", func() any { return map[string]any{"control_types": e.types()} })
	get("settings", func() any { return map[string]int{"control_net_unit_count": request.MaxControls} })
	r.HandleFunc("POST /controlnet/detect", e.detect)
}

// extension is the ControlNet extension's own interface.
type extension struct{ service *service.Service }

// models are the networks as the extension lists them, with a part of their hashes
// as soon as these are known.
func (e extension) models() []string {
	all := []string{}
	for _, net := range e.service.Catalog.Entries(catalog.Control) {
		e.service.Catalog.Hash(net)
		name := net.Name
		if net.Hash != "" {
			name = fmt.Sprintf("%s [%s]", net.Name, net.Hash[:8])
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
	{"All", "", ""}, {"Canny", "canny", "canny"}, {"Depth", "depth", ""}, {"IP-Adapter", "ip-adapter", ""}, {"Inpaint", "inpaint", "inpaint"}, {"InstructP2P", "ip2p", ""},
	{"Lineart", "lineart", "lineart"}, {"MLSD", "mlsd", ""}, {"NormalMap", "normal", ""}, {"OpenPose", "openpose", ""}, {"Recolor", "recolor", "recolor_luminance"},
	{"Scribble", "scribble", "scribble"}, {"Segmentation", "seg", ""}, {"Shuffle", "shuffle", "shuffle"}, {"SoftEdge", "softedge", ""}, {"T2I-Adapter", "t2i", ""}, {"Tile", "tile", "tile"},
}

// types are the kinds, with the networks and preprocessors of each.
func (e extension) types() map[string]any {
	all, models := map[string]any{}, e.models()
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
func (e extension) detect(w http.ResponseWriter, r *http.Request) {
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
		img, err := e.service.Inputs.Text(r.Context(), data)
		if err != nil {
			fail(w, loose.Errors{{Loc: []any{"body", "controlnet_input_images", i}, Msg: "Invalid image: " + err.Error(), Type: "value_error"}})
			return
		}
		made, err := e.map64(img, p.String())
		if err != nil {
			fail(w, err)
			return
		}
		out = append(out, made)
	}
	reply.JSON(w, http.StatusOK, map[string]any{"images": out, "info": "Success"})
}

// map64 is what a preprocessor makes of a picture, in base64.
func (e extension) map64(img image.Image, preprocessor string) (string, error) {
	made, err := e.service.Detect(img, preprocessor)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	err = picture.Encode(&b, made, picture.Options{})
	return base64.StdEncoding.EncodeToString(b.Bytes()), err
}

// maps are what the preprocessors of a drawing made, in base64, which follow its pictures.
func (e extension) maps(d *drawing) (all []string, err error) {
	for _, c := range d.maps {
		img := c.Image
		if img == nil {
			img = d.order.Requests[0].Image
		}
		made, err := e.map64(img, c.Preprocess)
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
