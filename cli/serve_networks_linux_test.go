package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/sd/face"
	"github.com/sdgo/sdgo/sd/picture"
)

// adapterFolder is a folder with a model, adapters and textual inversions.
func adapterFolder(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	for name, from := range map[string]string{
		"tiny.safetensors": "../testdata/nets/sd1.safetensors", "loras/style.safetensors": "../testdata/adapters/kohya.safetensors", "loras/ink.safetensors": "../testdata/adapters/locon.safetensors",
		"loras/turned.safetensors": "../testdata/adapters/oft.safetensors", "words/shiny.pt": "../testdata/adapters/words-a1111.pt",
	} {
		data, err := os.ReadFile(from)
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(folder, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), data, 0o600))
	}
	return folder
}

// Pictures of prompts that name LoRAs and textual inversions are those of the command line,
// to the bit, whoever draws with what beside them: all are asked for at once, of eight
// pictures a pass.
func TestServedAdapters(t *testing.T) {
	folder := adapterFolder(t)
	prompts := []string{"a fox", "a fox <lora:style:0.8>", "a fox <lora:ink:0.8>", "a fox <lora:style:0.5:0.8> <lora:turned:1>", "a shiny fox", "a shiny fox <lora:ink:-0.5>", "a fox <lora:STYLE:0.8>"}
	want := map[string][]uint8{}
	for _, p := range prompts {
		want[p], _ = drawnBy(t, "txt2img", "-m", filepath.Join(folder, "tiny.safetensors"), "--lora-dir", filepath.Join(folder, "loras"), "--embedding-dir", filepath.Join(folder, "words"),
			"-p", p, "-W", "64", "-H", "64", "--sampler", "euler", "--cfg-scale", "7")
	}
	require.NotEqual(t, want["a fox"], want["a fox <lora:style:0.8>"])
	require.NotEqual(t, want["a fox"], want["a shiny fox"])
	require.Equal(t, want["a fox <lora:STYLE:0.8>"], want["a fox <lora:style:0.8>"])

	s := serve(t, nil, "--models", folder, "-m", filepath.Join(folder, "tiny.safetensors"), "--batch-size", "8")
	var all sync.WaitGroup
	var mutex sync.Mutex
	got := map[string][]uint8{}
	for i := range 3 * len(prompts) {
		p := prompts[i%len(prompts)]
		all.Go(func() {
			reply := s.post("/sdapi/v1/txt2img", map[string]any{"prompt": p, "seed": 1, "steps": 2, "sampler_name": "Euler", "width": 64, "height": 64, "cfg_scale": 7})
			pix, parameters := pictureOfText(t, reply["images"].([]any)[0])
			mutex.Lock()
			defer mutex.Unlock()
			if !strings.Contains(parameters, p) || got[p] != nil && string(got[p]) != string(pix) {
				t.Errorf("%s: another picture than before, or other parameters: %s", p, parameters)
			}
			got[p] = pix
		})
	}
	all.Wait()
	for p, pix := range want {
		require.True(t, bytes.Equal(pix, got[p]), "%s: another picture than the command line's", p)
	}

	// A file that changed is opened anew; one that is gone is no longer there.
	data, err := os.ReadFile("../testdata/adapters/loha.safetensors")
	require.NoError(t, err)
	ink := filepath.Join(folder, "loras", "ink.safetensors")
	require.NoError(t, os.WriteFile(ink+".part", data, 0o600))
	require.NoError(t, os.Rename(ink+".part", ink))
	other, _ := drawnBy(t, "txt2img", "-m", filepath.Join(folder, "tiny.safetensors"), "--lora-dir", filepath.Join(folder, "loras"), "-p", prompts[2], "-W", "64", "-H", "64", "--sampler", "euler", "--cfg-scale", "7")
	require.NotEqual(t, want[prompts[2]], other)
	reply, err := http.Post(s.url+"/sdapi/v1/refresh-loras", "application/json", nil)
	require.NoError(t, err)
	reply.Body.Close()
	pix, _ := pictureOfText(t, s.post("/sdapi/v1/txt2img", map[string]any{"prompt": prompts[2], "seed": 1, "steps": 2, "sampler_name": "Euler", "width": 64, "height": 64, "cfg_scale": 7})["images"].([]any)[0])
	require.True(t, bytes.Equal(other, pix), "the changed file is another adapter")

	// What does not fit the model, or is damaged, is said without a path.
	broken := append([]byte(nil), data...)
	for i := len(broken) - 64; i < len(broken); i++ {
		broken[i] = 0xff // not a number
	}
	require.NoError(t, os.WriteFile(filepath.Join(folder, "loras", "broken.safetensors"), broken, 0o600))
	reply, err = http.Post(s.url+"/sdapi/v1/refresh-loras", "application/json", nil)
	require.NoError(t, err)
	reply.Body.Close()
	for text, problem := range map[string]string{"<lora:style:1>": "style", "<lora:broken:1>": "broken"} {
		body, err := json.Marshal(map[string]any{"prompt": text, "steps": 2, "width": 64, "height": 64, "override_settings": map[string]any{"sd_model_checkpoint": "sdgo-noto"}})
		require.NoError(t, err)
		reply, err := http.Post(s.url+"/sdapi/v1/txt2img", "application/json", strings.NewReader(string(body)))
		require.NoError(t, err)
		var answer map[string]any
		require.NoError(t, json.NewDecoder(reply.Body).Decode(&answer))
		reply.Body.Close()
		require.GreaterOrEqual(t, reply.StatusCode, 400, text)
		require.Contains(t, fmt.Sprint(answer), problem)
		require.NotContains(t, fmt.Sprint(answer), folder)
	}
}

