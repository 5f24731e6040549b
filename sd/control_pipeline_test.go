package sd

import (
	"context"
	"fmt"
	"image"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/tensor"
)

// controlPicture is one of the reference's pictures.
func controlPicture(t *testing.T, ref reference, i int) *image.NRGBA {
	t.Helper()
	data := ref.tensor(fmt.Sprintf("picture.%d", i), "U8").Data
	img := image.NewNRGBA(image.Rect(0, 0, 64, 64))
	for k := range 64 * 64 {
		copy(img.Pix[4*k:], data[3*k:][:3])
		img.Pix[4*k+3] = 255
	}
	return img
}

// controlRequest is what the reference's latents are drawn with.
func controlRequest(ref reference, controls ...RequestControl) Request {
	return Request{Prompt: ref.file.Metadata["prompt"], NegativePrompt: ref.file.Metadata["negative"], Width: 64, Height: 64, Steps: 5,
		Guidance: Float(7), Seed: 42, Sampler: "euler", Controls: controls}
}

// withControls opens a tiny model with the ControlNets "sd1" and "sd1-diffusers".
func withControls(t *testing.T, o Options) *Model {
	t.Helper()
	m := openTiny(t, "sd1.safetensors", o)
	require.NoError(t, m.Attach(openControl(t, "sd1.safetensors", o), openControl(t, "sd1-diffusers", o)))
	return m
}

// Whole runs with one ControlNet and with several, in parts of the steps, in guess mode and
// on a picture, against the diffusers library's pipelines.
func TestControlledLatentsAgreeWithDiffusers(t *testing.T) {
	ref := readReference(t, controlsFolder, "reference.safetensors")
	one, two := RequestControl{Name: "sd1", Image: controlPicture(t, ref, 0)}, RequestControl{Name: "sd1-diffusers", Image: controlPicture(t, ref, 1)}
	with := func(c RequestControl, change func(*RequestControl)) RequestControl {
		change(&c)
		return c
	}
	weight := func(c RequestControl, w float64) RequestControl {
		return with(c, func(c *RequestControl) { c.Weight = Float(w) })
	}
	part := func(c RequestControl, start, end float64) RequestControl {
		return with(c, func(c *RequestControl) { c.Start, c.End = Float(start), Float(end) })
	}
	guess := func(c RequestControl) RequestControl {
		return with(c, func(c *RequestControl) { c.Mode = ControlGuess })
	}
	m := withControls(t, Options{Type: "f32"})
	plain := latentOf(t, m, controlRequest(ref), nil)
	requireClose(t, plain.Data, ref.f32("latent.none"), 1e-4, "none")
	for name, controls := range map[string][]RequestControl{
		"none": {weight(one, 0)}, "one": {weight(one, 0.8)}, "two": {weight(one, 0.8), weight(two, 0.5)}, "window": {part(one, 0.2, 0.6)},
		"windows": {part(one, 0, 0.4), part(two, 0.4, 1)}, "guess": {guess(one)}, "guess.two": {guess(one), weight(guess(two), 0.7)},
		"img2img": {part(weight(one, 0.8), 0, 0.5)},
	} {
		r := controlRequest(ref, controls...)
		if name == "img2img" { // four of the five steps
			r.Image, r.Strength = controlPicture(t, ref, 0), Float(0.6)
		}
		got := latentOf(t, m, r, nil)
		requireClose(t, got.Data, ref.f32("latent."+name), 1e-4, name)
		if name != "none" {
			require.Greater(t, relativeRMS(got.Data, plain.Data), 0.01, name)
		} else {
			require.Equal(t, plain, got)
		}
		if name == "img2img" { // whose picture is that of the network, too, where that has none
			r.Controls[0].Image = nil
			require.Equal(t, got, latentOf(t, m, r, nil))
		}
	}

	xl, err := Open(filepath.Join("..", "testdata", "xl", "base.safetensors"), Options{Type: "f32"})
	require.NoError(t, err)
	defer xl.Close()
	require.NoError(t, xl.Attach(openControl(t, "xl.safetensors", Options{Type: "f32"})))
	got := latentOf(t, xl, controlRequest(ref, weight(RequestControl{Name: "xl", Image: controlPicture(t, ref, 0)}, 0.8)), nil)
	requireClose(t, got.Data, ref.f32("latent.xl"), 1e-4, "xl")
}

