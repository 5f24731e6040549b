package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"image"
	"image/color"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/server/fake"
)

// served is a running server.
type served struct {
	testing.TB
	url     string
	command *exec.Cmd
	log     *fake.Log
	ended   chan error
}

var servingAt = regexp.MustCompile(`msg=serving address=(http://\S+)`)

// serve starts sdgo serve on a port of its own.
func serve(t testing.TB, env []string, args ...string) *served {
	t.Helper()
	program, err := buildProgram()
	require.NoError(t, err)
	s := &served{TB: t, log: &fake.Log{}, ended: make(chan error, 1)}
	s.command = exec.Command(program, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)
	s.command.Stderr, s.command.Env = s.log, append(os.Environ(), env...)
	require.NoError(t, s.command.Start())
	go func() { s.ended <- s.command.Wait() }()
	t.Cleanup(func() { _ = s.command.Process.Kill() })
	require.Eventually(t, func() bool { return servingAt.MatchString(s.log.String()) }, 20*time.Second, 10*time.Millisecond, "%s", s.log)
	s.url = servingAt.FindStringSubmatch(s.log.String())[1]
	return s
}

// stop asks the server to end, which it does by itself.
func (s *served) stop() {
	s.Helper()
	require.NoError(s, s.command.Process.Signal(syscall.SIGTERM))
	select {
	case err := <-s.ended:
		require.NoError(s, err, "%s", s.log)
	case <-time.After(2 * time.Minute):
		require.Fail(s, "the server does not end", "%s", s.log)
	}
}

// post sends JSON and reads JSON.
func (s *served) post(path string, body map[string]any) map[string]any {
	s.Helper()
	text, err := json.Marshal(body)
	require.NoError(s, err)
	return s.read(http.Post(s.url+path, "application/json", bytes.NewReader(text)))
}

func (s *served) read(reply *http.Response, err error) (out map[string]any) {
	s.Helper()
	require.NoError(s, err)
	defer reply.Body.Close()
	data, err := io.ReadAll(reply.Body)
	require.NoError(s, err)
	require.Less(s, reply.StatusCode, 300, "%s", data)
	require.NoError(s, json.Unmarshal(data, &out))
	return out
}

// pictureOfText decodes a picture in base64 with its parameters.
func pictureOfText(t *testing.T, text any) (pix []uint8, parameters string) {
	t.Helper()
	img, parameters, err := fake.Decode(text.(string))
	require.NoError(t, err)
	return img.Pix, parameters
}

