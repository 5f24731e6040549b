//go:build unix

package server

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/sd/request"
)

// Every field of a request is drawn with, or refused with a reason: what the server's own
// interface takes reaches the worker as job files have it.
func TestEveryField(t *testing.T) {
	files := map[string]string{"fine.safetensors": "xl/refiner.safetensors", "style.safetensors": "adapters/kohya.safetensors", "upsampler.safetensors": "pixel/upsampler.safetensors", "tiny.safetensors": "taesd/tiny.safetensors"}
	for _, some := range []map[string]string{controlFiles, guideFiles} {
		for name, from := range some {
			files[name] = from
		}
	}
	d := describe(t, withFolder(folderOf(t, files)))
	_, file := photo(t, 64, 64)
	const send = "send the pictures"
	refused := map[string][2]string{ // a value, and the reason
		"input": {`"a.png"`, send}, "mask": {`"a.png"`, send}, "control_image": {`"a.png"`, send}, "control_face": {`"a.npy"`, "send the numbers as control_faces"}, "direction": {`"smile"`, "no directions yet"},
	}
	// A value of each field, and what it needs beside it.
	type sample struct{ value, beside string }
	const (
		to         = `"to": "a cat"`
		control    = `"control": "canny"`
		classifier = `"classifier": "seen"`
	)
	samples := map[string]sample{
		"prompt": {`"a fox"`, ""}, "negative": {`"a cat"`, ""}, "class": {`"3"`, ""}, "strength": {`0.5`, ""}, "image_cfg_scale": {`1.2`, ""}, "mask_grow": {`2`, ""}, "mask_blur": {`2`, ""}, "mask_feather": {`2`, ""},
		"mask_fill": {`"fill"`, ""}, "only_masked": {`true`, ""}, "mask_padding": {`8`, `"only_masked": true`}, "canvas": {`"96x96"`, ""}, "width": {`64`, ""}, "height": {`64`, ""}, "steps": {`4`, ""}, "cfg_scale": {`3`, ""},
		"sampler": {`"euler"`, ""}, "schedule": {`"karras"`, ""}, "eta": {`0.5`, `"sampler": "euler_a"`}, "s_noise": {`0.9`, `"sampler": "euler_a"`}, "s_churn": {`1`, `"sampler": "euler"`}, "s_tmin": {`0.1`, `"sampler": "euler"`},
		"s_tmax": {`9`, `"sampler": "euler"`}, "order": {`2`, `"sampler": "lms"`}, "rtol": {`0.1`, `"sampler": "dpm_adaptive"`}, "atol": {`0.1`, `"sampler": "dpm_adaptive"`}, "snr": {`0.1`, `"sampler": "pc"`}, "corrections": {`2`, `"sampler": "pc"`},
		"guidance": {`"apg"`, ""}, "seed": {`5`, ""}, "rng": {`"philox"`, ""}, "zero_snr": {`true`, ""}, "clip_skip": {`2`, ""}, "deep_cache": {`2`, ""}, "token_merging": {`0.5`, ""}, "cache": {`"easy:threshold=0.1"`, ""}, "count": {`2`, ""}, "to": {`"a cat"`, ""}, "to_seed": {`6`, to}, "at": {`0.5`, to},
		"hires": {`"2"`, ""}, "hires_size": {`"128x128"`, ""}, "hires_upscaler": {`"lanczos"`, `"hires": "2"`}, "hires_strength": {`"0.5"`, `"hires": "2"`}, "hires_steps": {`"3"`, `"hires": "2"`}, "hires_sampler": {`"heun"`, `"hires": "2"`},
		"hires_schedule": {`"karras"`, `"hires": "2"`}, "hires_cfg_scale": {`"2"`, `"hires": "2"`}, "save_stages": {`true`, `"hires": "2"`}, "lora": {`"style:0.5"`, ""}, "control": {`"canny"`, ""}, "control_preprocess": {`"canny"`, control},
		"control_weight": {`"0.5"`, control}, "control_start": {`"0.1"`, control}, "control_end": {`"0.9"`, control}, "control_mode": {`"prompt"`, control}, "control_type": {`"canny"`, control}, "classifier": {`"seen"`, ""},
		"classifier_scale": {`2`, classifier}, "classifier_class": {`"3"`, classifier}, "guide": {`"colour=#20ff80"`, ""}, "guide_method": {`"mpgd:scale=0.5"`, `"guide": "colour=#20ff80"`}, "stages": {`"upsampler"`, ""},
		"stage_steps": {`3`, `"stages": "upsampler"`}, "noise_level": {`3`, `"stages": "upsampler"`}, "save_each_stage": {`true`, `"stages": "upsampler"`}, "refiner": {`"fine"`, ""}, "refiner_at": {`0.5`, `"refiner": "fine"`},
		"original_size": {`"64x64"`, ""}, "target_size": {`"64x64"`, ""}, "crop": {`"1,2"`, ""}, "aesthetic": {`5`, ""}, "negative_aesthetic": {`3`, ""}, "taesd": {`"tiny"`, ""}, "taesd_preview_only": {`true`, `"taesd": "tiny"`},
		"edit": {`"+glasses,scale=6"`, ""}, "edit_momentum": {`0.2`, `"edit": "+glasses"`}, "edit_beta": {`0.5`, `"edit": "+glasses"`},
		"preview_every": {`2`, ""}, "preview_noisy": {`true`, `"preview_every": 2`},
	}
	for _, f := range job.Fields() {
		if no, ok := refused[f.Key]; ok {
			reply, out := d.do("POST", "/api/v1/jobs", `{"request": {"prompt": "a", "control": "canny", "`+f.Key+`": `+no[0]+`}}`)
			require.Equal(t, 400, reply.StatusCode, "%s: %s", f.Key, out)
			require.Contains(t, string(out), no[1], f.Key)
			continue
		}
		one, ok := samples[f.Key]
		require.True(t, ok, "no example of %s: does the server take it?", f.Key)
		text := `{"` + f.Key + `": ` + one.value
		if one.beside != "" {
			text += ", " + one.beside
		}
		order := object{"request": json.RawMessage(text + "}"), "previews": false}
		var q object
		require.NoError(t, json.Unmarshal([]byte(text+"}"), &q))
		if q["control"] != nil {
			order["control_images"] = []any{file}
		}
		if f.For&job.Inpaint != 0 && f.For&job.Txt2Img == 0 || f.Key == "strength" || f.Key == "image_cfg_scale" {
			order["image"] = file
		}
		if f.For&job.Inpaint != 0 && f.For&(job.Txt2Img|job.Img2Img) == 0 && f.Key != "canvas" {
			order["mask"] = file
		}
		d.object(202, "POST", "/api/v1/jobs", order)
		if f.Key == "count" { // each picture is a task
			require.Len(t, d.Service().Queue.Jobs()[0].Spec.Tasks, 2)
			continue
		}
		drawn := d.Service().Queue.Jobs()[0].Task(0).Request
		for i := range drawn.Controls {
			drawn.Controls[i].Image = nil
		}
		drawn.Image, drawn.Mask = nil, nil
		want, err := job.Decode([]byte(text + "}"))
		require.NoError(t, err)
		require.Equal(t, member(t, want, f.Key), member(t, drawn, f.Key), f.Key)
	}
}

// member is a field of a request as JSON has it.
func member(t *testing.T, r request.Request, key string) string {
	t.Helper()
	text, err := job.Encode(r)
	require.NoError(t, err)
	members, err := job.Members(text)
	require.NoError(t, err)
	for _, m := range members {
		if m.Key == key {
			return string(m.Value)
		}
	}
	return ""
}