// Whole runs with T2I-Adapters.
func TestT2ILatentsAgreeWithDiffusers(t *testing.T) {
	ref := readReference(t, controlsFolder, "reference.safetensors")
	open := func(name string) Control {
		c, err := OpenControl(filepath.Join(controlsFolder, name), Options{Type: "f32"})
		require.NoError(t, err)
		t.Cleanup(func() { c.Close() })
		return c
	}
	m := withControls(t, Options{Type: "f32", Batch: 4})
	require.NoError(t, m.Attach(open("t2i-sd1.safetensors"), open("t2i-light.safetensors")))
	one := RequestControl{Name: "t2i-sd1", Image: controlPicture(t, ref, 0), Weight: Float(0.8)}
	got := latentOf(t, m, controlRequest(ref, one), nil)
	requireClose(t, got.Data, ref.f32("latent.t2i"), 1e-4, "t2i")
	xl, err := Open(filepath.Join("..", "testdata", "xl", "base.safetensors"), Options{Type: "f32"})
	require.NoError(t, err)
	defer xl.Close()
	require.NoError(t, xl.Attach(open("t2i-xl.safetensors")))
	got = latentOf(t, xl, controlRequest(ref, RequestControl{Name: "t2i-xl", Image: controlPicture(t, ref, 0), Weight: Float(0.8), End: Float(0.6)}), nil)
	requireClose(t, got.Data, ref.f32("latent.t2i.xl"), 1e-4, "t2i.xl")

	// In batches, beside ControlNets, in all modes, with DeepCache, hires passes and odd sides.
	net := RequestControl{Name: "sd1", Image: controlPicture(t, ref, 1)}
	light := RequestControl{Name: "t2i-light", Image: controlPicture(t, ref, 1), Mode: ControlNetwork}
	prompt := light
	prompt.Mode = ControlPrompt
	var requests []Request
	var want [][]byte
	for _, controls := range [][]RequestControl{{one}, {one, light}, {light}, {prompt}, {net, one}, {net}, nil} {
		r := controlRequest(ref, controls...)
		requests, want = append(requests, r), append(want, draw(t, m, r))
		for k := range len(want) - 1 {
			require.NotEqual(t, want[k], want[len(want)-1], "%d %d", k, len(want)-1)
		}
	}
	require.NoError(t, m.GenerateAll(context.Background(), requests, func(i int, r *Result, err error) error {
		require.NoError(t, err)
		require.Equal(t, want[i], r.Images[0].Image.Pix, "%d", i)
		return nil
	}))
	for name, change := range map[string]func(*Request){
		"deep cache": func(r *Request) { r.DeepCache = 2 }, "hires": func(r *Request) { r.Hires = []HiresPass{{Scale: 1.5, Steps: 2}} },
		"odd sides": func(r *Request) { r.Width, r.Height = 72, 40 },
	} {
		r := controlRequest(ref)
		change(&r)
		plain := draw(t, m, r)
		r.Controls = []RequestControl{one}
		require.NotEqual(t, plain, draw(t, m, r), name)
		r.Controls[0].Weight = Float(0)
		require.Equal(t, plain, draw(t, m, r), name)
	}
	guess := light
	guess.Mode = ControlGuess
	require.ErrorContains(t, m.Check(controlRequest(ref, guess)), "Controls[0].Mode: guess is for ControlNets, and t2i-light is a T2I-Adapter")
	require.NoError(t, m.Attach(open("t2i-xl.safetensors")))
	require.ErrorContains(t, m.Check(controlRequest(ref, RequestControl{Name: "t2i-xl", Image: controlPicture(t, ref, 0)})),
		"t2i-xl does not go with the model: feature 0 has 32 channels at 1/2 of the latent's size, the model's level 32 at 1/1")
}

