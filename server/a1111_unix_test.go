//go:build unix

package server

import (
	"encoding/json"
	"image"
	"image/color"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/disintegration/imaging"
	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/server/fake"
)

// fakePicture is what the fake engine makes of a request.
func fakePicture(t *testing.T, r request.Request) *image.NRGBA {
	t.Helper()
	q, err := r.Resolve(request.Defaults{Side: 64, Align: 8})
	require.NoError(t, err)
	return fake.Picture(q)
}

// webuiapi is the body that webuiapi 0.9.17 always sends to txt2img.
const webuiapi = `{"enable_hr": false, "hr_scale": 2, "hr_upscaler": "Latent", "hr_second_pass_steps": 0, "hr_resize_x": 0, "hr_resize_y": 0, "hr_checkpoint_name": null,
	"hr_sampler_name": null, "hr_scheduler": null, "hr_prompt": "", "hr_negative_prompt": "", "denoising_strength": 0.7, "firstphase_width": 0, "firstphase_height": 0,
	"prompt": "cute squirrel", "styles": [], "negative_prompt": "ugly", "seed": 1003, "subseed": -1, "subseed_strength": 0.0, "seed_resize_from_h": 0, "seed_resize_from_w": 0,
	"batch_size": 2, "n_iter": 2, "steps": 7, "cfg_scale": 7.0, "width": 64, "height": 48, "restore_faces": false, "tiling": false, "do_not_save_samples": false,
	"do_not_save_grid": false, "eta": 1.0, "s_churn": 0, "s_tmax": 0, "s_tmin": 0, "s_noise": 1, "override_settings": {}, "override_settings_restore_afterwards": true,
	"script_args": [], "script_name": null, "send_images": true, "save_images": false, "alwayson_scripts": {}, "sampler_name": "Euler a", "scheduler": "automatic", "sampler_index": "Euler a"}`

func TestTxt2img(t *testing.T) {
	f := start(t, nil)
	out := f.object(200, "POST", "/sdapi/v1/txt2img", webuiapi)
	require.Len(t, out["images"], 4)
	var info object
	require.NoError(t, json.Unmarshal([]byte(out["info"].(string)), &info))
	require.Equal(t, []any{1003.0, 1004.0, 1005.0, 1006.0}, info["all_seeds"])
	require.Equal(t, "cute squirrel", info["prompt"])
	require.Equal(t, 1003.0, out["parameters"].(object)["seed"])
	require.Equal(t, strings.Repeat("ab", 5), info["sd_model_hash"])
	guidance := 7.0
	for i, text := range out["images"].([]any) {
		img, parameters := decode(t, text)
		require.Equal(t, info["infotexts"].([]any)[i], parameters)
		require.Contains(t, parameters, "Negative prompt: ugly")
		want := fakePicture(t, request.Request{Prompt: "cute squirrel", NegativePrompt: "ugly", Steps: 7, Guidance: &guidance, Seed: 1003 + int64(i), Width: 64, Height: 48, Sampler: "euler_a"})
		require.Equal(t, want.Pix, img.Pix)
	}
	// The defaults are the web UI's; null is the default, 30.0 and "30" are 30.
	for _, body := range []string{`{}`, `{"steps": null, "cfg_scale": null, "width": null, "sampler_name": null, "styles": null, "denoising_strength": null, "unknown": [1]}`,
		`{"steps": "50", "width": 512.0, "restore_faces": 0, "sampler_index": "Euler", "styles": ["None"], "seed_resize_from_w": 0}`} {
		out = f.object(200, "POST", "/sdapi/v1/txt2img", body)
		require.NoError(t, json.Unmarshal([]byte(out["info"].(string)), &info))
		require.Equal(t, 50.0, info["steps"], body)
		require.Equal(t, 512.0, info["width"])
		require.NotEqual(t, -1.0, info["seed"], "the seed that was drawn")
	}
	require.NotContains(t, f.log.String(), "squirrel", "the log has no prompts")
}

