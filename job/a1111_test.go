package job

import (
	"bytes"
	"image"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/sd/pngtext"
	"github.com/sdgo/sdgo/sd/request"
)

func resolve(t *testing.T, r request.Request) request.Params {
	t.Helper()
	q, err := r.Resolve(defaults)
	require.NoError(t, err)
	return q.Params("sd15", r.Seed)
}

// Texts of pictures are read by other programs: they stay.
func TestText(t *testing.T) {
	img, mask := picture64()
	seed, prompt := int64(9), "a rocket, red"
	for _, c := range []struct {
		name string
		r    request.Request
		text string
	}{
		{"plain", request.Request{Prompt: "a cat, 1girl", NegativePrompt: "blurry", Width: 512, Height: 768, Seed: 42},
			"a cat, 1girl\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, Schedule type: Uniform, CFG scale: 7.5, Seed: 42, Size: 512x768, " +
				"Model: sd15, RNG: CPU, Version: sdgo 0.1.0"},
		{"nothing", request.Request{},
			"\nSteps: 20, Sampler: Euler a, Schedule type: Uniform, CFG scale: 7.5, Seed: 0, Size: 512x512, Model: sd15, RNG: CPU, Version: sdgo 0.1.0"},
		{"a picture and a mask", request.Request{Prompt: "x", Image: img, ImageFile: "/home/me/in.png", Mask: mask, MaskFile: `C:\masks\m.png`, OnlyMasked: true,
			MaskGrow: 2, MaskBlur: 1.5, MaskFeather: request.Int(0), ImageGuidance: request.Float(1.2)},
			"x\nSteps: 20, Sampler: Euler a, Schedule type: Uniform, CFG scale: 7.5, Seed: 0, Size: 512x512, Denoising strength: 0.75, Image CFG scale: 1.2, " +
				"Inpaint area: Only masked, Masked area padding: 32, Mask grow: 2, Mask blur: 1.5, Mask feather: 0, Model: sd15, " +
				"Init image: in.png, Mask image: m.png, RNG: CPU, Version: sdgo 0.1.0"},
		{"a canvas", request.Request{Prompt: "x", Image: img, Canvas: image.Pt(128, 64), Width: 128, Height: 64, Strength: request.Float(1), Sampler: "DPM++ 2M Karras", Steps: 8},
			"x\nSteps: 8, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 0, Size: 128x64, Denoising strength: 1, Canvas: 128x64, " +
				"Model: sd15, RNG: CPU, Version: sdgo 0.1.0"},
		{"on the way", request.Request{Prompt: "x", Interpolate: &request.Interpolation{Prompt: &prompt, Seed: &seed, At: 0.25}, RNG: request.PhiloxRNG},
			"x\nSteps: 20, Sampler: Euler a, Schedule type: Uniform, CFG scale: 7.5, Seed: 0, Size: 512x512, Variation seed: 9, Variation seed strength: 0.25, " +
				`Towards: "a rocket, red", Towards at: 0.25, Model: sd15, RNG: NV, Version: sdgo 0.1.0`},
		{"hires", request.Request{Prompt: "x", Hires: []request.HiresPass{{Scale: 1.5, Upscaler: "Latent"},
			{Width: 1024, Height: 1024, Strength: request.Float(0.3), Steps: 5, Upscaler: "4x, sharp", Sampler: "heun", Schedule: "karras", Guidance: request.Float(2)}}},
			"x\nSteps: 20, Sampler: Euler a, Schedule type: Uniform, CFG scale: 7.5, Seed: 0, Size: 512x512, Denoising strength: 0.7, Hires upscale: 1.5, Hires upscaler: Latent, " +
				`Hires 2 denoising strength: 0.3, Hires 2 resize: 1024x1024, Hires 2 steps: 5, Hires 2 upscaler: "4x, sharp", Hires 2 sampler: Heun, ` +
				"Hires 2 schedule type: Karras, Hires 2 CFG Scale: 2, Model: sd15, RNG: CPU, Version: sdgo 0.1.0"},
		{"hires of a picture", request.Request{Prompt: "x", Image: img, Hires: []request.HiresPass{{}}},
			"x\nSteps: 20, Sampler: Euler a, Schedule type: Uniform, CFG scale: 7.5, Seed: 0, Size: 64x64, Denoising strength: 0.75, Hires denoising strength: 0.7, Hires upscale: 2, " +
				"Model: sd15, RNG: CPU, Version: sdgo 0.1.0"},
		{"models", request.Request{Prompt: "x", TAESD: "taesd", Refiner: "xl: refiner [7440042bbd]", AestheticScore: request.Float(5), NegativeAestheticScore: request.Float(2), OriginalSize: image.Pt(64, 32),
			TargetSize: image.Pt(8, 9), CropTopLeft: image.Pt(1, 2), ClipSkip: 2, DeepCache: 3},
			"x\nSteps: 20, Sampler: Euler a, Schedule type: Uniform, CFG scale: 7.5, Seed: 0, Size: 512x512, VAE Decoder: TAESD, Model: sd15, " +
				`Refiner: "xl: refiner [7440042bbd]", Refiner switch at: 0.8, Aesthetic score: 5, Negative aesthetic score: 2, Original size: 64x32, Target size: 8x9, Crop top left: 1x2, ` +
				"Clip skip: 2, Deep cache: 3, TAESD: taesd, RNG: CPU, Version: sdgo 0.1.0"},
		{"a prompt that looks like the rest", request.Request{Prompt: "x\nNegative prompt: y\nSteps: 1, Sampler: euler, Seed: 5", NegativePrompt: "Negative prompt: z"},
			"x\nNegative prompt: y\nSteps: 1, Sampler: euler, Seed: 5\nNegative prompt: Negative prompt: z\n" +
				"Steps: 20, Sampler: Euler a, Schedule type: Uniform, CFG scale: 7.5, Seed: 0, Size: 512x512, Model: sd15, Prompt lines: 3, RNG: CPU, Version: sdgo 0.1.0"},
	} {
		p := resolve(t, c.r)
		require.Equal(t, c.text, Text(p, "0.1.0"), c.name)
		got, unread, err := ReadText(c.text)
		require.NoError(t, err)
		require.Empty(t, unread, c.name)
		require.NoError(t, again(got, c.r, nameless(p)), c.name)
	}
}