// Pictures that follow others are those of the command line, to the bit, whoever draws
// beside them, and two files of one name in two folders are two networks.
func TestServedControls(t *testing.T) {
	folder := t.TempDir()
	for name, from := range map[string]string{"tiny.safetensors": "../testdata/nets/sd1.safetensors", "one/net.safetensors": controls + "/sd1.safetensors", "two/net.safetensors": controls + "/t2i-sd1.safetensors",
		"xl.safetensors": controls + "/xl.safetensors", "ip.safetensors": controls + "/ip-plus.safetensors", "vision.safetensors": controls + "/clip-vision.safetensors"} {
		data, err := os.ReadFile(from)
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(folder, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), data, 0o600))
	}
	differences(t, filepath.Join(folder, "differences.safetensors"))
	const photo = "../testdata/preprocess/photo.png"
	data, err := os.ReadFile(photo)
	require.NoError(t, err)
	want := map[string][]uint8{}
	for name, args := range map[string][]string{"": nil, "one/net": {"--control", folder + "/one/net.safetensors", "--control-preprocess", "canny:low=64:high=64:resolution=96"},
		"two/net": {"--control", folder + "/two/net.safetensors"}, "differences": {"--control", folder + "/differences.safetensors"}, "ip": {"--control", folder + "/ip.safetensors", "--clip-vision", folder + "/vision.safetensors"}} {
		if args != nil {
			args = append(args, "--control-image", photo, "--control-weight", "0.8")
		}
		want[name], _ = drawnBy(t, append([]string{"txt2img", "-m", filepath.Join(folder, "tiny.safetensors"), "-p", "a fox", "-W", "64", "-H", "64", "--sampler", "euler", "--cfg-scale", "7"}, args...)...)
	}
	s := serve(t, nil, "--models", folder, "-m", filepath.Join(folder, "tiny.safetensors"), "--batch-size", "8")
	unit := func(name string) map[string]any {
		u := map[string]any{"model": name, "image": base64.StdEncoding.EncodeToString(data), "weight": 0.8}
		if name == "one/net" {
			u["module"], u["processor_res"], u["threshold_a"], u["threshold_b"], u["save_detected_map"] = "canny", 96, 64, 64, false
		}
		return u
	}
	body := func(units ...map[string]any) map[string]any {
		return map[string]any{"prompt": "a fox", "seed": 1, "steps": 2, "sampler_name": "Euler", "width": 64, "height": 64, "cfg_scale": 7,
			"alwayson_scripts": map[string]any{"ControlNet": map[string]any{"args": units}}}
	}
	var all sync.WaitGroup
	for range 2 {
		for name, pix := range want {
			all.Go(func() {
				units := []map[string]any{}
				if name != "" {
					units = append(units, unit(name))
				}
				got, text := pictureOfText(t, s.post("/sdapi/v1/txt2img", body(units...))["images"].([]any)[0])
				if !bytes.Equal(pix, got) {
					t.Errorf("%q: another picture than the command line's: %s", name, text)
				}
			})
		}
	}
	all.Wait()
	text, err := json.Marshal(body(unit("xl")))
	require.NoError(t, err)
	reply, err := http.Post(s.url+"/sdapi/v1/txt2img", "application/json", bytes.NewReader(text))
	require.NoError(t, err)
	var answer map[string]any
	require.NoError(t, json.NewDecoder(reply.Body).Decode(&answer))
	reply.Body.Close()
	require.GreaterOrEqual(t, reply.StatusCode, 400)
	require.Contains(t, fmt.Sprint(answer), "xl does not go with the model")
	require.NotContains(t, fmt.Sprint(answer), folder)
}

