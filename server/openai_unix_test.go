//go:build unix

package server

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/server/fake"
	"github.com/sdgo/sdgo/server/queue"
	"github.com/sdgo/sdgo/server/reply"
)

// form is a form of fields and files: a field is a name and a text or a file's bytes.
func form(t *testing.T, fields ...any) (body []byte, contentType string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i < len(fields); i += 2 {
		switch v := fields[i+1].(type) {
		case string:
			require.NoError(t, w.WriteField(fields[i].(string), v))
		case []byte:
			part, err := w.CreateFormFile(fields[i].(string), "picture.png")
			require.NoError(t, err)
			_, err = part.Write(v)
			require.NoError(t, err)
		}
	}
	require.NoError(t, w.Close())
	return b.Bytes(), w.FormDataContentType()
}

func TestGenerations(t *testing.T) {
	f := start(t, nil)
	out := f.object(200, "POST", "/v1/images/generations", `{"prompt": "a fox", "model": "fake-a", "n": 2, "size": "64x60", "seed": 5, "steps": 3, "negative_prompt": "x", "cfg_scale": 4, "sampler": "heun",
		"quality": "standard", "style": "vivid", "user": "u", "moderation": "low", "background": "auto", "unknown": null, "response_format": "b64_json"}`)
	guidance := 4.0
	require.Len(t, out["data"], 2)
	for i, one := range out["data"].([]any) {
		img, text := decode(t, one.(object)["b64_json"])
		require.Nil(t, one.(object)["url"])
		want := fakePicture(t, request.Request{Prompt: "a fox", NegativePrompt: "x", Steps: 3, Guidance: &guidance, Seed: int64(5 + i), Width: 64, Height: 64, Sampler: "heun"})
		require.Equal(t, want.Pix, img.Pix)
		require.Contains(t, text, "Negative prompt: x\nSteps: 3, Sampler: Heun")
	}
	require.Equal(t, "64x64", out["size"], "rounded")
	require.Contains(t, out["usage"], "input_tokens_details")
	require.IsType(t, 1.0, out["created"])

	text := func(body string) string {
		_, text := decode(t, f.object(200, "POST", "/v1/images/generations", body)["data"].([]any)[0].(object)["b64_json"])
		return text
	}
	for quality, steps := range map[string]string{"low": "12", "medium": "20", "high": "30", "hd": "30", "auto": "20", "xhigh": "40", "max": "50"} {
		require.Contains(t, text(`{"prompt": "x", "quality": "`+quality+`"}`), "Steps: "+steps+",")
	}
	require.Contains(t, text(`{"prompt": "x <sd_cpp_extra_args>{\"seed\": 9, \"steps\": 4, \"sample_method\": \"euler\", \"scheduler\": \"karras\"}</sd_cpp_extra_args>"}`), "x\nSteps: 4, Sampler: Euler, Schedule type: Karras, CFG scale: 7, Seed: 9")
	require.Contains(t, text(`{"prompt": "x", "guidance_scale": 3, "clip_skip": 2, "size": "auto"}`), "CFG scale: 3")
	for format, kind := range map[string]string{"png": "png", "jpeg": "jpeg", "webp": "webp"} {
		out := f.object(200, "POST", "/v1/images/generations", `{"prompt": "x", "output_format": "`+format+`", "output_compression": 50}`)
		require.Equal(t, kind, out["output_format"])
		data, err := base64.StdEncoding.DecodeString(out["data"].([]any)[0].(object)["b64_json"].(string))
		require.NoError(t, err)
		_, got, err := image.DecodeConfig(bytes.NewReader(data))
		require.NoError(t, err)
		require.Equal(t, kind, got)
	}
}