// Every field is followed, or refused by name.
func TestTxt2imgFields(t *testing.T) {
	f := start(t, nil)
	text := func(body string) string {
		out := f.object(200, "POST", "/sdapi/v1/txt2img", body)
		return strings.Join(strings.Fields(object{"a": out["info"]}["a"].(string)), " ")
	}
	for body, want := range map[string]string{
		`{"steps": 4, "subseed": 5, "subseed_strength": 0.3, "seed": 9, "n_iter": 2}`:                                                                                                      `\"all_seeds\":[9,9],`,
		`{"steps": 4, "enable_hr": true, "width": 64, "height": 64, "hr_scale": 1.5, "denoising_strength": 0.4}`:                                                                           "Denoising strength: 0.4, Hires upscale: 1.5, Hires upscaler: latent",
		`{"steps": 4, "enable_hr": true, "width": 64, "height": 32, "hr_resize_x": 128, "hr_upscaler": "None"}`:                                                                            "Hires resize: 128x64, Hires upscaler: lanczos",
		`{"steps": 4, "enable_hr": true, "width": 128, "height": 128, "firstphase_width": 64, "firstphase_height": 64}`:                                                                    "Size: 64x64, Denoising strength: 0.75, Hires resize: 128x128",
		`{"steps": 4, "enable_hr": true, "width": 64, "height": 64, "hr_upscaler": "x4", "hr_second_pass_steps": 3, "hr_sampler_name": "DPM++ 2M", "hr_scheduler": "karras", "hr_cfg": 3}`: "Hires steps: 3, Hires upscaler: x4, Hires sampler: DPM++ 2M, Hires schedule type: Karras, Hires CFG Scale: 3",
		`{"steps": 4, "sampler_name": "DPM++ 2M Karras"}`:                                                                                                                                  "Sampler: DPM++ 2M, Schedule type: Karras",
		`{"steps": 4, "sampler_name": "DPM++ 2M", "scheduler": "Exponential"}`:                                                                                                             "Schedule type: Exponential",
		`{"steps": 4, "sampler_name": "DDIM", "eta": 0.5}`:                                                                                                                                 "Eta DDIM: 0.5",
		`{"steps": 4, "sampler_name": "Heun", "s_churn": 2, "s_tmax": 0, "s_noise": 1.01}`:                                                                                                 "Sigma noise: 1.01, Sigma churn: 2",
		`{"steps": 4, "clip_skip": 2}`: "Clip skip: 2",
		`{"steps": 4, "override_settings": {"CLIP_stop_at_last_layers": 3, "randn_source": "NV"}}`:                                                              "Clip skip: 3, RNG: NV",
		`{"steps": 4, "override_settings": {"token_merging_ratio": 0.5}}`:                                                                                       "Token merging ratio: 0.5",
		`{"steps": 4, "override_settings": {"sd_model_checkpoint": "sd2", "nonsense": 1}}`:                                                                      "override_settings.nonsense",
		`{"prompt": "a<lora:x:1>b", "steps": 4, "disable_extra_networks": true}`:                                                                                `"prompt":"ab"`,
		`{"steps": 4, "infotext": "a fox\nNegative prompt: blurry\nSteps: 9, Sampler: Euler a, CFG scale: 5, Seed: 42, Size: 64x64, Model: x", "cfg_scale": 3}`: `a fox\nNegative prompt: blurry\nSteps: 4, Sampler: Euler a, Schedule type: Uniform, CFG scale: 3, Seed: 42, Size: 64x64`,
		`{"steps": 4, "alwayson_scripts": {"controlnet": {"args": [{"enabled": false, "model": "x"}, {"module": "none"}]}}}`:                                    "Steps: 4",
	} {
		require.Contains(t, strings.ReplaceAll(text(body), `\\n`, `\n`), strings.ReplaceAll(want, `\"`, `"`), body)
	}
	for body, want := range map[string]string{
		`{"tiling": true}`:                                  `"tiling"],"msg":"is not supported"`,
		`{"restore_faces": 1}`:                              `"restore_faces"`,
		`{"seed_resize_from_w": 64}`:                        `"seed_resize_from_w"`,
		`{"s_min_uncond": 0.5}`:                             `"s_min_uncond"`,
		`{"script_name": "X/Y/Z plot"}`:                     `Script 'X/Y/Z plot' not found`,
		`{"alwayson_scripts": {"ADetailer": {"args": []}}}`: `always on script ADetailer not found`,
		`{"alwayson_scripts": {"ControlNet": {"args": [{"model": "canny [abcd]"}]}}}`: `not found; the server has none`,
		`{"alwayson_scripts": {"ControlNet": {"args": [{"module": "canny"}]}}}`:       `a unit without one does nothing`,
		`{"sampler_name": "Nonsense"}`:                                                `Sampler not found`,
		`{"scheduler": "Nonsense"}`:                                                   `Scheduler not found`,
		`{"steps": 0}`:                                                                `"steps"],"msg":"must be 1 to 1000, got 0"`,
		`{"steps": 2.5}`:                                                              `"steps"],"msg":"must be a whole number, got 2.5"`,
		`{"width": "wide"}`:                                                           `"width"`,
		`{"enable_hr": true, "hr_prompt": "other"}`:                                   `"hr_prompt"`,
		`{"enable_hr": true, "hr_checkpoint_name": "other"}`:                          `"hr_checkpoint_name"`,
		`{"comments": {"a": "b"}}`:                                                    `"comments"`,
		`{"override_settings": {"eta_noise_seed_delta": 31337}}`:                      `"eta_noise_seed_delta"`,
		`{"override_settings": {"samples_format": "avif"}}`:                           `must be png, jpeg or webp`,
	} {
		reply, out := f.do("POST", "/sdapi/v1/txt2img", body)
		require.Equal(t, 422, reply.StatusCode, "%s: %s", body, out)
		require.Contains(t, string(out), want, body)
	}
	for body, status := range map[string]int{
		`{"override_settings": {"sd_model_checkpoint": "nothing"}}`: 400,
		`{"override_settings": {"sd_vae": "x.vae.pt"}}`:             400,
		`{"batch_size": 100}`:                           400,
		`{"width": 8192, "height": 8192}`:               400,
		`{"enable_hr": true, "hr_upscaler": "nothing"}`: 400,
		`{"prompt": "<lora:x:1>"}`:                      422,
		`not JSON`:                                      422,
		`[]`:                                            422,
	} {
		reply, out := f.do("POST", "/sdapi/v1/txt2img", body)
		require.Equal(t, status, reply.StatusCode, "%s: %s", body, out)
	}
}