// A face's vector reaches the worker, and what is wrong with it the client.
func TestServedFaces(t *testing.T) {
	folder := t.TempDir()
	for name, from := range map[string]string{"tiny": sd1Tiny, "faceid": controls + "/ip-faceid.safetensors"} {
		data, err := os.ReadFile(from)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(folder, name+".safetensors"), data, 0o600))
	}
	vector, err := face.Open(controls + "/face.npy")
	require.NoError(t, err)
	want, _ := drawnBy(t, "txt2img", "-m", filepath.Join(folder, "tiny.safetensors"), "-p", "a fox", "-W", "64", "-H", "64", "--control", filepath.Join(folder, "faceid.safetensors"), "--control-face", controls+"/face.npy")
	s := serve(t, nil, "--models", folder, "-m", filepath.Join(folder, "tiny.safetensors"))
	order := func(faces any) map[string]any {
		return map[string]any{"request": map[string]any{"prompt": "a fox", "width": 64, "height": 64, "steps": 2, "seed": 1, "control": "faceid"}, "control_faces": faces}
	}
	got, _ := s.own(order([]any{vector}))
	require.Equal(t, want, got)
	for text, faces := range map[string]any{"FaceID needs a face": []any{nil}, "must have the 16 numbers": []any{vector[:3]}, "got 2 for 1": []any{vector, vector}, "must be a list with a list of numbers": "face.npy",
		"must not be zeros": []any{make([]float32, len(vector))}} {
		require.Contains(t, s.refused(order(faces)), text)
	}
}

// refused is what the server says of an order that it does not take, or that fails.
func (s *served) refused(order map[string]any) string {
	s.Helper()
	body, err := json.Marshal(order)
	require.NoError(s, err)
	reply, err := http.Post(s.url+"/api/v1/jobs", "application/json", bytes.NewReader(body))
	require.NoError(s, err)
	defer reply.Body.Close()
	var said map[string]any
	require.NoError(s, json.NewDecoder(reply.Body).Decode(&said))
	if reply.StatusCode < 300 {
		require.Eventually(s, func() bool {
			said = s.read(http.Get(s.url + said["poll_url"].(string)))
			return said["ended"] != nil
		}, time.Minute, 10*time.Millisecond)
	}
	require.NotNil(s, said["error"], said)
	return fmt.Sprint(said["error"])
}

// differences writes a ControlNet's file that changes the model's UNet, by nothing.
func differences(t *testing.T, to string) {
	t.Helper()
	file := func(path string) *safetensors.File {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		f, err := safetensors.Parse(data)
		require.NoError(t, err)
		return f
	}
	own := map[string]bool{}
	for _, x := range file("../testdata/nets/sd1.safetensors").Tensors {
		if name, ok := strings.CutPrefix(x.Name, "model.diffusion_model."); ok {
			own[name] = true
		}
	}
	var zeros []safetensors.Tensor
	for _, x := range file(controls + "/sd1.safetensors").Tensors {
		if own[strings.TrimPrefix(x.Name, "control_model.")] {
			x.Data = make([]byte, len(x.Data))
			zeros = append(zeros, x)
		}
	}
	require.NotEmpty(t, zeros)
	rewrite(t, controls+"/sd1.safetensors", to, nil, append(zeros, safetensors.Tensor{Name: "difference", DType: "F32", Shape: []int64{1}, Data: make([]byte, 4)})...)
}

// A built-in model that draws by class, as sdgo sample draws with it; and all built-in
// models are there.
func TestServedClasses(t *testing.T) {
	s := serve(t, nil)
	names := map[string]map[string]any{}
	for _, m := range s.read(http.Get(s.url + "/api/v1/models"))["models"].([]any) {
		names[m.(map[string]any)["name"].(string)] = m.(map[string]any)
	}
	require.Equal(t, true, names["sdgo-noto"]["default"])
	emoji := names["sdgo-emoji"]
	require.Equal(t, "class", emoji["draws_from"])
	require.Len(t, emoji["classes"], 24)
	require.Contains(t, emoji["classes"], "fox")
	require.Equal(t, 32.0, emoji["native_size"])

	out := filepath.Join(t.TempDir(), "out.png")
	program, err := buildProgram()
	require.NoError(t, err)
	text, err := exec.Command(program, "sample", "-q", "--class", "fox", "-s", "5", "--steps", "4", "-o", out).CombinedOutput()
	require.NoError(t, err, "%s", text)
	want, err := picture.Open(out)
	require.NoError(t, err)
	job := s.post("/api/v1/jobs", map[string]any{"model": "sdgo-emoji", "request": map[string]any{"class": "fox", "seed": 5, "steps": 4}})
	require.Eventually(t, func() bool {
		job = s.read(http.Get(s.url + job["poll_url"].(string)))
		return job["ended"] != nil
	}, 20*time.Second, 10*time.Millisecond)
	require.Equal(t, "done", job["status"], job)
	reply, err := http.Get(s.url + job["pictures"].([]any)[0].(map[string]any)["url"].(string))
	require.NoError(t, err)
	defer reply.Body.Close()
	got, err := picture.Read(reply.Body)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want.Pix, got.Pix))

	pix, parameters := pictureOfText(t, s.post("/v1/images/generations", map[string]any{"model": "sdgo-emoji", "prompt": "fox", "seed": 5, "steps": 4})["data"].([]any)[0].(map[string]any)["b64_json"])
	require.True(t, bytes.Equal(want.Pix, pix))
	require.Contains(t, parameters, "Class: ")
}