// A field that cannot be followed is refused by its name, in OpenAI's words.
func TestOpenAIErrors(t *testing.T) {
	f := start(t, nil)
	for body, want := range map[string][2]string{
		`{}`:                                           {"prompt", "is missing"},
		`{"prompt": "x", "n": 0}`:                      {"n", "must be 1 to 10, got 0"},
		`{"prompt": "x", "n": 11}`:                     {"n", "must be 1 to 10"},
		`{"prompt": "x", "size": "big"}`:               {"size", "must be auto or WxH"},
		`{"prompt": "x", "size": "8x256"}`:             {"size", "three times"},
		`{"prompt": "x", "quality": "best"}`:           {"quality", "must be low"},
		`{"prompt": "x", "background": "transparent"}`: {"background", "no transparency"},
		`{"prompt": "x", "output_format": "gif"}`:      {"output_format", "must be"},
		`{"prompt": "x", "output_format": "svg"}`:      {"output_format", "must be"},
		`{"prompt": "x", "output_compression": 101}`:   {"output_compression", "must be 0 to 100"},
		`{"prompt": "x", "partial_images": 4}`:         {"partial_images", "must be 0 to 3"},
		`{"prompt": "x", "frame_count": 2}`:            {"frame_count", "no animations"},
		`{"prompt": "x", "frame_duration_ms": 2}`:      {"frame_duration_ms", "no animations"},
		`{"prompt": "x", "style": "odd"}`:              {"style", "must be vivid or natural"},
		`{"prompt": "x", "moderation": "none"}`:        {"moderation", "must be low or auto"},
		`{"prompt": "x", "response_format": "file"}`:   {"response_format", "must be url or b64_json"},
		`{"prompt": "x", "steps": 0}`:                  {"steps", "must be 1 to"},
		`{"prompt": "x", "sampler": "odd"}`:            {"sampler", "odd"},
		`{"prompt": "x", "scheduler": "odd"}`:          {"scheduler", "odd"},
		`{"prompt": "x", "cfg_scale": -1}`:             {"cfg_scale", "must be 0 to 1000"},
		`{"prompt": "<lora:x:1>"}`:                     {"prompt", "not found"},
	} {
		e := f.object(400, "POST", "/v1/images/generations", body)["error"].(object)
		require.Equal(t, want[0], e["param"], body)
		require.Contains(t, e["message"], want[1], body)
		require.Equal(t, "invalid_request_error", e["type"])
	}
	long, err := json.Marshal(object{"prompt": strings.Repeat("é", 32_001)})
	require.NoError(t, err)
	require.Contains(t, fmt.Sprint(f.object(400, "POST", "/v1/images/generations", string(long))), "at most 32000 characters")
	e := f.object(404, "POST", "/v1/images/generations", `{"prompt": "x", "model": "gpt-image-2"}`)["error"].(object)
	require.Equal(t, "model_not_found", e["code"])
	for _, body := range []string{"", "[]", "{", `"x"`, "prompt=x"} {
		require.Equal(t, "invalid_request_error", f.object(400, "POST", "/v1/images/generations", body)["error"].(object)["type"], body)
	}
	require.Equal(t, "server_error", f.object(500, "POST", "/v1/images/generations", `{"prompt": "`+fake.Crash+`"}`)["error"].(object)["type"])
	f.object(404, "GET", "/v1/nothing", nil)
	f.object(404, "GET", "/v1/models/nothing", nil)
	require.Equal(t, "sd2", f.object(200, "GET", "/v1/models/sd2", nil)["id"])
	require.Len(t, f.object(200, "GET", "/v1/models", nil)["data"], 2)
	lax := start(t, func(c *Config) { c.AnyModel = true })
	lax.object(200, "POST", "/v1/images/generations", `{"prompt": "x", "model": "gpt-image-2", "steps": 1}`)
}

