package cli

import (
	"encoding/json"
	"image"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/face"
	"github.com/sdgo/sdgo/sd/picture"
)

const controls = "../testdata/controls"

// edgesFile is a picture for ControlNets.
func edgesFile(t *testing.T) string {
	t.Helper()
	img := image.NewNRGBA(image.Rect(0, 0, 64, 64))
	for i := range img.Pix {
		img.Pix[i] = uint8(i * i / 97)
		if i%4 == 3 {
			img.Pix[i] = 255
		}
	}
	path := filepath.Join(t.TempDir(), "edges.png")
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, picture.Encode(f, img, picture.Options{}))
	require.NoError(t, f.Close())
	return path
}

// Flags, repeated or as lists, and jobs draw the same, and pictures say with what.
func TestControlsByFlagsAndJobs(t *testing.T) {
	const photo = "../testdata/preprocess/photo.png"
	edges := edgesFile(t)
	draw := func(args ...string) ([]uint8, string) {
		return drawnBy(t, append([]string{"txt2img", "-m", sd1Tiny, "-p", "a cat", "-W", "64", "-H", "64"}, args...)...)
	}
	plain, _ := draw()
	one, said := draw("--control", controls+"/sd1.safetensors", "--control-image", edges, "--control-weight", "0.8")
	require.NotEqual(t, plain, one)
	require.Contains(t, said, `ControlNet 0: "Module: none, Model: sd1, Image: edges.png, Weight: 0.8, Guidance Start: 0, Guidance End: 1, Control Mode: Balanced"`)
	two, said := draw("--control", controls+"/sd1.safetensors", "--control", controls+"/sd1-diffusers", "--control-image", edges, "--control-weight", "0.8",
		"--control-weight", "0.5", "--control-mode", "prompt", "--control-end", "0.9")
	require.NotEqual(t, one, two)
	require.Contains(t, said, `ControlNet 1: "Module: none, Model: sd1-diffusers, Image: edges.png, Weight: 0.5, Guidance Start: 0, Guidance End: 0.9, Control Mode: My prompt is more important"`)
	listed, _ := draw("--control", controls+"/sd1.safetensors,"+controls+"/sd1-diffusers", "--control-image", edges, "--control-weight", "0.8,0.5",
		"--control-mode", "prompt", "--control-end", "0.9")
	require.Equal(t, two, listed)
	none, _ := draw("--control", controls+"/sd1.safetensors", "--control-image", edges, "--control-weight", "0")
	lines := filepath.Join(t.TempDir(), "lines.png")
	require.Equal(t, ExitOK, sdgo(t, "preprocess", "canny:low=30,high=60", "--resolution", "64", "-i", photo, "-o", lines).code)
	before, _ := draw("--control", controls+"/sd1.safetensors", "--control-image", lines)
	onTheWay, said := draw("--control", controls+"/sd1.safetensors", "--control-image", photo, "--control-preprocess", "canny:low=30:high=60")
	require.Equal(t, before, onTheWay)
	require.Contains(t, said, `canny:low=30:high=60`)
	require.Equal(t, plain, none)

	folder := filepath.Dir(edges)
	data, err := os.ReadFile(controls + "/sd1.safetensors")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "sd1.safetensors"), data, 0o600))
	jobs := filepath.Join(folder, "jobs.jsonl")
	line := `{"prompt":"a cat","control":[{"name":"sd1.safetensors","image":"edges.png","weight":0.8}],"seed":1,"steps":2,"width":64,"height":64,"output":"` + folder + `/job.png"}`
	require.NoError(t, os.WriteFile(jobs, []byte(line), 0o600))
	run := func() outcome { return sdgo(t, "batch", "-m", sd1Tiny, jobs) }
	o := run()
	require.Equal(t, ExitOK, o.code, o.errors)
	img, err := picture.Open(folder + "/job.png")
	require.NoError(t, err)
	require.Equal(t, one, img.Pix)
	require.Contains(t, run().errors, "1 of 1", "the picture is there already") // of the same inputs
	small := image.NewNRGBA(image.Rect(0, 0, 64, 64))
	f, err := os.Create(edges)
	require.NoError(t, err)
	require.NoError(t, picture.Encode(f, small, picture.Options{}))
	require.NoError(t, f.Close())
	require.Equal(t, ExitOK, run().code)
	again, err := picture.Open(folder + "/job.png")
	require.NoError(t, err)
	require.NotEqual(t, img.Pix, again.Pix, "the control's picture has changed")
}