// Pictures of the three interfaces are those of the command line, to the bit.
func TestServedPictures(t *testing.T) {
	model, folder := tinyModel(t), t.TempDir()
	s := serve(t, nil, "-m", model)
	img, half := start(64, 64)
	in, mask := writePNG(t, folder, "in.png", img), writePNG(t, folder, "mask.png", half)
	drawn := func(args ...string) []uint8 {
		out := filepath.Join(t.TempDir(), "out.png")
		o := sdgo(t, append(args, "-q", "-m", model, "-p", "a fox", "-n", "a cat", "-s", "7", "--steps", "3", "--sampler", "euler_a", "--cfg-scale", "5", "-W", "64", "-H", "64", "-o", out)...)
		require.Equal(t, ExitOK, o.code, o.errors)
		got, err := picture.Open(out)
		require.NoError(t, err)
		return got.Pix
	}
	plain := drawn("txt2img")
	from := drawn("img2img", "-i", in, "--strength", "0.6")
	painted := drawn("inpaint", "-i", in, "--mask", mask, "--strength", "0.6", "--mask-fill", "fill", "--mask-blur", "4", "--mask-feather", "0")
	encoded := func(path string) string {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		return base64.StdEncoding.EncodeToString(data)
	}

	base := func(more map[string]any) map[string]any {
		body := map[string]any{"prompt": "a fox", "negative_prompt": "a cat", "seed": 7, "steps": 3, "sampler_name": "Euler a", "cfg_scale": 5, "width": 64, "height": 64}
		for k, v := range more {
			body[k] = v
		}
		return body
	}
	first := func(out map[string]any) []uint8 {
		pix, parameters := pictureOfText(t, out["images"].([]any)[0])
		require.Contains(t, parameters, "a fox\nNegative prompt: a cat\nSteps: 3, Sampler: Euler a")
		require.Contains(t, parameters, "Seed: 7")
		return pix
	}
	require.Equal(t, plain, first(s.post("/sdapi/v1/txt2img", base(nil))))
	require.Equal(t, from, first(s.post("/sdapi/v1/img2img", base(map[string]any{"init_images": []string{encoded(in)}, "denoising_strength": 0.6}))))
	require.Equal(t, painted, first(s.post("/sdapi/v1/img2img", base(map[string]any{"init_images": []string{encoded(in)}, "mask": encoded(mask), "denoising_strength": 0.6, "inpaint_full_res": false}))))

	// OpenAI's. Its masks are transparent where pictures are painted.
	own := map[string]any{"prompt": "a fox", "negative_prompt": "a cat", "seed": 7, "steps": 3, "sampler": "euler_a", "cfg_scale": 5, "size": "64x64"}
	pix, _ := pictureOfText(t, s.post("/v1/images/generations", own)["data"].([]any)[0].(map[string]any)["b64_json"])
	require.Equal(t, plain, pix)
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	for key, v := range map[string]string{"prompt": "a fox", "negative_prompt": "a cat", "seed": "7", "steps": "3", "sampler": "euler_a", "cfg_scale": "5", "size": "64x64", "strength": "0.6"} {
		require.NoError(t, w.WriteField(key, v))
	}
	holes := image.NewNRGBA(half.Rect)
	for i, v := range half.Pix {
		holes.Set(i%64, i/64, color.NRGBA{A: 255 - v})
	}
	for field, path := range map[string]string{"image": in, "mask": writePNG(t, folder, "holes.png", holes)} {
		part, err := w.CreateFormFile(field, filepath.Base(path))
		require.NoError(t, err)
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		_, err = part.Write(data)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	pix, _ = pictureOfText(t, s.read(http.Post(s.url+"/v1/images/edits", w.FormDataContentType(), &form))["data"].([]any)[0].(map[string]any)["b64_json"])
	require.Equal(t, drawn("inpaint", "-i", in, "--mask", mask, "--strength", "0.6"), pix)

	// Its own.
	job := s.post("/api/v1/jobs", map[string]any{"request": map[string]any{"prompt": "a fox", "negative": "a cat", "seed": 7, "steps": 3, "sampler": "euler_a", "cfg_scale": 5, "width": 64, "height": 64}})
	require.Eventually(t, func() bool {
		job = s.read(http.Get(s.url + job["poll_url"].(string)))
		return job["status"] == "done"
	}, 20*time.Second, 10*time.Millisecond)
	reply, err := http.Get(s.url + job["pictures"].([]any)[0].(map[string]any)["url"].(string))
	require.NoError(t, err)
	defer reply.Body.Close()
	got, err := picture.Read(reply.Body)
	require.NoError(t, err)
	require.Equal(t, plain, got.Pix)
	s.stop()
	require.NotContains(t, s.log.String(), "a fox", "the log has no prompts")
}

// A server that is asked to end finishes what it draws, and takes nothing more.
func TestServeEnds(t *testing.T) {
	s := serve(t, nil, "-m", tinyModel(t), "--drain", "90s")
	done := make(chan map[string]any, 1)
	go func() {
		done <- s.post("/sdapi/v1/txt2img", map[string]any{"prompt": "a fox", "steps": 200, "width": 64, "height": 64})
	}()
	require.Eventually(t, func() bool {
		return s.read(http.Get(s.url + "/sdapi/v1/progress"))["progress"].(float64) > 0.02
	}, 20*time.Second, 2*time.Millisecond)
	s.stop()
	require.Len(t, (<-done)["images"], 1)
}

// Flags come from the command line, the environment and a file, in this order.
func TestServeSettings(t *testing.T) {
	folder := t.TempDir()
	config := filepath.Join(folder, "serve.json")
	require.NoError(t, os.WriteFile(config, []byte(`{"log_format": "text", "queue": 3, "max-pictures": 5, "host_name": ["one.example", "two.example"], "any_model": true}`), 0o600))
	keys := filepath.Join(folder, "keys")
	require.NoError(t, os.WriteFile(keys, []byte("# of the tests\nanna=0123456789\n"), 0o600))
	s := serve(t, []string{"SDGO_SERVE_MAX_PICTURES=6", "SDGO_SERVE_API_KEYS=abcdefghij", "SDGO_SERVE_CONFIG=" + config}, "--queue", "4", "-m", tinyModel(t), "--api-key-file", keys)
	get := func(path, host, key string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, nil)
		require.NoError(t, err)
		r.Host = host
		if key != "" {
			r.Header.Set("Authorization", "Bearer "+key)
		}
		reply, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		defer reply.Body.Close()
		text, err := io.ReadAll(reply.Body)
		require.NoError(t, err)
		return reply.StatusCode, string(text)
	}
	status, _ := get("/api/v1/capabilities", "two.example", "")
	require.Equal(t, http.StatusUnauthorized, status)
	status, _ = get("/api/v1/capabilities", "three.example", "abcdefghij")
	require.Equal(t, http.StatusForbidden, status)
	for _, key := range []string{"abcdefghij", "0123456789"} {
		status, text := get("/api/v1/capabilities", "two.example", key)
		require.Equal(t, http.StatusOK, status)
		require.Contains(t, text, `"waiting":4,`)
		require.Contains(t, text, `"pictures":6,`)
	}
	s.stop()

	program, err := buildProgram()
	require.NoError(t, err)
	for want, c := range map[string]struct{ env, args []string }{
		"there is no such flag of serve":             {env: []string{"SDGO_SERVE_NONSENSE=1"}},
		"--queue: must be at least 1, got 0":         {args: []string{"--queue", "0"}},
		"can be reached by others":                   {args: []string{"--listen", "0.0.0.0:0"}},
		"must be debug, info, warn or error":         {args: []string{"--log-level", "loud"}},
		"must be a time such as 30s":                 {args: []string{"--drain", "soon"}},
		"an API key must have at least 8 characters": {env: []string{"SDGO_SERVE_API_KEYS=short"}},
		"no such file":                               {args: []string{"--auth-file", filepath.Join(folder, "none")}},
		"must be such as https://example.com":        {args: []string{"--cors-origin", "*"}},
		`"nonsense": there is no such flag of serve`: {args: []string{"--config", fileOf(t, `{"nonsense": 1}`)}},
		`"queue"`: {args: []string{"--config", fileOf(t, `{"queue": "many"}`)}},
		`must be a text, a number or a switch, got [`: {args: []string{"--config", fileOf(t, `{"queue": [1]}`)}},
	} {
		command := exec.Command(program, append([]string{"serve", "--listen", "127.0.0.1:0"}, c.args...)...)
		command.Env = append(os.Environ(), c.env...)
		var errors bytes.Buffer
		command.Stderr = &errors
		require.Error(t, command.Run(), want)
		require.Contains(t, errors.String(), want)
		require.NotContains(t, strings.ToLower(errors.String()), "short\n", "no secrets")
	}
}

