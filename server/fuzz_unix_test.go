//go:build unix

package server

import (
	"bytes"
	"encoding/json"
	"image/color"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// decoding are the addresses whose bodies are decoded.
var decoding = []string{"/sdapi/v1/txt2img", "/sdapi/v1/img2img", "/v1/images/generations", "/v1/images/edits", "/v1/images/variations", "/api/v1/jobs", "/sdapi/v1/options",
	"/sdapi/v1/png-info", "/sdapi/v1/extra-single-image", "/sdapi/v1/extra-batch-images", "/api/v1/parameters", "/api/v1/uploads", "/api/v1/models/unload", "/controlnet/detect"}

// bodies are some of each kind.
func bodies(t testing.TB) [][]byte {
	img, mask := base64Of(pngOf(t, 16, 16, nil)), base64Of(pngOf(t, 16, 16, color.White))
	all := [][]byte{[]byte(webuiapi)}
	for _, body := range []object{
		{"prompt": "(a:1.2) [b|c] <lora:x:1>", "init_images": []string{"data:image/png;base64," + img}, "mask": mask, "mask_blur": 2, "alwayson_scripts": object{"ControlNet": object{"args": []object{{"enabled": true, "image": img}}}}},
		{"enable_hr": true, "hr_scale": 1.5, "hr_resize_x": 24, "override_settings": object{"CLIP_stop_at_last_layers": 2, "sd_model_checkpoint": "sd2"}, "infotext": "a\nNegative prompt: b\nSteps: 3, Sampler: Euler, Seed: 5, Size: 64x64"},
		{"prompt": "a <sd_cpp_extra_args>{\"seed\": 1}</sd_cpp_extra_args>", "n": 2, "size": "64x64", "quality": "low", "stream": true, "partial_images": 1, "image": img, "mask": mask},
		{"model": "fake-a", "request": object{"prompt": "a", "steps": 3, "hires": []object{{"scale": 2}}, "sampler_options": object{"eta": 1}, "original_size": "64x64"}, "image": img, "output": object{"format": "webp"}, "priority": 2},
		{"image": img, "upscaling_resize": 2, "upscaler_1": "x4", "imageList": []object{{"data": img, "name": "a"}}, "text": "a\nSteps: 3, Sampler: Euler, Seed: 5"},
	} {
		text, err := json.Marshal(body)
		require.NoError(t, err)
		all = append(all, text)
	}
	return append(all, pngOf(t, 16, 16, nil))
}

// answer is the reply of a server that takes no jobs, so that requests are decoded and
// no more.
func answer(h http.Handler, path, contentType string, body []byte) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
	r.Host = "localhost"
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// check holds a reply to what all replies are: JSON, and no mistake of the server.
func check(t *testing.T, w *httptest.ResponseRecorder, path string, body []byte) {
	t.Helper()
	require.True(t, w.Code < 500 || w.Code == http.StatusServiceUnavailable || w.Code == http.StatusNotImplemented, "%s %q: %d %s", path, body, w.Code, w.Body)
	require.True(t, json.Valid(w.Body.Bytes()), "%s %q: %s", path, body, w.Body)
}

// FuzzRequests: whatever comes, at any address, is answered in JSON.
func FuzzRequests(f *testing.F) {
	s := start(f, nil)
	s.Service().Queue.Stop()
	all := bodies(f)
	for i := range decoding {
		for _, body := range all {
			f.Add(uint8(i), body, "application/json")
		}
	}
	f.Add(uint8(3), []byte("--x\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\na\r\n--x\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a\"\r\n\r\nb\r\n--x--\r\n"), "multipart/form-data; boundary=x")
	f.Fuzz(func(t *testing.T, at uint8, body []byte, contentType string) {
		if len(body) > 1<<16 || strings.ContainsAny(contentType, "\r\n") {
			return
		}
		path := decoding[int(at)%len(decoding)]
		check(t, answer(s.Handler(), path, contentType, body), path, body)
	})
}

// Thousands of damaged requests, after which the server draws as before.
func TestDamagedRequests(t *testing.T) {
	f := start(t, nil)
	stopped := start(t, nil)
	stopped.Service().Queue.Stop()
	n := 10_000
	if testing.Short() {
		n = 1000
	}
	all := bodies(t)
	r := rand.New(rand.NewPCG(3, 4))
	tokens := []string{"null", "-1", "1e400", "0.5", "true", `""`, `"\u0000"`, "[]", "{}", `"NaN"`, "99999999999999999999", "[[[[", `"-"`, "\xff", `"data:image/png;base64,"`}
	statuses := map[int]int{}
	for range n {
		body := bytes.Clone(all[r.IntN(len(all))])
		for range 1 + r.IntN(3) {
			switch at := r.IntN(len(body)); r.IntN(4) {
			case 0:
				body[at] = byte(r.IntN(256))
			case 1:
				body = body[:max(1, at)]
			case 2: // another value in place of one
				if colon := bytes.IndexByte(body[at:], ':'); colon >= 0 {
					if end := bytes.IndexAny(body[at+colon:], ",}]"); end > 0 {
						body = bytes.Join([][]byte{body[:at+colon+1], body[at+colon+end:]}, []byte(tokens[r.IntN(len(tokens))]))
					}
				}
			default:
				body = bytes.Join([][]byte{body[:at], body[at:]}, []byte(tokens[r.IntN(len(tokens))]))
			}
		}
		path := decoding[r.IntN(len(decoding))]
		w := answer(stopped.Handler(), path, "application/json", body)
		check(t, w, path, body)
		statuses[w.Code]++
	}
	t.Log(statuses)
	require.Greater(t, statuses[400]+statuses[422], n/10)
	require.Greater(t, statuses[503], n/100, "some are right, and would be drawn")
	f.object(200, "POST", "/sdapi/v1/txt2img", webuiapi)
}

// Metrics have no names of clients and no words of prompts; their routes are patterns.
func TestMetrics(t *testing.T) {
	f := start(t, withKeys)
	f.object(200, "POST", "/sdapi/v1/txt2img", `{"prompt": "squirrel", "steps": 3, "width": 64, "height": 64, "sampler_name": "DPM++ 2M Karras"}`, "Authorization", bearerAnna)
	f.do("GET", "/api/v1/pictures/"+strings.Repeat("0", 32), nil, "Authorization", bearerAnna)
	f.do("GET", "/squirrel", nil, "Authorization", bearerAnna)
	f.ends.Wait()
	h := f.metricsHandler()
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Code, w.Body.String()
	}
	_, text := get("/metrics")
	for _, line := range []string{`sdgo_jobs_total{api="a1111",model="fake-a",outcome="done"} 1`, `sdgo_job_seconds_count{api="a1111"} 1`, `sdgo_queue_wait_seconds_count 1`, `sdgo_steps_total{model="fake-a",sampler="dpm++2m"} 3`,
		`sdgo_step_seconds_count{model="fake-a"} 3`, `sdgo_pictures_total{model="fake-a"} 1`, `sdgo_worker_up{worker="w1"} 1`, `sdgo_model_loads_total{model="fake-a"} 1`, `sdgo_model_load_seconds_count{model="fake-a"} 1`,
		`sdgo_memory_bytes{kind="workers"}`, `route="POST /sdapi/v1/txt2img"`, `route="GET /api/v1/pictures/{id}"`} {
		require.Contains(t, text, line)
	}
	for _, word := range []string{"squirrel", "anna", strings.Repeat("0", 32)} {
		require.NotContains(t, text, word)
	}
	for path, status := range map[string]int{"/healthz": 200, "/readyz": 200, "/debug/pprof/": 404, "/debug/pprof/cmdline": 404, "/sdapi/v1/options": 404} {
		got, _ := get(path)
		require.Equal(t, status, got, path)
	}
	f.config.Profile = true
	h = f.metricsHandler()
	status, _ := get("/debug/pprof/")
	require.Equal(t, 200, status)
	status, _ = get("/debug/pprof/cmdline")
	require.Equal(t, 404, status)
	reply, _ := f.do("GET", "/metrics", nil, "Authorization", bearerAnna)
	require.Equal(t, 404, reply.StatusCode, "not on the listener of clients")
}