// Whole runs with IP-Adapters.
func TestIPLatentsAgreeWithDiffusers(t *testing.T) {
	ref := readReference(t, controlsFolder, "reference.safetensors")
	m := withControls(t, Options{Type: "f32", Batch: 4})
	t2i, err := OpenT2IAdapter(filepath.Join(controlsFolder, "t2i-sd1.safetensors"), Options{Type: "f32"})
	require.NoError(t, err)
	defer t2i.Close()
	require.NoError(t, m.Attach(t2i))
	img := seenPicture(ref)
	for _, kind := range []string{"basic", "plus", "full"} {
		require.NoError(t, m.Attach(openIPAdapter(t, kind, Options{Type: "f32"})))
		got := latentOf(t, m, controlRequest(ref, RequestControl{Name: "ip-" + kind, Image: img, Weight: Float(0.7)}), nil)
		requireClose(t, got.Data, ref.f32("latent.ip."+kind), 1e-4, kind)
	}

	// In batches, beside others, with DeepCache, hires passes, AND, and in a part of the steps.
	ip, late := RequestControl{Name: "ip-plus", Image: img}, RequestControl{Name: "ip-plus", Image: img, Start: Float(0.4)}
	other := RequestControl{Name: "ip-basic", Image: controlPicture(t, ref, 1)}
	net, adapter := RequestControl{Name: "sd1", Image: controlPicture(t, ref, 1)}, RequestControl{Name: "t2i-sd1", Image: controlPicture(t, ref, 0)}
	var requests []Request
	var want [][]byte
	for _, controls := range [][]RequestControl{{ip}, {late}, {other}, {net, ip, adapter}, {net, adapter}, nil} {
		r := controlRequest(ref, controls...)
		requests, want = append(requests, r), append(want, draw(t, m, r))
		for k := range len(want) - 1 {
			require.NotEqual(t, want[k], want[len(want)-1], "%d %d", k, len(want)-1)
		}
	}
	require.NoError(t, m.GenerateAll(context.Background(), requests, func(i int, r *Result, err error) error {
		require.NoError(t, err)
		require.Equal(t, want[i], r.Images[0].Image.Pix, "%d", i)
		return nil
	}))
	for name, change := range map[string]func(*Request){
		"deep cache": func(r *Request) { r.DeepCache = 2 }, "hires": func(r *Request) { r.Hires = []HiresPass{{Scale: 1.5, Steps: 2}} },
		"and": func(r *Request) { r.Prompt = "a cat AND a dog :0.5" }, "perturbed": func(r *Request) { r.Guider = "pag" },
	} {
		r := controlRequest(ref)
		change(&r)
		plain := draw(t, m, r)
		r.Controls = []RequestControl{ip}
		require.NotEqual(t, plain, draw(t, m, r), name)
		r.Controls[0].Weight = Float(0)
		require.Equal(t, plain, draw(t, m, r), name)
	}
	require.ErrorContains(t, m.Check(controlRequest(ref, ip, other)), "Controls[1].Name: at most one IP-Adapter is possible")
	ip.Mode = ControlPrompt
	require.ErrorContains(t, m.Check(controlRequest(ref, ip)), "Controls[0].Mode: must be balanced with an IP-Adapter, got prompt")
	_, err = OpenControl(filepath.Join(controlsFolder, "ip-basic.safetensors"), Options{})
	require.ErrorContains(t, err, "an IP-Adapter needs an image encoder of CLIP")
	_, err = OpenControl(filepath.Join(controlsFolder, "ip-basic.safetensors"), Options{CLIPVision: filepath.Join(controlsFolder, "sd1.safetensors")})
	require.ErrorContains(t, err, "expected an image encoder of CLIP")
	_, err = Open(filepath.Join(netsFolder, "sd1.safetensors"), Options{CLIPVision: "x"})
	require.ErrorContains(t, err, "CLIPVision is what OpenControl takes")
}