func TestImg2img(t *testing.T) {
	f := start(t, nil)
	img, mask := base64Of(pngOf(t, 64, 64, nil)), base64Of(pngOf(t, 32, 32, color.White))
	post := func(body object) (object, string) {
		out := f.object(200, "POST", "/sdapi/v1/img2img", body)
		_, text := decode(t, out["images"].([]any)[0])
		return out, text
	}
	base := func(more object) object {
		body := object{"prompt": "x", "steps": 4, "seed": 1, "width": 64, "height": 64, "image_cfg_scale": 1.5, "initial_noise_multiplier": 1, "init_images": []string{"data:image/png;base64," + img}}
		for k, v := range more {
			body[k] = v
		}
		return body
	}
	out, text := post(base(object{"denoising_strength": nil}))
	require.Contains(t, text, "Denoising strength: 0.75")
	require.Nil(t, out["parameters"].(object)["init_images"])
	out, _ = post(base(object{"include_init_images": true}))
	require.NotNil(t, out["parameters"].(object)["init_images"])
	_, text = post(base(object{"mask": mask, "mask_blur": 4, "inpainting_fill": 0, "inpaint_full_res": true, "inpaint_full_res_padding": 0}))
	require.Contains(t, text, "Inpaint area: Only masked, Masked area padding: 0, Mask blur: 4, Mask feather: 0, Masked content: fill")
	_, text = post(base(object{"mask": mask, "inpainting_fill": 1, "inpaint_full_res": false, "inpainting_mask_invert": 1, "mask_blur_x": 2, "mask_blur_y": 2}))
	require.Contains(t, text, "Mask blur: 2, Mask feather: 0, Masked content: original")
	seen := map[string]bool{}
	for mode := range 3 {
		out, _ = post(base(object{"resize_mode": mode, "width": 64, "height": 32}))
		seen[out["images"].([]any)[0].(string)] = true
	}
	require.Len(t, seen, 3)
	// One picture for each of a batch.
	out, _ = post(base(object{"batch_size": 2, "init_images": []string{img, base64Of(pngOf(t, 64, 64, color.Black))}, "seed": 5}))
	require.Len(t, out["images"], 2)
	for name, c := range map[string]struct {
		body   object
		status int
		want   string
	}{
		"none":      {object{"init_images": []string{}}, 404, "Init image not found"},
		"too many":  {object{"init_images": []string{img, img}}, 422, "must be one picture"},
		"damaged":   {object{"init_images": []string{"xxxx"}}, 422, "Invalid image"},
		"an URL":    {object{"init_images": []string{"http://127.0.0.1/x.png"}}, 422, "turned off"},
		"no mask":   {object{"mask": "xxxx"}, 422, "Invalid image"},
		"black":     {object{"mask": base64Of(pngOf(t, 64, 64, nil))}, 422, "nothing to paint"},
		"latent":    {object{"resize_mode": 3}, 422, "resize_mode"},
		"soft":      {object{"mask": mask, "mask_round": false}, 422, "mask_round"},
		"two blurs": {object{"mask": mask, "mask_blur_x": 1}, 422, "mask_blur_x"},
		"noise":     {object{"initial_noise_multiplier": 1.1}, 422, "initial_noise_multiplier"},
		"latents":   {object{"latent_mask": mask}, 422, "latent_mask"},
		"hires":     {object{"enable_hr": true}, 422, "enable_hr"},
	} {
		reply, out := f.do("POST", "/sdapi/v1/img2img", base(c.body))
		require.Equal(t, c.status, reply.StatusCode, "%s: %s", name, out)
		require.Contains(t, string(out), c.want, name)
	}
}