// nameless is p with the names of files as pictures have them.
func nameless(p request.Params) request.Params {
	for _, f := range Fields() {
		switch f.Path {
		case "ImageFile":
			p.ImageFile = baseOf(&p.Request, f)
		case "MaskFile":
			p.MaskFile = baseOf(&p.Request, f)
		}
	}
	return p
}

// What is not resolved is written as far as it goes.
func TestTextOfLittle(t *testing.T) {
	p := request.Params{Model: "v1,5", Request: request.Request{Prompt: "a cat, 1girl", NegativePrompt: "blurry", Width: 512, Height: 768, Steps: 20,
		Guidance: request.Float(7.5), Sampler: "euler_a", Schedule: "karras", Seed: 42, RNG: request.TorchRNG, ClipSkip: 2}}
	require.Equal(t, "a cat, 1girl\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, Schedule type: Karras, CFG scale: 7.5, Seed: 42, "+
		"Size: 512x768, Model: \"v1,5\", Clip skip: 2, RNG: CPU, Version: sdgo 9.9", Text(p, "9.9"))
	p = request.Params{Request: request.Request{Width: 8, Height: 8, Steps: 1, Sampler: "s", Schedule: "d", Guidance: request.Float(0), RNG: request.PhiloxRNG}}
	require.Equal(t, "\nSteps: 1, Sampler: s, Schedule type: d, CFG scale: 0, Seed: 0, Size: 8x8, RNG: NV, Version: sdgo 9.9", Text(p, "9.9"))
	require.Equal(t, "a\nSeed: 0, Version: sdgo 1", Text(request.Params{Request: request.Request{Prompt: "a"}}, "1"))
	got, unread, err := ReadText("a\nSeed: 0, Version: sdgo 1")
	require.NoError(t, err)
	require.Empty(t, unread)
	require.Equal(t, request.Params{Request: request.Request{Prompt: "a"}}, got)
}