// The modes: what is more important weighs more, and the network steers predictions
// without the prompt in only two of them.
func TestControlModes(t *testing.T) {
	ref := readReference(t, controlsFolder, "reference.safetensors")
	m := withControls(t, Options{Type: "f32"})
	draw := func(mode ControlMode, guidance float64) tensor.Tensor {
		r := controlRequest(ref, RequestControl{Name: "sd1", Image: controlPicture(t, ref, 0), Mode: mode})
		r.Guidance = Float(guidance)
		return latentOf(t, m, r, nil)
	}
	require.Equal(t, draw("", 7), draw(ControlBalanced, 7))
	require.NotEqual(t, draw(ControlBalanced, 7), draw(ControlPrompt, 7))
	require.NotEqual(t, draw(ControlPrompt, 7), draw(ControlNetwork, 7))
	require.NotEqual(t, draw(ControlNetwork, 7), draw(ControlGuess, 7))
	// Without guidance there is a prediction with the prompt alone.
	require.Equal(t, draw(ControlPrompt, 1), draw(ControlNetwork, 1))
	require.NotEqual(t, draw(ControlPrompt, 1), draw(ControlGuess, 1))
}

// The same picture alone, in a batch with others, whatever is beside it, and with Submit.
func TestControlsInBatches(t *testing.T) {
	ref := readReference(t, controlsFolder, "reference.safetensors")
	one, two := RequestControl{Name: "sd1", Image: controlPicture(t, ref, 0)}, RequestControl{Name: "sd1-diffusers", Image: controlPicture(t, ref, 1)}
	other := one
	other.Image, other.Weight = controlPicture(t, ref, 1), Float(0.5)
	late := one
	late.Start = Float(0.4)
	guess := one
	guess.Mode = ControlGuess
	m := withControls(t, Options{Batch: 8})
	var requests []Request
	var want [][]byte
	for _, controls := range [][]RequestControl{{one}, {other}, {late}, {guess}, nil, {one, two}, {two}} {
		r := controlRequest(ref, controls...)
		requests, want = append(requests, r), append(want, draw(t, m, r))
	}
	for i := range want {
		for k := range i {
			require.NotEqual(t, want[i], want[k], "%d %d", i, k)
		}
	}
	before := m.Passes()
	require.NoError(t, m.GenerateAll(context.Background(), requests, func(i int, r *Result, err error) error {
		require.NoError(t, err)
		require.Equal(t, want[i], r.Images[0].Image.Pix, "%d", i)
		return nil
	}))
	require.Less(t, m.Passes()-before, uint64(5*len(requests)), "those with the same networks share passes")
	done := make(chan error)
	got := make([][]byte, len(want))
	for i := range requests {
		go func() {
			r, err := m.Submit(context.Background(), requests[i], 0)
			if err == nil {
				got[i] = r.Images[0].Image.Pix
			}
			done <- err
		}()
	}
	for range requests {
		require.NoError(t, <-done)
	}
	require.Equal(t, want, got)
}