// Progress is that of the caller's own job; interrupting it gives what is finished.
func TestProgressAndInterrupt(t *testing.T) {
	f := start(t, nil)
	idle := f.object(200, "GET", "/sdapi/v1/progress?skip_current_image=false", nil)
	require.Equal(t, 0.0, idle["progress"])
	require.Equal(t, 0.0, idle["state"].(object)["job_count"])
	require.Nil(t, idle["current_image"])
	var calls sync.WaitGroup
	calls.Go(func() {
		out := f.object(200, "POST", "/sdapi/v1/txt2img", object{"prompt": fake.Slow, "steps": 40, "width": 64, "height": 64, "n_iter": 3, "force_task_id": "task(mine)"})
		if n := len(out["images"].([]any)); n < 1 || n > 2 {
			t.Errorf("%d pictures", n)
		}
	})
	require.Eventually(t, func() bool {
		p := f.object(200, "GET", "/sdapi/v1/progress", nil)
		state := p["state"].(object)
		return p["progress"].(float64) > 0.35 && state["job_no"] == 1.0 && state["job_count"] == 3.0 && state["sampling_steps"] == 40.0 && p["current_image"] != nil && p["current_task"] == "task(mine)"
	}, 20*time.Second, 5*time.Millisecond)
	_, out := f.do("POST", "/sdapi/v1/interrupt", nil)
	require.JSONEq(t, "{}", string(out))
	calls.Wait()
	_, out = f.do("POST", "/sdapi/v1/skip", nil)
	require.JSONEq(t, "null", string(out))
}