// Texts of other programs, as their sources and files of theirs have them.
func TestReadTextOfOtherPrograms(t *testing.T) {
	for _, c := range []struct {
		program, text string
		want          request.Params
		unread        []Unread
	}{
		{"AUTOMATIC1111 1.10, txt2img with hires fix",
			"a fox, (red:1.2)\nin snow\nNegative prompt: blurry: very, \"bad\"\nugly\nSteps: 25, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 965400086, Size: 512x768, " +
				"Model hash: 6ce0161689, Model: v1-5-pruned, VAE hash: 735e4c3a44, VAE: ft-mse.safetensors, Denoising strength: 0.55, Clip skip: 2, Hires upscale: 2, Hires steps: 10, " +
				"Hires upscaler: Latent (nearest-exact), Hires sampler: Euler a, Hires CFG Scale: 5, Lora hashes: \"a: 1234, b: 5678\", Version: v1.10.1",
			request.Params{Model: "v1-5-pruned", ModelHash: "6ce0161689", Parts: request.Parts{VAE: "ft-mse.safetensors", VAEHash: "735e4c3a44"}, Request: request.Request{Prompt: "a fox, (red:1.2)\nin snow", NegativePrompt: "blurry: very, \"bad\"\nugly", Steps: 25,
				Sampler: "dpm++2m", Schedule: "karras", Guidance: request.Float(7), Seed: 965400086, Width: 512, Height: 768, ClipSkip: 2, RNG: request.PhiloxRNG,
				Hires: []request.HiresPass{{Scale: 2, Steps: 10, Strength: request.Float(0.55), Upscaler: "Latent (nearest-exact)", Sampler: "euler_a", Schedule: "karras", Guidance: request.Float(5)}}},
				UsedAdapters: []request.Used{{Name: "a", Hash: "1234"}, {Name: "b", Hash: "5678"}}},
			nil},
		{"AUTOMATIC1111, before schedules had a setting, resized",
			"a fox\nSteps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7.5, Seed: 1, Size: 512x768, Variation seed: 7, Variation seed strength: 0.3, Seed resize from: 512x512, " +
				"Denoising strength: 0.7, Hires resize: 1024x0, Hires steps: 0, Hires upscaler: R-ESRGAN 4x+, ENSD: 31337, Tiling, RNG: CPU, Version: v1.5.2",
			request.Params{Request: request.Request{Prompt: "a fox", Steps: 20, Sampler: "dpm++2m", Schedule: "karras", Guidance: request.Float(7.5), Seed: 1, Width: 512, Height: 768, RNG: request.TorchRNG,
				Interpolate: &request.Interpolation{Seed: ptr(int64(7)), At: 0.3},
				Hires:       []request.HiresPass{{Width: 1024, Height: 1536, Strength: request.Float(0.7), Upscaler: "R-ESRGAN 4x+"}}}},
			[]Unread{{"Seed resize from", "512x512", ""}, {"ENSD", "31337", ""}, {"", "Tiling", ""}}},
		{"AUTOMATIC1111, inpainting with a refiner",
			"a fox\nNegative prompt: \nSteps: 20, Sampler: Euler a, Schedule type: Automatic, CFG scale: 7, Seed: 3, Size: 512x512, Model: sd_xl_base_1.0, Denoising strength: 0.6, Conditional mask weight: 0.5, " +
				"Mask blur: 4, Inpaint area: Only masked, Masked area padding: 16, Refiner: sd_xl_refiner_1.0 [7440042bbd], Refiner switch at: 0.75, VAE Decoder: TAESD, RNG: NV, Version: v1.9.4",
			request.Params{Model: "sd_xl_base_1.0", Request: request.Request{Prompt: "a fox", Steps: 20, Sampler: "euler_a", Schedule: "discrete", Guidance: request.Float(7), Seed: 3, Width: 512, Height: 512,
				Strength: request.Float(0.6), MaskBlur: 4, OnlyMasked: true, MaskPadding: request.Int(16), Refiner: "sd_xl_refiner_1.0", RefinerAt: request.Float(0.75), RNG: request.PhiloxRNG}},
			[]Unread{{"Conditional mask weight", "0.5", ""}, {"VAE Decoder", "TAESD", "a tiny autoencoder decoded the picture, and it is not said which"}}},
		{"Forge",
			"a fox\r\nin snow\r\nSteps: 20, Sampler: DPM++ 2M SDE, Schedule type: Automatic, CFG scale: 1, Distilled CFG Scale: 3.5, Seed: 4, Size: 896x1152, Model: flux1-dev, Version: f2.0.1v1.10.1-previous-1, Module 1: ae\r\n",
			request.Params{Model: "flux1-dev", Request: request.Request{Prompt: "a fox\nin snow", Steps: 20, Sampler: "dpm++2m_sde", Schedule: "exponential", Guidance: request.Float(1), Seed: 4, Width: 896, Height: 1152,
				RNG: request.PhiloxRNG}},
			[]Unread{{"Distilled CFG Scale", "3.5", ""}, {"Module 1", "ae", ""}}},
		{"a saver of ComfyUI",
			"a fox\nNegative prompt: text\nSteps: 30, Sampler: DPM++ 2M SDE Karras, CFG scale: 6.5, Seed: 18446744073709551616, Size: 1024x1024, Clip skip: 2, Model hash: abc, Model: xl, " +
				`Hashes: {"model":"abc","lora:a":"def"}, Version: ComfyUI, Civitai resources: [{"type":"checkpoint","weight":1.0}, {"modelName":"a: b"}]`,
			request.Params{Model: "xl", ModelHash: "abc", Request: request.Request{Prompt: "a fox", NegativePrompt: "text", Steps: 30, Sampler: "dpm++2m_sde", Schedule: "karras", Guidance: request.Float(6.5),
				Width: 1024, Height: 1024, ClipSkip: 2}},
			[]Unread{{"Seed", "18446744073709551616", "must be 0 to 18446744073709551615, or -1 for a random one, got 18446744073709551616"}, {"Hashes", `{"model":"abc","lora:a":"def"}`, ""},
				{"Civitai resources", `[{"type":"checkpoint","weight":1.0}, {"modelName":"a: b"}]`, ""}}},
		{"another one", "a fox\nNegative prompt: text\nSteps: 20, Sampler: euler, Scheduler type: sgm_uniform, CFG scale: 8.0, Seed: 5, Size: 512x512",
			request.Params{Request: request.Request{Prompt: "a fox", NegativePrompt: "text", Steps: 20, Sampler: "euler", Schedule: "sgm_uniform", Guidance: request.Float(8), Seed: 5, Width: 512, Height: 512}}, nil},
		{"stable-diffusion.cpp",
			"a fox\nNegative prompt: blurry\nSteps: 20, CFG scale: 7.000000, SLG scale: 7.000000, Skip layers: [7, 8, 9, ], Skip layer start: 0.010000, Guidance: 3.500000, Eta: 0.000000, Seed: 42, Size: 512x512, " +
				"Model: sd-v1-4.ckpt, RNG: cuda, Sampler: euler_a sgm_uniform, VAE: ae.safetensors, Version: stable-diffusion.cpp",
			request.Params{Model: "sd-v1-4.ckpt", Parts: request.Parts{VAE: "ae.safetensors"}, Request: request.Request{Prompt: "a fox", NegativePrompt: "blurry", Steps: 20, Guidance: request.Float(7), Seed: 42, Width: 512, Height: 512, RNG: request.PhiloxRNG,
				Sampler: "euler_a", Schedule: "sgm_uniform"}},
			[]Unread{{"SLG scale", "7.000000", ""}, {"Skip layers", "[7, 8, 9, ]", ""}, {"Skip layer start", "0.010000", ""}, {"Guidance", "3.500000", ""}, {"Eta", "0.000000", ""}}},
		{"lines after the settings", "a fox\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 5, Size: 512x512\nTemplate: a {fox|cat}, red\nfree words",
			request.Params{Request: request.Request{Prompt: "a fox", Steps: 20, Sampler: "euler", Guidance: request.Float(7), Seed: 5, Width: 512, Height: 512}},
			[]Unread{{"Template", "a {fox|cat}, red", ""}, {"", "free words", ""}}},
		{"a prompt alone", "a fox: red, a cat: blue, a dog: green\nNegative prompt: blurry", request.Params{Request: request.Request{Prompt: "a fox: red, a cat: blue, a dog: green", NegativePrompt: "blurry"}}, nil},
		{"nothing", "", request.Params{}, nil},
		{"values that cannot be", "a\nSteps: 0, Sampler: Eulr, Schedule type: kars, CFG scale: nan, Seed: x, Size: 512, Denoising strength: 2, Init image: ../../secret.png, Hires 3 upscale: 2, Steps: 20, Towards at: 1, RNG: mersenne",
			request.Params{Request: request.Request{Prompt: "a"}},
			[]Unread{{"Steps", "0", "must be 1 to 1000, got 0"}, {"Sampler", "Eulr", `unknown sampler "Eulr"; did you mean "euler"?`}, {"Schedule type", "kars", `unknown schedule "kars"; did you mean "karras"?`},
				{"CFG scale", "nan", `must be a number, got "nan"`}, {"Seed", "x", `must be a whole number, got "x"`}, {"Size", "512", `must be a width and a height, as in 1024x768, got "512"`},
				{"Denoising strength", "2", "must be 0 to 1, got 2"}, {"Init image", "../../secret.png", "must be the name of a file without folders"}, {"Hires 3 upscale", "2", ""}, {"Steps", "20", "it is there twice"},
				{"Towards at", "1", ""}, {"RNG", "mersenne", "must be torch or philox, or what other programs call them"}}},
		{"our own of old", "a [fox\nSteps: 20, Sampler: euler_a, Schedule type: discrete, CFG scale: 7, Seed: 1, Size: 64x64, VAE Decoder: TAESD, Model: [x, RNG: torch, Version: sdgo 0.1.0, Job hash: 0123456789abcdef",
			request.Params{Model: "[x", Request: request.Request{Prompt: "a [fox", Steps: 20, Sampler: "euler_a", Schedule: "discrete", Guidance: request.Float(7), Seed: 1, Width: 64, Height: 64, RNG: request.TorchRNG}},
			[]Unread{{"VAE Decoder", "TAESD", "a tiny autoencoder decoded the picture, and it is not said which"}}},
	} {
		got, unread, err := ReadText(c.text)
		require.NoError(t, err, c.program)
		require.NoError(t, differ(got, c.want), c.program)
		require.Equal(t, c.unread, unread, c.program)
	}
}