// With hires passes, masks, DeepCache, perturbed attention, AND, and adapters.
func TestControlsBesideOthers(t *testing.T) {
	ref := readReference(t, controlsFolder, "reference.safetensors")
	m := withControls(t, Options{})
	require.NoError(t, m.Attach(openAdapter(t, "kohya.safetensors")))
	c := RequestControl{Name: "sd1", Image: controlPicture(t, ref, 0)}
	mask := image.NewGray(image.Rect(0, 0, 64, 64))
	for i := range mask.Pix {
		if x, y := i%64, i/64; x > 20 && x < 50 && y > 10 && y < 60 {
			mask.Pix[i] = 255
		}
	}
	for name, change := range map[string]func(*Request){
		"hires":       func(r *Request) { r.Hires = []HiresPass{{Scale: 1.5, Steps: 2}} },
		"inpaint":     func(r *Request) { r.Image, r.Mask = controlPicture(t, ref, 1), mask },
		"only masked": func(r *Request) { r.Image, r.Mask, r.OnlyMasked = controlPicture(t, ref, 1), mask, true },
		"outpaint":    func(r *Request) { r.Image, r.Canvas = controlPicture(t, ref, 1), image.Pt(80, 96) },
		"deep cache":  func(r *Request) { r.DeepCache = 2 },
		"perturbed":   func(r *Request) { r.Guider = "pag" },
		"and":         func(r *Request) { r.Prompt = "a cat AND a dog :0.5" },
		"adapter":     func(r *Request) { r.Prompt += "<lora:kohya:1>" },
		"odd sides":   func(r *Request) { r.Width, r.Height = 72, 40 },
	} {
		r := controlRequest(ref)
		change(&r)
		if name == "outpaint" || name == "only masked" {
			r.Width, r.Height = 0, 0
		}
		plain := draw(t, m, r)
		r.Controls = []RequestControl{c}
		steered := draw(t, m, r)
		require.NotEqual(t, plain, steered, name)
		r.Controls[0].Weight = Float(0)
		require.Equal(t, plain, draw(t, m, r), name)
	}

	// DeepCache computes the network's inner part with that of the UNet alone.
	r := controlRequest(ref, c)
	r.DeepCache, r.Steps = 3, 6
	full := r
	full.DeepCache = 0
	require.NotEqual(t, draw(t, m, full), draw(t, m, r))
	// A second pass sees the picture at its own size.
	r = controlRequest(ref, c)
	r.Hires = []HiresPass{{Scale: 2, Steps: 2}}
	var passes []int
	r.OnEvent = func(e Event) error {
		if e.Stage == StageSample {
			passes = append(passes, e.Pass)
		}
		return nil
	}
	draw(t, m, r)
	require.Equal(t, []int{0, 0, 0, 0, 0, 1, 1}, passes)
}

// The window counts the steps that are made.
func TestControlWindow(t *testing.T) {
	ref := readReference(t, controlsFolder, "reference.safetensors")
	m := withControls(t, Options{})
	latents := func(r Request) (all [][]float32) {
		latentOf(t, m, r, func(s sampler.Step) error {
			all = append(all, slices.Clone(s.X))
			return nil
		})
		return all
	}
	plain := latents(controlRequest(ref))
	late := latents(controlRequest(ref, RequestControl{Name: "sd1", Image: controlPicture(t, ref, 0), Start: Float(0.4)}))
	require.Equal(t, plain[:2], late[:2])
	require.NotEqual(t, plain[2], late[2])
	early := latents(controlRequest(ref, RequestControl{Name: "sd1", Image: controlPicture(t, ref, 0), End: Float(0.1)}))
	require.Equal(t, plain, early, "no step of five ends by then")
}