func TestOptionsAndLists(t *testing.T) {
	f := start(t, nil)
	all := f.object(200, "GET", "/sdapi/v1/options", nil)
	require.Equal(t, "fake-a.gguf [ababababab]", all["sd_model_checkpoint"])
	all["sd_model_checkpoint"] = "sd2"
	all["unknown"] = object{"a": 1}
	reply, out := f.do("POST", "/sdapi/v1/options", all) // as open-webui does
	require.Equal(t, 200, reply.StatusCode, "%s", out)
	require.JSONEq(t, "null", string(out))
	require.Contains(t, f.object(200, "GET", "/sdapi/v1/options", nil)["sd_model_checkpoint"], "sd2")
	var info object
	require.NoError(t, json.Unmarshal([]byte(f.object(200, "POST", "/sdapi/v1/txt2img", `{"steps": 2, "width": 64, "height": 64}`)["info"].(string)), &info))
	require.Equal(t, "sd2", info["sd_model_name"])
	f.object(400, "POST", "/sdapi/v1/options", object{"sd_model_checkpoint": "nothing"})
	f.object(422, "POST", "/sdapi/v1/options", object{"CLIP_stop_at_last_layers": 2})
	for _, path := range []string{"samplers", "schedulers", "upscalers", "latent-upscale-modes", "sd-models", "sd-vae", "hypernetworks", "face-restorers", "realesrgan-models", "prompt-styles",
		"extensions", "loras", "script-info"} {
		reply, out := f.do("GET", "/sdapi/v1/"+path, nil)
		require.Equal(t, 200, reply.StatusCode, path)
		var list []any
		require.NoError(t, json.Unmarshal(out, &list), path)
		require.NotContains(t, string(out), "testdata", "no paths")
	}
	require.Contains(t, f.object(200, "GET", "/sdapi/v1/scripts", nil), "txt2img")
	require.Contains(t, f.object(200, "GET", "/sdapi/v1/embeddings", nil), "loaded")
	require.Contains(t, f.object(200, "GET", "/sdapi/v1/memory", nil), "ram")
	require.Contains(t, f.object(200, "GET", "/controlnet/control_types", nil), "control_types")
	f.object(404, "GET", "/sdapi/v1/nothing", nil)
	f.object(501, "POST", "/sdapi/v1/interrogate", object{"image": ""})
	for _, path := range []string{"refresh-checkpoints", "refresh-vae", "refresh-loras", "refresh-embeddings", "unload-checkpoint", "reload-checkpoint"} {
		reply, out := f.do("POST", "/sdapi/v1/"+path, nil)
		require.Equal(t, 200, reply.StatusCode, path)
		require.JSONEq(t, "null", string(out))
	}
}

// A model is opened with another autoencoder, for one request or for a client.
func TestAutoencoders(t *testing.T) {
	f := start(t, nil)
	drawn := func(settings string) (*image.NRGBA, object) {
		out := f.object(200, "POST", "/sdapi/v1/txt2img", `{"prompt": "x", "seed": 1, "steps": 3, "width": 64, "height": 64, "override_settings": `+settings+`}`)
		var info object
		require.NoError(t, json.Unmarshal([]byte(out["info"].(string)), &info))
		img, _ := decode(t, out["images"].([]any)[0])
		return img, info
	}
	own, info := drawn(`{}`)
	require.Nil(t, info["sd_vae_name"])
	other, info := drawn(`{"sd_vae": "VAE"}`)
	require.Equal(t, "vae", info["sd_vae_name"])
	require.Equal(t, imaging.Invert(own).Pix, other.Pix)
	require.Len(t, f.object(200, "GET", "/api/v1/status", nil)["workers"], 2)
	f.object(400, "POST", "/sdapi/v1/options", object{"sd_vae": "nothing"})
	reply, _ := f.do("POST", "/sdapi/v1/options", object{"sd_vae": "vae"})
	require.Equal(t, 200, reply.StatusCode)
	require.Equal(t, "vae", f.object(200, "GET", "/sdapi/v1/options", nil)["sd_vae"])
	again, _ := drawn(`{}`)
	require.Equal(t, other.Pix, again.Pix)
	for _, name := range []string{"Automatic", "None"} {
		again, _ = drawn(`{"sd_vae": "` + name + `"}`)
		require.Equal(t, own.Pix, again.Pix)
	}
	f.do("POST", "/sdapi/v1/options", object{"sd_vae": "Automatic"})
	again, _ = drawn(`{}`)
	require.Equal(t, own.Pix, again.Pix)
	_, list := f.do("GET", "/sdapi/v1/sd-vae", nil)
	require.JSONEq(t, `[{"model_name": "vae", "filename": "vae"}]`, string(list))
	// The server's own interface, and OpenAI's.
	f.object(404, "POST", "/api/v1/jobs", `{"vae": "nothing"}`)
	job := f.object(202, "POST", "/api/v1/jobs", `{"vae": "vae", "request": {"prompt": "x", "seed": 1, "steps": 3, "width": 64, "height": 64}}`)
	require.Eventually(t, func() bool {
		job = f.object(200, "GET", job["poll_url"].(string), nil)
		return job["status"] == "done"
	}, 10*time.Second, time.Millisecond)
}