func TestControlMistakes(t *testing.T) {
	edges := edgesFile(t)
	net := controls + "/sd1.safetensors"
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--control", "nobody.safetensors", "--control-image", edges}, ExitFailure, "nobody.safetensors"},
		{[]string{"--control", adapters + "/kohya.safetensors", "--control-image", edges}, ExitFailure, "not a supported model"},
		{[]string{"--control", net}, ExitUsage, "--control-image: needs a picture"},
		{[]string{"--control-image", edges}, ExitUsage, "--control-image: there is no ControlNet"},
		{[]string{"--control", net, "--control-image", "nobody.png"}, ExitUsage, "--control-image: nobody.png"},
		{[]string{"--control", net, "--control-image", edges, "--control-weight", "11"}, ExitUsage, "--control-weight: must be 0 to 10, got 11"},
		{[]string{"--control", net, "--control-image", edges, "--control-start", "0.5", "--control-end", "0.4"}, ExitUsage, "--control-end: must be after Start, 0.5, got 0.4"},
		{[]string{"--control", net, "--control-image", edges, "--control-mode", "much"}, ExitUsage, "--control-mode: must be balanced, prompt, control or guess"},
		{[]string{"--control", controls + "/xl.safetensors", "--control-image", edges}, ExitUsage, "--control: xl does not go with the model"},
	} {
		o := sdgo(t, append([]string{"txt2img", "-q", "-m", sd1Tiny, "-p", "a cat", "--steps", "1", "-W", "64", "-H", "64", "-o", t.TempDir() + "/x.png"}, c.args...)...)
		require.Equal(t, c.code, o.code, "%v: %s", c.args, o.errors)
		require.Contains(t, o.errors, c.want)
	}
}

// FaceID sees a face by its vector's file alone.
func TestFaceByFlags(t *testing.T) {
	draw := func(args ...string) ([]uint8, string) {
		return drawnBy(t, append([]string{"txt2img", "-m", sd1Tiny, "-p", "a cat", "-W", "64", "-H", "64"}, args...)...)
	}
	net, vector := controls+"/ip-faceid.safetensors", controls+"/face.npy"
	plain, _ := draw()
	one, said := draw("--control", net, "--control-face", vector)
	require.NotEqual(t, plain, one)
	require.Contains(t, said, "Face: face.npy")
	numbers, err := face.Open(vector)
	require.NoError(t, err)
	text, err := json.Marshal(numbers)
	require.NoError(t, err)
	list := filepath.Join(t.TempDir(), "face.json")
	require.NoError(t, os.WriteFile(list, text, 0o600))
	two, _ := draw("--control", net, "--control-face", list)
	require.Equal(t, one, two)
	gguf := filepath.Join(t.TempDir(), "ip-faceid.gguf")
	o := sdgo(t, "convert", net, "-o", gguf)
	require.Equal(t, ExitOK, o.code, o.errors)
	three, _ := draw("--control", gguf, "--control-face", vector)
	require.Equal(t, one, three)
	o = sdgo(t, "info", net)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Contains(t, strings.Join(strings.Fields(o.out), " "), "4 tokens of width 64 of a face's vector of width 16, a LoRA of rank 2, 4 layers")
	edges, plus := edgesFile(t), []string{"--control", controls + "/ip-faceid-plus.safetensors", "--clip-vision", controls + "/clip-vision.safetensors"}
	short := filepath.Join(t.TempDir(), "short.json")
	require.NoError(t, os.WriteFile(short, []byte("[1, 2]"), 0o600))
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--control", net, "--control-image", edges}, "--control-face: is missing: ip-faceid sees a face by the 16 numbers"},
		{[]string{"--control", net, "--control-face", short}, "--control-face: must have the 16 numbers that ip-faceid takes, got 2"},
		{[]string{"--control", net, "--control-face", edges}, "--control-face: " + edges + ": a face's vector must be a file of NumPy"},
		{[]string{"--control", net, "--control-face", vector, "--control-image", edges}, "--control-image: must not be there: ip-faceid sees the face's vector alone"},
		{[]string{"--control", controls + "/sd1.safetensors", "--control-image", edges, "--control-face", vector}, "--control-face: is for FaceID IP-Adapters, and sd1 is none"},
		{append(plus, "--control-face", vector), "--control-image: is missing: ip-faceid-plus sees the picture of the face, too"},
		{append(plus, "--control-image", edges), "--control-face: is missing"},
		{[]string{"--control-face", vector}, "--control-face: there is no ControlNet"},
	} {
		o := sdgo(t, append([]string{"txt2img", "-q", "-m", sd1Tiny, "-p", "a cat", "--steps", "1", "-W", "64", "-H", "64", "-o", t.TempDir() + "/x.png"}, c.args...)...)
		require.Equal(t, ExitUsage, o.code, "%v: %s", c.args, o.errors)
		require.Contains(t, o.errors, c.want)
	}
}