// What can't be is refused by name, before any work.
func TestControlsInRequestsAreChecked(t *testing.T) {
	ref := readReference(t, controlsFolder, "reference.safetensors")
	m := withControls(t, Options{})
	require.NoError(t, m.Attach(openControl(t, "sd2.safetensors", Options{}), openControl(t, "xl.safetensors", Options{})))
	img := controlPicture(t, ref, 0)
	for want, c := range map[string]RequestControl{
		`Controls[0].Name: no ControlNet "other" is attached; there are ["sd1" "sd1-diffusers" "sd2" "xl"]`:                     {Name: "other", Image: img},
		`Controls[0].Name: must be that of an attached ControlNet`:                                                              {Image: img},
		`Controls[0].Name: xl does not go with the model: it is for another model, whose text has width 96; the model's has 64`: {Name: "xl", Image: img},
		`Controls[0].Image: needs a picture: there is neither one of its own nor one to begin with`:                             {Name: "sd1"},
		`Controls[0].Weight: must be 0 to 10, got 11`:                                                                           {Name: "sd1", Image: img, Weight: Float(11)},
		`Controls[0].Start: must be 0 to 1, got -1`:                                                                             {Name: "sd1", Image: img, Start: Float(-1)},
		`Controls[0].End: must be after Start, 0.5, got 0.5`:                                                                    {Name: "sd1", Image: img, Start: Float(0.5), End: Float(0.5)},
		`Controls[0].Mode: must be balanced, prompt, control or guess, got "x"`:                                                 {Name: "sd1", Image: img, Mode: "x"},
		`Controls[0].ImageFile: missing.png: `:                                                                                  {Name: "sd1", ImageFile: "missing.png"},
	} {
		require.ErrorContains(t, m.Check(controlRequest(ref, c)), want)
	}
	require.ErrorContains(t, m.Check(controlRequest(ref, slices.Repeat([]RequestControl{{Name: "sd1", Image: img}}, 17)...)), "Controls: must be at most 16, got 17")
	bare := openTiny(t, "sd1.safetensors", Options{})
	require.ErrorContains(t, bare.Check(controlRequest(ref, RequestControl{Name: "sd1", Image: img})), `"sd1": no ControlNet is attached`)

	closed, err := OpenControlNet(filepath.Join(controlsFolder, "sd1.safetensors"), Options{})
	require.NoError(t, err)
	require.NoError(t, bare.Attach(closed))
	require.NoError(t, closed.Close())
	require.ErrorIs(t, bare.Check(controlRequest(ref, RequestControl{Name: "sd1", Image: img})), ErrClosed)
	require.Error(t, bare.Attach(openControl(t, "sd1.safetensors", Options{})), "another one of that name is attached")
}

// controlFolder is the folder "sd1-diffusers" with some text of its configuration replaced.
func controlFolder(t *testing.T, old, new string) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "changed")
	require.NoError(t, os.CopyFS(folder, os.DirFS(filepath.Join(controlsFolder, "sd1-diffusers"))))
	path := filepath.Join(folder, "config.json")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(data), old)
	require.NoError(t, os.WriteFile(path, []byte(strings.Replace(string(data), old, new, 1)), 0o600))
	return folder
}

// What a configuration file says of the mathematics is followed, or refused by name.
func TestControlNetConfigurations(t *testing.T) {
	ref := readReference(t, controlsFolder, "reference.safetensors")
	m := openTiny(t, "sd1.safetensors", Options{Type: "f32"})
	pooled, err := OpenControlNet(controlFolder(t, `"global_pool_conditions": false`, `"global_pool_conditions": true`), Options{Type: "f32"})
	require.NoError(t, err)
	defer pooled.Close()
	require.NoError(t, m.Attach(pooled))
	r := controlRequest(ref, RequestControl{Name: "changed", Image: controlPicture(t, ref, 0), Weight: Float(0.8)})
	got := latentOf(t, m, r, nil)
	requireClose(t, got.Data, ref.f32("latent.pooled"), 1e-4, "pooled")
	r.Controls[0].Mode = ControlGuess
	require.Equal(t, got, latentOf(t, m, r, nil))

	for _, c := range []struct{ old, new, want string }{
		{`"controlnet_conditioning_channel_order": "rgb"`, `"controlnet_conditioning_channel_order": "bgr"`, "controlnet_conditioning_channel_order must be \"rgb\""},
		{`"freq_shift": 0`, `"freq_shift": 1`, "freq_shift must be 0"},
		{`"global_pool_conditions": false`, `"global_pool_conditions": 7`, "global_pool_conditions must be true or false"},
	} {
		_, err := OpenControlNet(controlFolder(t, c.old, c.new), Options{})
		require.ErrorContains(t, err, c.want)
	}
	heads, err := OpenControlNet(controlFolder(t, `"attention_head_dim": 8`, `"attention_head_dim": 4`), Options{Type: "f32"})
	require.NoError(t, err)
	defer heads.Close()
	other := openTiny(t, "sd1.safetensors", Options{Type: "f32"})
	require.NoError(t, other.Attach(heads))
	r.Controls[0].Mode = ""
	require.NotEqual(t, got, latentOf(t, other, r, nil))
}