func ptr[T any](v T) *T { return &v }

func TestReadTextIsBounded(t *testing.T) {
	_, _, err := ReadText(strings.Repeat("x", maxParameters+1))
	require.EqualError(t, err, "must be at most 8388608 bytes of parameters, got 8388609")
	for _, text := range []string{strings.Repeat("Steps: 20, ", 100_000), strings.Repeat("\n", 1_000_000), strings.Repeat("Steps: \n", 100_000), strings.Repeat("[{", 500_000) + "\nSteps: [",
		"Steps: " + strings.Repeat("[{", 500_000), "a: " + strings.Repeat(`"`, 1_000_000), strings.Repeat("Negative prompt:\n", 100_000) + "Seed: 1, Prompt lines: 99999, Version: sdgo 1"} {
		_, _, err := ReadText(text)
		require.NoError(t, err)
	}
}

func TestReadPicture(t *testing.T) {
	p := resolve(t, request.Request{Prompt: "a fox"})
	var file bytes.Buffer
	require.NoError(t, pngtext.Encode(&file, image.NewNRGBA(image.Rect(0, 0, 1, 1)), pngtext.Text{Keyword: picture.Keyword, Value: Text(p, "1")}))
	got, unread, err := ReadPicture(&file)
	require.NoError(t, err)
	require.Empty(t, unread)
	require.NoError(t, again(got, request.Request{}, p))

	p.Prompt = "a café, 猫 🚀\r\n\u0085\u202e\nNegative prompt: b\\\"\t"
	for _, format := range []picture.Format{picture.PNG, picture.JPEG, picture.WebP} {
		file.Reset()
		require.NoError(t, picture.Encode(&file, image.NewNRGBA(image.Rect(0, 0, 1, 1)), picture.Options{Format: format, Parameters: Text(p, "1")}))
		got, unread, err := ReadPicture(&file)
		require.NoError(t, err)
		require.Empty(t, unread)
		require.NoError(t, again(got, request.Request{}, p), format)
	}

	file.Reset()
	require.NoError(t, pngtext.Encode(&file, image.NewNRGBA(image.Rect(0, 0, 1, 1))))
	_, _, err = ReadPicture(&file)
	require.ErrorIs(t, err, ErrNoParameters)
	_, _, err = ReadPicture(strings.NewReader("x"))
	require.ErrorIs(t, err, picture.ErrUnknown)
}

func TestUnread(t *testing.T) {
	require.Equal(t, "VAE: x", Unread{"VAE", "x", ""}.String())
	require.Equal(t, "Steps: 0 (must be 1 to 1000, got 0)", Unread{"Steps", "0", "must be 1 to 1000, got 0"}.String())
	require.Equal(t, "Tiling", Unread{"", "Tiling", ""}.String())
}