func TestEdits(t *testing.T) {
	f := start(t, nil)
	img := pngOf(t, 64, 64, nil)
	holes := pngOf(t, 64, 64, color.NRGBA{}) // transparent in its middle
	post := func(status int, path string, fields ...any) object {
		body, kind := form(t, fields...)
		return f.object(status, "POST", path, body, "Content-Type", kind)
	}
	read, err := picture.Read(bytes.NewReader(img))
	require.NoError(t, err)
	all, half := 1.0, 0.5
	white := image.NewGray(read.Rect)
	for y := 16; y < 48; y++ {
		for x := 16; x < 48; x++ {
			white.SetGray(x, y, color.Gray{255})
		}
	}
	for name, c := range map[string]struct {
		fields []any
		want   request.Request
	}{
		"a mask":       {[]any{"image", img, "mask", holes}, request.Request{Mask: white, Strength: &all}},
		"a list":       {[]any{"image[]", img, "strength", "0.5"}, request.Request{Strength: &half}},
		"a small mask": {[]any{"image", img, "mask", holes, "strength", "0.5", "input_fidelity", "high"}, request.Request{Mask: white, Strength: &half}},
	} {
		c.want.Prompt, c.want.Seed, c.want.Steps, c.want.Image = "a fox", 3, 4, read
		out := post(200, "/v1/images/edits", append(c.fields, "prompt", "a fox", "seed", "3", "steps", "4", "n", "1", "model", "fake-a")...)
		got, _ := decode(t, out["data"].([]any)[0].(object)["b64_json"])
		require.Equal(t, fakePicture(t, c.want).Pix, got.Pix, name)
	}
	require.Len(t, post(200, "/v1/images/variations", "image", img, "n", "2", "steps", "2")["data"], 2)
	for _, c := range []struct {
		fields []any
		want   string
	}{
		{[]any{"prompt", "x"}, "image: is missing"},
		{[]any{"image", img}, "prompt: is missing"},
		{[]any{"prompt", "x", "image[]", img, "image[]", img}, "several pictures are not supported, got 2"},
		{[]any{"prompt", "x", "image", []byte("nothing")}, "image: "},
		{[]any{"prompt", "x", "image", img, "mask", img}, "must have transparent pixels"},
		{[]any{"prompt", "x", "image", img, "mask", []byte("nothing")}, "mask: "},
		{[]any{"prompt", "x", "image", img, "n", "many"}, "n: "},
	} {
		require.Contains(t, post(400, "/v1/images/edits", c.fields...)["error"].(object)["message"], c.want)
	}
	// JSON, as ollama's clients send it.
	out := f.object(200, "POST", "/v1/images/edits", object{"prompt": "a fox", "seed": 3, "steps": 4, "strength": 0.5, "image": "data:image/png;base64," + base64Of(img)})
	got, _ := decode(t, out["data"].([]any)[0].(object)["b64_json"])
	require.Equal(t, fakePicture(t, request.Request{Prompt: "a fox", Seed: 3, Steps: 4, Image: read, Strength: &half}).Pix, got.Pix)
	f.object(200, "POST", "/v1/images/edits", object{"prompt": "a fox", "steps": 2, "images": []object{{"image_url": object{"url": "data:image/png;base64," + base64Of(img)}}}})
	var many []any
	for range 70 {
		many = append(many, "x", "y")
	}
	require.Contains(t, post(400, "/v1/images/edits", many...)["error"].(object)["message"], "too many parts")
}

// Addresses of pictures are absolute, unguessable, and for whoever has them and a key.
func TestPictureAddresses(t *testing.T) {
	f := start(t, nil)
	for body, address := range map[string]bool{`{"prompt": "x", "response_format": "url"}`: true, `{"prompt": "x", "model": "dall-e-3"}`: true, `{"prompt": "x", "model": "dall-e-3", "response_format": "b64_json"}`: false} {
		lax := start(t, func(c *Config) { c.AnyModel = true })
		out := lax.object(200, "POST", "/v1/images/generations", body)["data"].([]any)[0].(object)
		require.Equal(t, address, out["url"] != nil, body)
		require.Equal(t, address, out["b64_json"] == nil, body)
		if !address {
			continue
		}
		url := out["url"].(string)
		require.Regexp(t, `^`+lax.web.URL+`/v1/images/files/[0-9a-f]{32}$`, url)
		_, data := lax.do("GET", strings.TrimPrefix(url, lax.web.URL), nil)
		_, err := picture.Read(bytes.NewReader(data))
		require.NoError(t, err)
	}
	f.object(404, "GET", "/v1/images/files/"+strings.Repeat("0", 32), nil)
	based := start(t, func(c *Config) { c.BaseURL = "https://pictures.example/sd/" })
	out := based.object(200, "POST", "/v1/images/generations", `{"prompt": "x", "response_format": "url"}`)
	require.Contains(t, fmt.Sprint(out), "https://pictures.example/sd/v1/images/files/")
}

// events reads a stream's events: their names and data.
func events(t *testing.T, text string) (names []string, data []object) {
	t.Helper()
	for block := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		name := ""
		for line := range strings.SplitSeq(block, "\n") {
			if v, ok := strings.CutPrefix(line, "event: "); ok {
				name = v
			}
			if v, ok := strings.CutPrefix(line, "data: "); ok {
				if v == "[DONE]" {
					names = append(names, v)
					continue
				}
				var one object
				require.NoError(t, json.Unmarshal([]byte(v), &one))
				names, data = append(names, name), append(data, one)
			}
		}
	}
	return names, data
}

