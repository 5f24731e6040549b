//go:build unix

package server

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"image"
	"testing"
	"time"

	"github.com/disintegration/imaging"
	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/sd/preprocess"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/server/fake"
	"github.com/sdgo/sdgo/server/wire"
)

// photo is a picture of some width and height, and its file in base64.
func photo(t *testing.T, width, height int) (*image.NRGBA, string) {
	t.Helper()
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	for i := range img.Pix {
		if img.Pix[i] = uint8(i * i / 331); i%4 == 3 {
			img.Pix[i] = 255
		}
	}
	var b bytes.Buffer
	require.NoError(t, picture.Encode(&b, img, picture.Options{}))
	return img, base64.StdEncoding.EncodeToString(b.Bytes())
}

var controlFiles = map[string]string{
	"ControlNet/canny.safetensors": "controls/sd1.safetensors", "ControlNet/sketch.safetensors": "controls/t2i-sd1.safetensors",
	"ControlNet/ip-adapter.safetensors": "controls/ip-plus.safetensors", "clip_vision/h.safetensors": "controls/clip-vision.safetensors",
}

// ControlNets of the folder, through all interfaces: names, pictures, preprocessors and
// numbers reach the worker.
func TestControls(t *testing.T) {
	folder := folderOf(t, controlFiles)
	d := describe(t, withFolder(folder))
	img, file := photo(t, 96, 96)
	guidance := 7.0
	want := func(controls []request.Control, roles ...wire.Model) []uint8 {
		q, err := request.Request{Prompt: "a fox", Seed: 3, Steps: 4, Width: 64, Height: 64, Sampler: "euler", Guidance: &guidance, Controls: controls}.Resolve(request.Defaults{Side: 64, Align: 8})
		require.NoError(t, err)
		return fake.Picture(q, roles...).Pix
	}
	number := func(v float64) *float64 { return &v }
	canny, sketch, ip := extra(wire.RoleControl, "canny.safetensors"), extra(wire.RoleControl, "sketch.safetensors"), extra(wire.RoleControl, "ip-adapter.safetensors")
	for _, c := range []struct {
		name     string
		own      object // request's fields of our own interface
		units    []object
		pictures []any
		controls []request.Control
		roles    []wire.Model
	}{
		{name: "one", own: object{"control": "canny"}, units: []object{{"model": "canny", "image": file}}, pictures: []any{file},
			controls: []request.Control{{Name: "canny", Image: img}}, roles: []wire.Model{canny}},
		{name: "numbers", own: object{"control": []object{{"name": "CANNY", "weight": 0.5, "start": 0.1, "end": 0.9, "mode": "prompt", "preprocess": "canny:low=64:high=64"}}},
			units:    []object{{"enabled": true, "module": "canny", "model": "canny", "image": file, "weight": 0.5, "guidance_start": 0.1, "guidance_end": 0.9, "control_mode": 1, "threshold_a": 64, "threshold_b": 64, "pixel_perfect": true, "hr_option": "Both"}},
			pictures: []any{file}, roles: []wire.Model{canny},
			controls: []request.Control{{Name: "canny", Image: img, Preprocess: "canny:low=64:high=64", Weight: number(0.5), Start: number(0.1), End: number(0.9), Mode: request.ControlPrompt}}},
		{name: "two", own: object{"control": "sketch,canny", "control_preprocess": "invert,scribble:resolution=128"}, pictures: []any{file, file}, roles: []wire.Model{sketch, canny},
			units: []object{{"module": "invert (from white bg & black line)", "model": "sketch", "image": object{"image": file, "mask": nil}},
				{"enabled": false, "model": "nobody"}, {"module": "scribble_xdog", "model": "canny", "input_image": file, "processor_res": 128, "threshold_a": -1, "resize_mode": "Crop and Resize"}},
			controls: []request.Control{{Name: "sketch", Image: img, Preprocess: "invert"}, {Name: "canny", Image: img, Preprocess: "scribble:resolution=128"}}},
		{name: "an IP-Adapter", own: object{"control": "ip-adapter"}, units: []object{{"model": "ip-adapter", "image": "data:image/png;base64," + file}}, pictures: []any{file},
			controls: []request.Control{{Name: "ip-adapter", Image: img}}, roles: []wire.Model{ip}},
	} {
		c.own["prompt"], c.own["seed"], c.own["steps"], c.own["width"], c.own["height"], c.own["sampler"], c.own["cfg_scale"] = "a fox", 3, 4, 64, 64, "euler", 7
		expected := want(c.controls, c.roles...)
		require.NotEqual(t, want(nil), expected, c.name)
		order, err := json.Marshal(object{"request": c.own, "control_images": c.pictures})
		require.NoError(t, err)
		job := d.order(string(order))
		require.Equal(t, "done", job["status"], job)
		drawn, _ := decode(t, base64Of(d.call(200, "GET", job["pictures"].([]any)[0].(object)["url"].(string), nil)))
		require.Equal(t, expected, drawn.Pix, c.name)
		out := d.object(200, "POST", "/sdapi/v1/txt2img", object{"prompt": "a fox", "seed": 3, "steps": 4, "cfg_scale": 7, "width": 64, "height": 64, "sampler_name": "Euler",
			"alwayson_scripts": object{"ControlNet": object{"args": c.units}}})
		all := out["images"].([]any)
		got, parameters := decode(t, all[0])
		require.Equal(t, expected, got.Pix, c.name)
		require.Contains(t, parameters, `ControlNet 0: "Module: `, c.name)
		require.NotContains(t, string(mustJSON(t, out["parameters"])), file[:40], "the reply's copy of the request has no pictures")
		n := 1
		for _, x := range c.controls {
			if x.Preprocess == "" {
				continue
			}
			p, err := preprocess.Parse(x.Preprocess)
			require.NoError(t, err)
			made, err := p.Apply(img, 0)
			require.NoError(t, err)
			detected, _ := decode(t, all[n])
			require.Equal(t, made.Pix, detected.Pix, "%s: what the preprocessor made follows", c.name)
			n++
		}
		require.Len(t, all, n, c.name)
	}

	// Pictures of another shape are stretched or filled as the unit says.
	wide, wideFile := photo(t, 128, 64)
	for mode, shown := range map[any]*image.NRGBA{"Just Resize": imaging.Resize(wide, 64, 64, imaging.Lanczos), 1: wide} {
		out := d.object(200, "POST", "/sdapi/v1/txt2img", object{"prompt": "a fox", "seed": 3, "steps": 4, "cfg_scale": 7, "width": 64, "height": 64, "sampler_name": "Euler",
			"alwayson_scripts": object{"controlnet": object{"args": []object{{"model": "canny", "image": wideFile, "resize_mode": mode}}}}})
		got, _ := decode(t, out["images"].([]any)[0])
		require.Equal(t, want([]request.Control{{Name: "canny", Image: shown}}, canny), got.Pix, mode)
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	require.NoError(t, err)
	return text
}

// What is wrong with ControlNets is said by name, before anything is drawn.
func TestControlMistakes(t *testing.T) {
	files := map[string]string{}
	for name, from := range controlFiles {
		files[name] = from
	}
	delete(files, "clip_vision/h.safetensors")
	d := describe(t, withFolder(folderOf(t, files)))
	_, file := photo(t, 64, 64)
	for unit, want := range map[string]string{
		`{"model": "nobody"}`:                                                    `ControlNet \"nobody\" not found; there are: `,
		`{"module": "canny", "image": "` + file + `"}`:                           `a unit without one does nothing`,
		`{"model": "canny"}`:                                                     `a unit needs a picture`,
		`{"model": "canny", "image": "?"}`:                                       `Invalid image`,
		`{"model": "canny", "module": "depth_midas", "image": "`:                 ``,
		`{"model": "canny", "image": "` + file + `", "mask": "` + file + `"}`:    `"mask"],"msg":"is not supported`,
		`{"model": "canny", "image": "` + file + `", "resize_mode": 3}`:          `must be 0 to 2`,
		`{"model": "canny", "image": "` + file + `", "control_mode": "much"}`:    `must be one of balanced`,
		`{"model": "canny", "image": "` + file + `", "advanced_weighting": [1]}`: `"advanced_weighting"],"msg":"is not supported"`,
	} {
		if want == "" {
			unit, want = unit+file+`"}`, "needs a network of its own"
		}
		reply, out := d.do("POST", "/sdapi/v1/txt2img", `{"steps": 4, "width": 64, "height": 64, "alwayson_scripts": {"ControlNet": {"args": [`+unit+`]}}}`)
		require.Equal(t, 422, reply.StatusCode, "%s: %s", unit, out)
		require.Contains(t, string(out), want, unit)
	}
	for body, want := range map[string]string{
		`{"request": {"prompt": "a", "control": "nobody"}, "control_images": ["` + file + `"]}`:                               `not found; there are: `,
		`{"request": {"prompt": "a", "control": "canny"}}`:                                                                    "needs a picture",
		`{"request": {"prompt": "a", "control": "canny", "control_image": "/etc/passwd"}}`:                                    "send the pictures as control_images",
		`{"request": {"prompt": "a", "control": [{"name": "canny", "image": "/etc/passwd"}]}}`:                                "send the pictures as control_images",
		`{"request": {"prompt": "a", "control": "canny"}, "control_images": ["` + file + `", "` + file + `"]}`:                "got 2 for 1",
		`{"request": {"prompt": "a", "control": "canny"}, "control_images": "` + file + `"}`:                                  "must be a list of pictures",
		`{"request": {"prompt": "a", "control": "canny", "control_preprocess": "depth"}, "control_images": ["` + file + `"]}`: "needs a network of its own",
		`{"request": {"prompt": "a", "control": "ip-adapter"}, "control_images": ["` + file + `"]}`:                           "needs an image encoder of CLIP",
	} {
		reply, out := d.do("POST", "/api/v1/jobs", body)
		require.Contains(t, []int{400, 404}, reply.StatusCode, "%s: %s", body, out)
		require.Contains(t, string(out), want, body)
	}
}

// The lists of the extension, its detectors, and our own.
func TestControlLists(t *testing.T) {
	d := describe(t, withFolder(folderOf(t, controlFiles)))
	require.Eventually(t, func() bool { // the hashes are computed meanwhile
		models := d.object(200, "GET", "/controlnet/model_list", nil)["model_list"].([]any)
		return len(models) == 3 && len(models[0].(string)) == len("canny [12345678]")
	}, 20*time.Second, 10*time.Millisecond)
	named := d.object(200, "GET", "/controlnet/model_list", nil)["model_list"].([]any)[0].(string)
	img, file := photo(t, 96, 64)
	d.object(200, "POST", "/sdapi/v1/txt2img", object{"prompt": "a", "steps": 2, "width": 64, "height": 64, "alwayson_scripts": object{"ControlNet": object{"args": []object{{"model": named, "image": file}}}}})
	modules := d.object(200, "GET", "/controlnet/module_list", nil)
	require.Contains(t, modules["module_list"], "scribble_xdog")
	require.Contains(t, modules["module_detail"], "canny")
	canny := d.object(200, "GET", "/controlnet/control_types", nil)["control_types"].(object)["Canny"].(object)
	require.Equal(t, "canny", canny["default_option"])
	require.Equal(t, named, canny["default_model"])

	made := d.object(200, "POST", "/controlnet/detect", object{"controlnet_module": "canny", "controlnet_images": []string{file}, "controlnet_processor_res": 128, "controlnet_threshold_a": 64, "controlnet_threshold_b": 400})
	p, err := preprocess.Parse("canny:low=64:high=400:resolution=128")
	require.NoError(t, err)
	want, err := p.Apply(img, 0)
	require.NoError(t, err)
	got, _ := decode(t, made["images"].([]any)[0])
	require.Equal(t, want.Pix, got.Pix)
	reply, out := d.do("POST", "/api/v1/preprocess", object{"image": file, "preprocessor": "canny:low=64:high=400:resolution=128"})
	require.Equal(t, 200, reply.StatusCode)
	own, err := picture.Read(bytes.NewReader(out))
	require.NoError(t, err)
	require.Equal(t, want.Pix, own.Pix)
	for _, body := range []object{{"controlnet_module": "canny"}, {"controlnet_module": "nothing", "controlnet_input_images": []string{file}}, {"controlnet_module": "canny", "controlnet_input_images": []string{"?"}}} {
		d.object(422, "POST", "/controlnet/detect", body)
	}
	for _, body := range []object{{"image": file}, {"preprocessor": "canny"}, {"image": file, "preprocessor": "canny:low=-1"}, {"image": file, "preprocessor": "canny", "more": 1}} {
		d.object(400, "POST", "/api/v1/preprocess", body)
	}
	kinds := map[string]string{}
	for _, m := range d.object(200, "GET", "/api/v1/models", nil)["models"].([]any) {
		network, _ := m.(object)["network"].(string)
		kinds[m.(object)["name"].(string)] = network
	}
	require.Equal(t, map[string]string{"canny": "ControlNet", "sketch": "T2I-Adapter", "ip-adapter": "IP-Adapter", "h": "image encoder"}, map[string]string{
		"canny": kinds["canny"], "sketch": kinds["sketch"], "ip-adapter": kinds["ip-adapter"], "h": kinds["h"]})
	require.NotEmpty(t, d.object(200, "GET", "/api/v1/capabilities", nil)["preprocessors"])
}