func TestExtrasAndInfo(t *testing.T) {
	f := start(t, nil)
	img := base64Of(pngOf(t, 20, 10, nil))
	for name, c := range map[string]struct {
		body object
		size image.Point
	}{
		"a factor":  {object{"upscaling_resize": 3, "upscaler_1": "Lanczos"}, image.Pt(60, 30)},
		"a network": {object{"upscaler_1": "x4", "upscaler_2": "Nearest", "extras_upscaler_2_visibility": 0.5}, image.Pt(40, 20)},
		"cut":       {object{"resize_mode": 1, "upscaling_resize_w": 30, "upscaling_resize_h": 30}, image.Pt(30, 30)},
		"whole":     {object{"resize_mode": 1, "upscaling_resize_w": 30, "upscaling_resize_h": 30, "upscaling_crop": false}, image.Pt(30, 15)},
	} {
		c.body["image"] = img
		out := f.object(200, "POST", "/sdapi/v1/extra-single-image", c.body)
		got, text := decode(t, out["image"])
		require.Equal(t, c.size, got.Rect.Size(), name)
		require.Contains(t, text, "Postprocess upscale by")
	}
	out := f.object(200, "POST", "/sdapi/v1/extra-batch-images", object{"imageList": []object{{"data": img, "name": "a"}, {"data": img, "name": "b"}}})
	require.Len(t, out["images"], 2)
	f.object(422, "POST", "/sdapi/v1/extra-single-image", object{"image": img, "gfpgan_visibility": 1})
	f.object(422, "POST", "/sdapi/v1/extra-single-image", object{"image": img, "upscaler_1": "nothing"})
	f.object(422, "POST", "/sdapi/v1/extra-single-image", object{})

	drawn := f.object(200, "POST", "/sdapi/v1/txt2img", `{"prompt": "a fox", "steps": 3, "seed": 7, "width": 64, "height": 64}`)["images"].([]any)[0]
	read := f.object(200, "POST", "/sdapi/v1/png-info", object{"image": drawn})
	require.Contains(t, read["info"], "a fox\nSteps: 3")
	require.Equal(t, "7", read["parameters"].(object)["Seed"])
	require.Equal(t, "", f.object(200, "POST", "/sdapi/v1/png-info", object{"image": img})["info"])
	f.object(422, "POST", "/sdapi/v1/png-info", object{"image": "xxx"})
}

// A job that fails, and one that crashes its worker, are errors in the web UI's words.
func TestFailuresOverA1111(t *testing.T) {
	f := start(t, nil)
	out := f.object(http.StatusInternalServerError, "POST", "/sdapi/v1/txt2img", object{"prompt": fake.Crash, "steps": 3, "width": 64, "height": 64})
	require.Contains(t, out["detail"], "ended unexpectedly")
	out = f.object(http.StatusInternalServerError, "POST", "/sdapi/v1/txt2img", object{"prompt": fake.Fail, "steps": 3, "width": 64, "height": 64})
	require.Equal(t, "the test asked for it", out["detail"])
}
