//go:build unix

package server

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/server/fake"
	"github.com/sdgo/sdgo/server/queue"
)

// silly is SillyTavern's server: it sends an Authorization header even where there is no
// user.
type silly struct{ *fixture }

func (s silly) ask(method, path string, body any, to any) {
	s.Helper()
	reply, out := s.do(method, path, body, "Authorization", "Basic ", "Content-Type", "application/json")
	require.Equal(s, http.StatusOK, reply.StatusCode, "%s: %s", path, out)
	require.NoError(s, json.Unmarshal(out, to), path)
}

// names are those of a list, as its lists of choices have them.
func (s silly) names(path, key string) (all []string) {
	s.Helper()
	var list []object
	s.ask("GET", path, nil, &list)
	for _, one := range list {
		name, ok := one[key].(string)
		require.True(s, ok, "%s: each has a %s", path, key)
		all = append(all, name)
	}
	return all
}

// What the image extension of SillyTavern 1.19.0 sends to AUTOMATIC1111's interface and to
// stable-diffusion.cpp's: its endpoints ping, upscalers, vaes, samplers, schedulers, models,
// get-model, set-model and generate (src/endpoints/stable-diffusion.js), with the body of
// its page (public/scripts/extensions/stable-diffusion/index.js).
func TestSillyTavern(t *testing.T) {
	s := silly{start(t, nil)}
	var options, progress object
	s.ask("GET", "/sdapi/v1/options", nil, &options) // ping, and get-model
	require.Equal(t, "fake-a.gguf [ababababab]", options["sd_model_checkpoint"])
	upscalers := s.names("/sdapi/v1/upscalers", "name")
	require.Equal(t, "None", upscalers[0], "it puts the latent ones after the first")
	require.Contains(t, s.names("/sdapi/v1/latent-upscale-modes", "name"), "Latent")
	require.Contains(t, s.names("/sdapi/v1/sd-vae", "model_name"), "vae")
	s.names("/sdapi/v1/sd-modules", "model_name")
	require.Contains(t, s.names("/sdapi/v1/samplers", "name"), "euler_a")
	schedulers := s.names("/sdapi/v1/schedulers", "name")
	require.Contains(t, schedulers, "karras")
	models := s.names("/sdapi/v1/sd-models", "title")
	require.Len(t, models, 2)

	body := func(prompt string) object {
		return object{"url": s.web.URL, "auth": "", "prompt": prompt, "negative_prompt": "ugly", "sampler_name": "euler_a", "scheduler": "karras", "steps": 4, "cfg_scale": 7, "width": 64, "height": 64,
			"restore_faces": false, "enable_hr": false, "hr_upscaler": "Latent", "hr_scale": 2, "hr_additional_modules": []any{}, "denoising_strength": 0.7, "hr_second_pass_steps": 0, "seed": 9,
			"override_settings": object{"CLIP_stop_at_last_layers": 1}, "override_settings_restore_afterwards": true, "clip_skip": 1, "save_images": true, "send_images": true,
			"do_not_save_grid": false, "do_not_save_samples": false}
	}
	want := func(prompt string) []uint8 {
		return fakePicture(t, request.Request{Prompt: prompt, NegativePrompt: "ugly", Sampler: "euler_a", Schedule: "karras", Steps: 4, Guidance: request.Float(7), Width: 64, Height: 64, Seed: 9}).Pix
	}
	var out object
	s.ask("POST", "/sdapi/v1/txt2img", body("a fox"), &out)
	img, _ := decode(t, out["images"].([]any)[0])
	require.Equal(t, want("a fox"), img.Pix)
	// With an autoencoder, which it sends in Forge's words, too, since there is a forge_preset.
	with := body("a fox")
	with["override_settings"] = object{"CLIP_stop_at_last_layers": 1, "sd_vae": "vae", "forge_additional_modules": []string{"vae"}}
	s.ask("POST", "/sdapi/v1/txt2img", with, &out)
	inverted, _ := decode(t, out["images"].([]any)[0])
	require.NotEqual(t, img.Pix, inverted.Pix)
	with["override_settings"].(object)["forge_additional_modules"] = []string{"another"}
	s.object(422, "POST", "/sdapi/v1/txt2img", with)
	delete(with["override_settings"].(object), "sd_vae")
	with["override_settings"].(object)["forge_additional_modules"] = []string{"vae"}
	s.ask("POST", "/sdapi/v1/txt2img", with, &out)
	alone, _ := decode(t, out["images"].([]any)[0])
	require.Equal(t, inverted.Pix, alone.Pix)

	// set-model: it waits until nothing is done any more.
	var nothing any
	s.ask("POST", "/sdapi/v1/options", object{"sd_model_checkpoint": models[1]}, &nothing)
	require.Eventually(t, func() bool {
		s.ask("GET", "/sdapi/v1/progress", nil, &progress)
		return progress["progress"] == 0.0 && progress["state"].(object)["job_count"] == 0.0
	}, 10*time.Second, 5*time.Millisecond)
	s.ask("GET", "/sdapi/v1/options", nil, &options)
	require.Equal(t, models[1], options["sd_model_checkpoint"])

	// Its own client leaves: it interrupts.
	text, err := json.Marshal(body(fake.Slow))
	require.NoError(t, err)
	ctx, leave := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "POST", s.web.URL+"/sdapi/v1/txt2img", strings.NewReader(strings.Replace(string(text), `"steps":4`, `"steps":1000`, 1)))
	require.NoError(t, err)
	r.Header.Set("Authorization", "Basic ")
	left := make(chan error, 1)
	go func() {
		reply, err := http.DefaultClient.Do(r)
		if err == nil {
			reply.Body.Close()
		}
		left <- err
	}()
	require.Eventually(t, func() bool {
		s.ask("GET", "/sdapi/v1/progress", nil, &progress)
		return progress["progress"].(float64) > 0
	}, 10*time.Second, 5*time.Millisecond)
	leave()
	s.ask("POST", "/sdapi/v1/interrupt", nil, &nothing)
	require.Error(t, <-left)
	require.Equal(t, queue.Cancelled, s.Service().Queue.Jobs()[0].State())

	// As a client of stable-diffusion.cpp: the model is a field of the request.
	reply, _ := s.do("OPTIONS", "/v1/images/generations", nil)
	require.Less(t, reply.StatusCode, 300)
	var list object
	s.ask("GET", "/v1/models", nil, &list)
	require.Equal(t, "fake-a", list["data"].([]any)[0].(object)["id"])
	own := object{"model": "fake-a", "prompt": "a fox", "negative_prompt": "ugly", "width": 64, "height": 64, "steps": 4, "cfg_scale": 7, "seed": 9, "batch_size": 1, "sampler_name": "euler_a", "scheduler": "karras"}
	s.ask("POST", "/sdapi/v1/txt2img", own, &out)
	img, _ = decode(t, out["images"].([]any)[0])
	require.Equal(t, want("a fox"), img.Pix)
	require.Contains(t, out["info"], `"sd_model_name":"fake-a"`, "not the one that was chosen before")
	own["model"] = "nothing"
	s.object(400, "POST", "/sdapi/v1/txt2img", own)
}