func TestStreams(t *testing.T) {
	f := start(t, nil)
	reply, out := f.do("POST", "/v1/images/generations", `{"prompt": "`+fake.Slow+`", "steps": 8, "size": "64x64", "n": 2, "stream": true, "partial_images": 2, "seed": 1}`)
	require.Equal(t, "text/event-stream", reply.Header.Get("Content-Type"))
	names, data := events(t, string(out))
	const partial, completed = "image_generation.partial_image", "image_generation.completed"
	require.Equal(t, "[DONE]", names[len(names)-1])
	pictures, partials := 0, 0
	for i, one := range data {
		require.Equal(t, names[i], one["type"])
		require.Equal(t, "64x64", one["size"])
		if names[i] == partial { // of a picture, at most two, in their order; the next one may begin before one is encoded
			if one["partial_image_index"] != 0.0 {
				require.Equal(t, 1.0, one["partial_image_index"])
				require.Equal(t, partial, names[i-1])
			}
			partials++
			continue
		}
		require.Equal(t, completed, names[i])
		require.Contains(t, one, "usage")
		img, _ := decode(t, one["b64_json"])
		require.Equal(t, fakePicture(t, request.Request{Prompt: fake.Slow, Steps: 8, Seed: int64(1 + pictures), Width: 64, Height: 64}).Pix, img.Pix)
		pictures++
	}
	require.Equal(t, 2, pictures)
	require.True(t, partials >= 2 && partials <= 4, "%d", partials)
	body, kind := form(t, "image", pngOf(t, 64, 64, nil), "prompt", "x", "stream", "true")
	_, out = f.do("POST", "/v1/images/edits", body, "Content-Type", kind)
	names, _ = events(t, string(out))
	require.Equal(t, []string{"image_edit.completed", "[DONE]"}, names)
	_, out = f.do("POST", "/v1/images/generations", `{"prompt": "`+fake.Fail+`", "stream": true}`)
	names, data = events(t, string(out))
	require.Equal(t, []string{"error"}, names)
	require.Equal(t, "the test asked for it", data[0]["error"].(object)["message"])
	f.object(404, "POST", "/v1/images/generations", `{"prompt": "x", "model": "nothing", "stream": true}`)
}

// A client whose connection broke gets the job that it began, with the real error; and
// one that is gone for longer has its job cancelled.
func TestRetriesAndDisconnects(t *testing.T) {
	f := start(t, func(c *Config) {
		c.Service.Grace = 300 * time.Millisecond
		c.Keep = reply.Keep{Hold: 50 * time.Millisecond, Every: 20 * time.Millisecond}
	})
	broken := func(body string) {
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, "POST", f.web.URL+"/v1/images/generations", strings.NewReader(body))
		require.NoError(t, err)
		if reply, err := http.DefaultClient.Do(r); err == nil {
			_, err = io.ReadAll(reply.Body)
			reply.Body.Close()
			require.True(t, err != nil || reply.StatusCode == 500)
		}
	}
	body := `{"prompt": "` + fake.Slow + `", "steps": 20, "size": "64x64"}`
	broken(body)
	f.object(200, "POST", "/v1/images/generations", body, "X-Stainless-Retry-Count", "1")
	require.Len(t, f.Service().Queue.Jobs(), 1, "it is the same job")
	f.object(200, "POST", "/v1/images/generations", body, "X-Stainless-Retry-Count", "0")
	require.Len(t, f.Service().Queue.Jobs(), 2, "another one")
	// A late reply is kept alive by white space, and its error breaks it off.
	failing := `{"prompt": "` + fake.Slow + fake.Fail + `", "steps": 20, "size": "64x64"}`
	late, out := f.do("POST", "/v1/images/generations", body)
	require.Equal(t, 200, late.StatusCode)
	require.True(t, strings.HasPrefix(string(out), "   "), "%.20q", out)
	require.True(t, json.Valid(out))
	broken(failing) // or refused, where it fails within the time
	require.Eventually(t, func() bool { return f.Service().Queue.Jobs()[0].State() == queue.Failed }, 10*time.Second, time.Millisecond)
	n := len(f.Service().Queue.Jobs())
	f.object(500, "POST", "/v1/images/generations", failing, "X-Stainless-Retry-Count", "1")
	require.Len(t, f.Service().Queue.Jobs(), n, "the real error, without another job")
	slow := `{"prompt": "` + fake.Slow + `", "steps": 1000, "size": "64x64"}`
	broken(slow)
	require.Eventually(t, func() bool { return f.Service().Queue.Jobs()[0].State() == queue.Cancelled }, 5*time.Second, 5*time.Millisecond)
	f.object(200, "POST", "/v1/images/generations", `{"prompt": "x", "size": "64x64"}`, "Idempotency-Key", "k")
	n = len(f.Service().Queue.Jobs())
	f.object(200, "POST", "/v1/images/generations", `{"prompt": "x", "size": "64x64"}`, "Idempotency-Key", "k")
	require.Len(t, f.Service().Queue.Jobs(), n)
}