// T2I-Adapters and IP-Adapters are named as ControlNets are.
func TestOtherControlsByFlags(t *testing.T) {
	edges := edgesFile(t)
	draw := func(args ...string) ([]uint8, string) {
		return drawnBy(t, append([]string{"txt2img", "-m", sd1Tiny, "-p", "a cat", "-W", "64", "-H", "64", "--control-image", edges}, args...)...)
	}
	net, _ := draw("--control", controls+"/sd1.safetensors")
	t2i, said := draw("--control", "t2i-light", "--control-dir", controls)
	require.Contains(t, said, "Model: t2i-light, ")
	ip, said := draw("--control", controls+"/ip-plus.safetensors", "--clip-vision", controls+"/clip-vision.safetensors", "--control-weight", "0.7")
	require.Contains(t, said, "Model: ip-plus, ")
	require.NotEqual(t, net, t2i)
	require.NotEqual(t, net, ip)
	o := sdgo(t, "txt2img", "-q", "-m", sd1Tiny, "-p", "a", "--control", controls+"/ip-plus.safetensors", "--control-image", edges, "-o", t.TempDir()+"/x.png")
	require.Equal(t, ExitFailure, o.code)
	require.Contains(t, o.errors, "an IP-Adapter needs an image encoder of CLIP: name its file (--clip-vision")
	for file, want := range map[string]string{"t2i-sd1": "T2I-Adapter  2 features of [32 32] channels", "t2i-light": "a light T2I-Adapter", "ip-plus": "IP-Adapter  4 tokens of width 64 of states of width 32, by a resampler",
		"ip-basic": "of an embedding of width 24, 4 layers", "clip-vision": "a CLIP image encoder"} {
		o := sdgo(t, "info", controls+"/"+file+".safetensors")
		require.Equal(t, ExitOK, o.code, o.errors)
		require.Contains(t, strings.Join(strings.Fields(o.out), " "), strings.Join(strings.Fields(want), " "), file)
	}
}

// info says what the network is for.
func TestInfoOfControlNets(t *testing.T) {
	for _, file := range []string{"sd1.safetensors", "sd1-diffusers", "sd2.safetensors", "xl.safetensors", "xl-small.safetensors"} {
		o := sdgo(t, "info", controls+"/"+file)
		require.Equal(t, ExitOK, o.code, o.errors)
		require.Contains(t, o.out, "a ControlNet", file)
		require.Contains(t, o.out, "ControlNet  ", file)
		o = sdgo(t, "info", "--json", controls+"/"+file)
		require.Equal(t, ExitOK, o.code, o.errors)
		require.True(t, json.Valid([]byte(o.out)))
	}
}