func fileOf(t *testing.T, text string) string {
	path := filepath.Join(t.TempDir(), "file.json")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// spent is the processor's time of the server and its workers that are alive.
func (s *served) spent() (total time.Duration) {
	s.Helper()
	pids := []string{strconv.Itoa(s.command.Process.Pid)}
	files, err := filepath.Glob("/proc/" + pids[0] + "/task/*/children")
	require.NoError(s, err)
	for _, f := range files {
		text, err := os.ReadFile(f)
		require.NoError(s, err)
		pids = append(pids, strings.Fields(string(text))...)
	}
	for _, pid := range pids {
		text, err := os.ReadFile("/proc/" + pid + "/stat")
		require.NoError(s, err)
		_, rest, ok := strings.Cut(string(text), ") ") // after the name
		require.True(s, ok)
		for _, ticks := range strings.Fields(rest)[11:13] { // utime and stime, in hundredths of a second
			n, err := strconv.Atoi(ticks)
			require.NoError(s, err)
			total += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return total
}

// BenchmarkServe draws 16 pictures with the built-in model, at its own size and at the web
// UI's default: one after the other, and all asked for at once, in passes of eight. The
// pictures are the same. On a machine that does other things, too, compare the processor's
// time, cpu-s/op.
func BenchmarkServe(b *testing.B) {
	for _, side := range []int{128, 512} {
		b.Run(strconv.Itoa(side), func(b *testing.B) { benchmarkServe(b, side) })
	}
}

func benchmarkServe(b *testing.B, side int) {
	s := serve(b, nil, "--batch-size", "8")
	body := func(i int) map[string]any {
		return map[string]any{"prompt": "a red apple", "seed": i, "steps": 10, "sampler_name": "Euler a", "width": side, "height": side}
	}
	pictures := map[string][16]string{}
	s.post("/sdapi/v1/txt2img", body(0)) // the model is open
	run := func(name string, draw func(one func(i int))) {
		b.Run(name, func(b *testing.B) {
			before := s.spent()
			for b.Loop() {
				var all [16]string
				draw(func(i int) {
					all[i] = s.post("/sdapi/v1/txt2img", body(i))["images"].([]any)[0].(string)
				})
				pictures[name] = all
			}
			b.ReportMetric(16/(b.Elapsed().Seconds()/float64(b.N)), "pictures/s")
			b.ReportMetric((s.spent()-before).Seconds()/float64(b.N), "cpu-s/op")
		})
	}
	run("one-by-one", func(one func(i int)) {
		for i := range 16 {
			one(i)
		}
	})
	run("at-once", func(one func(i int)) {
		var all sync.WaitGroup
		for i := range 16 {
			all.Go(func() { one(i) })
		}
		all.Wait()
	})
	require.Equal(b, pictures["one-by-one"], pictures["at-once"])
}

// Networks of the folder beside a model: a hires pass with an upscaler, a refiner, an
// upscaled picture, all as on the command line.
func TestServedNetworks(t *testing.T) {
	folder := t.TempDir()
	for name, from := range map[string]string{"base.safetensors": xlBase, "fine.safetensors": xlRefiner, "four.pth": "../testdata/upscale/x4.pth", "broken.safetensors": "../testdata/README.md"} {
		data, err := os.ReadFile(from)
		if err != nil {
			require.Equal(t, "broken.safetensors", name, err)
			data = []byte("no model")
		}
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), data, 0o600))
	}
	vae := partOf(t, xlBase, vaePrefix, func(name string, x *safetensors.Tensor) bool {
		if x.Name = name; name == "decoder.conv_out.weight" { // another decoder
			x.Data = make([]byte, len(x.Data))
		}
		return true
	})
	data, err := os.ReadFile(vae)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "grey.safetensors"), data, 0o600))
	s := serve(t, nil, "--models", folder)
	draw := func(args ...string) []uint8 {
		pix, _ := drawnBy(t, append([]string{"txt2img", "-m", xlBase, "-p", "a fox", "-W", "64", "-H", "64", "--sampler", "euler"}, args...)...)
		return pix
	}
	post := func(more map[string]any) []uint8 {
		body := map[string]any{"prompt": "a fox", "seed": 1, "steps": 2, "sampler_name": "Euler", "width": 64, "height": 64, "cfg_scale": 7, "override_settings": map[string]any{"sd_model_checkpoint": "base"}}
		for k, v := range more {
			body[k] = v
		}
		pix, _ := pictureOfText(t, s.post("/sdapi/v1/txt2img", body)["images"].([]any)[0])
		return pix
	}
	guided := []string{"--cfg-scale", "7"}
	require.Equal(t, draw(guided...), post(nil))
	require.Equal(t, draw(append(guided, "--hires", "2x", "--hires-upscaler", "../testdata/upscale/x4.pth", "--hires-strength", "0.5")...),
		post(map[string]any{"enable_hr": true, "hr_scale": 2, "hr_upscaler": "four", "denoising_strength": 0.5}))
	require.Equal(t, draw(append(guided, "--refiner", xlRefiner, "--refiner-at", "0.5")...), post(map[string]any{"refiner_checkpoint": "fine.safetensors", "refiner_switch_at": 0.5}))

	grey := draw(append(guided, "--vae", vae)...)
	require.NotEqual(t, draw(guided...), grey)
	require.Equal(t, grey, post(map[string]any{"override_settings": map[string]any{"sd_model_checkpoint": "base", "sd_vae": "grey"}}))

	img, _ := start(20, 12)
	in, out := writePNG(t, t.TempDir(), "in.png", img), filepath.Join(t.TempDir(), "out.png")
	o := sdgo(t, "upscale", "-q", "-m", "../testdata/upscale/x4.pth", in, "-o", out)
	require.Equal(t, ExitOK, o.code, o.errors)
	large, err := picture.Open(out)
	require.NoError(t, err)
	data, err = os.ReadFile(in)
	require.NoError(t, err)
	pix, _ := pictureOfText(t, s.post("/sdapi/v1/extra-single-image", map[string]any{"image": base64.StdEncoding.EncodeToString(data), "upscaling_resize": 4, "upscaler_1": "four"})["image"])
	require.Equal(t, large.Pix, pix)

	models := s.read(http.Get(s.url + "/api/v1/models"))["models"].([]any)
	kinds := map[string]any{}
	for _, m := range models {
		kinds[m.(map[string]any)["name"].(string)] = m.(map[string]any)["kind"]
	}
	require.Equal(t, "checkpoint", kinds["base"])
	require.Equal(t, "refiner", kinds["fine"])
	require.Equal(t, "upscaler", kinds["four"])
	require.Equal(t, "vae", kinds["grey"])
	require.Equal(t, "other", kinds["broken"])
}
