package job

import (
	"bytes"
	"image"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/sd/pngtext"
	"github.com/sdgo/sdgo/sd/request"
)

// realFolder is that of real files, which are not in the repository.
func realFolder(t *testing.T, name string) string {
	for _, up := range []string{"../..", "../../.."} {
		path := filepath.Join(up, "shared", "real", name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	t.Skip("needs ../shared/real")
	return ""
}

// What real pictures of other programs say.
func TestReadRealPictures(t *testing.T) {
	folder := realFolder(t, "pictures")
	const duck, girl = "photo of a duck", "masterpiece best quality girl"
	seen := map[string]bool{}
	for name, want := range map[string]struct {
		program, prompt, negative, sampler, schedule string
		seed                                         int64
		steps                                        int
		guidance                                     float64
		width, height                                int
	}{
		"0b91be49":                  {"ComfyUI", "sky clouds nature national park", "(hands), text, error", "dpm++sde", "discrete", 512136241112371, 16, 7, 1280, 704},
		"25e4f499":                  {"ComfyUI", "photograph of victorian woman", "watermark, text", "dpm++2m", "discrete", 280823642470253, 20, 8, 0, 0},
		"8a07f08c":                  {"", duck, "monochrome", "unipc", "", 235284042, 15, 5, 512, 400},
		"9b5770ae":                  {"ComfyUI", "(waifu, anime, exceptional", "lowres, (bad anatomy)", "unipc_bh2", "discrete", 1106257833005336, 26, 8, 1280, 704},
		"9ca42175":                  {"NovelAI", "masterpiece, best quality,  cat, space, icon", "lowres, bad anatomy", "euler_a", "", 2253955223, 50, 10, 0, 0},
		"9db5f9c0":                  {"InvokeAI", "professional full body photo", "rendering, glowing eyes, skinny", "lms", "", 2980747362, 50, 5, 512, 768},
		"automatic1111_stealth.png": {"AUTOMATIC1111", "a circle", "a square", "euler", "discrete", 2015833630, 20, 7, 64, 64},
		"b049ad22":                  {"InvokeAI", "professional full body photo", "rendering, glowing eyes, skinny", "lms", "", 2980747362, 50, 5, 512, 768},
		"bae954ed":                  {"Fooocus", "a smiling goldfish", "", "dpm++2m_sde", "karras", 6952411511246973023, 30, 4, 768, 1280},
		"comfy_54f7de08":            {"ComfyUI", girl, "bad hands", "euler", "discrete", 513173432917412, 20, 8, 512, 512},
		"comfy_89414b58":            {"ComfyUI", girl, "bad hands", "euler", "discrete", 851616030078638, 20, 8, 512, 512},
		"comfy_bad_crc":             {"ComfyUI", "a bottle with a 彩虹星系 inside", "", "euler", "sgm_uniform", 137656229034231, 30, 6, 1024, 1024},
		"comfy_fa39c538":            {"ComfyUI", "photograph of victorian woman", "watermark, text", "dpm++2m", "discrete", 280823642470253, 20, 8, 0, 0},
		"d4bc7432":                  {"", duck, "monochrome", "unipc", "", 235284042, 15, 5, 512, 400},
		"sdcpp_695265f1":            {"stable-diffusion.cpp", "a lovely cat holding a sign says 'mage.cpp'", "", "euler", "discrete", 42, 4, 1, 512, 512},
		"sdcpp_c665e1e7":            {"stable-diffusion.cpp", "a lovely cat holding a sign says 'krea2.cpp'", "", "euler", "discrete", 42, 20, 7, 512, 512},
		"sdcpp_logo_utf8":           {"stable-diffusion.cpp", "创造性的3D渲染艺术", "", "euler", "discrete", 42, 20, 1, 1024, 768},
		"invokeai_81beb074e":        {}, "invokeai_cc2da68ee": {}, // nobody implemented it
	} {
		files, err := filepath.Glob(filepath.Join(folder, name+"*"))
		require.NoError(t, err)
		require.Len(t, files, 1, name)
		seen[files[0]] = true
		data, err := os.ReadFile(files[0])
		require.NoError(t, err)
		p, unread, err := ReadPicture(bytes.NewReader(data))
		require.NoError(t, err, name)
		if want.prompt == "" {
			require.Equal(t, []Unread{{"Dream", "<too lazy to implement>", "must be a prompt in quotes, and flags"}}, unread)
			continue
		}
		require.Contains(t, p.Prompt, want.prompt, name)
		require.Contains(t, p.NegativePrompt, want.negative, name)
		require.Equal(t, want.negative == "", p.NegativePrompt == "", name)
		require.Equal(t, []any{want.sampler, want.schedule, want.seed, want.steps, want.guidance, want.width, want.height},
			[]any{p.Sampler, p.Schedule, p.Seed, p.Steps, *p.Guidance, p.Width, p.Height}, name)
		facts, err := picture.ReadFacts(bytes.NewReader(data))
		require.NoError(t, err)
		if said, err := ReadFacts(facts); err == nil { // hidden texts apart
			require.Equal(t, want.program, said.Program, name)
		}

		// It is a job of its own: written as JSON, and read again.
		text, err := Encode(p.Request)
		require.NoError(t, err)
		again, err := Decode(text)
		require.NoError(t, err, "%s", text)
		require.NoError(t, differ(again, p.Request))
	}
	all, err := filepath.Glob(filepath.Join(folder, "*"))
	require.NoError(t, err)
	for _, file := range all {
		require.True(t, seen[file], file)
	}
}

// said is what texts with their keywords, one after the other, say.
func said(t *testing.T, texts ...string) Said {
	t.Helper()
	f := picture.Facts{Format: picture.PNG, Width: 512, Height: 640}
	for i := 0; i < len(texts); i += 2 {
		f.Texts = append(f.Texts, pngtext.Text{Keyword: texts[i], Value: texts[i+1]})
	}
	s, err := ReadFacts(f)
	require.NoError(t, err)
	return s
}

func TestReadFooocus(t *testing.T) {
	s := said(t, "parameters", `{"prompt": "a cat", "negative_prompt": "dog", "steps": 30, "guidance_scale": 4.0, "sampler": "dpmpp_2m_sde_gpu", "scheduler": "karras", "seed": "77", "resolution": "(768, 1280)",
		"base_model": "x.safetensors", "base_model_hash": "abc", "refiner_model": "y", "refiner_switch": 0.6, "clip_skip": 2, "styles": "['Fooocus V2']", "loras": [], "version": "Fooocus v2.4.3", "metadata_scheme": "fooocus"}`,
		"fooocus_scheme", "fooocus")
	require.Equal(t, "Fooocus", s.Program)
	require.True(t, s.HasSeed)
	require.NoError(t, differ(s.Params, request.Params{Model: "x", ModelHash: "abc", Request: request.Request{Prompt: "a cat", NegativePrompt: "dog", Steps: 30, Guidance: request.Float(4), Sampler: "dpm++2m_sde",
		Schedule: "karras", Seed: 77, Width: 768, Height: 1280, ClipSkip: 2, Refiner: "y", RefinerAt: request.Float(0.6)}}))
	require.Equal(t, []Unread{{"styles", "['Fooocus V2']", ""}}, s.Unread)

	s = said(t, "parameters", "a cat\nNegative prompt: dog\nSteps: 30, Sampler: Euler, Seed: 0, Version: Fooocus v2.4.3", "fooocus_scheme", "a1111")
	require.Equal(t, "Fooocus", s.Program)
	require.True(t, s.HasSeed)
	require.Equal(t, "euler", s.Params.Sampler)

	// A prompt may look like an object.
	require.Equal(t, `{"prompt": "x"}`, said(t, "parameters", `{"prompt": "x"}`).Params.Prompt)
	require.Equal(t, "{a|b}", said(t, "parameters", "{a|b}").Params.Prompt)
}

func TestReadInvokeAI(t *testing.T) {
	s := said(t, "invokeai_metadata", `{"generation_mode": "sdxl_txt2img", "positive_prompt": "a cat", "negative_prompt": "dog", "width": 1024, "height": 768, "seed": 3293022630, "rand_device": "cpu", "cfg_scale": 8.0,
		"steps": 35, "scheduler": "dpmpp_2m_k", "model": {"model_name": "xl", "hash": "h", "base_model": "sdxl"}, "loras": [{"weight": 1}], "clip_skip": 1, "vae": null, "app_version": "4"}`)
	require.Equal(t, "InvokeAI", s.Program)
	require.NoError(t, differ(s.Params, request.Params{Model: "xl", ModelHash: "h", Request: request.Request{Prompt: "a cat", NegativePrompt: "dog", Steps: 35, Guidance: request.Float(8), Sampler: "dpm++2m",
		Schedule: "karras", Seed: 3293022630, Width: 1024, Height: 768, ClipSkip: 2, RNG: request.TorchRNG}}))
	require.Equal(t, []Unread{{"loras", `[{"weight": 1}]`, ""}}, s.Unread)

	s = said(t, "invokeai_metadata", `{"positive_prompt": "a cat++ (on a mat)1.2", "generation_mode": "img2img", "strength": 0.6, "model": {"name": "m"}, "seed": 18446744073709551616}`)
	require.Equal(t, request.Float(0.6), s.Params.Strength)
	require.Equal(t, "m", s.Params.Model)
	require.False(t, s.HasSeed)
	require.Len(t, s.Unread, 3)
	require.Equal(t, "Seed", map[string]string{"seed": "Seed"}[s.Unread[0].Key])
	require.Contains(t, s.Unread[1].String()+s.Unread[2].String(), "weights such as word+")

	s = said(t, "sd-metadata", `{"model_weights": "w", "model_hash": "0123", "app_version": "2.3.0", "image": {"prompt": [{"prompt": "a cat [dog], red", "weight": 1.0}], "steps": 5, "cfg_scale": 7.5,
		"height": 64, "width": 72, "seed": 9, "sampler": "k_euler_a", "type": "txt2img", "seamless": false, "variations": []}}`, "Dream", `"x" -S 1`)
	require.NoError(t, differ(s.Params, request.Params{Model: "w", ModelHash: "0123", Request: request.Request{Prompt: "a cat , red", NegativePrompt: "dog", Steps: 5, Guidance: request.Float(7.5), Sampler: "euler_a",
		Seed: 9, Width: 72, Height: 64}}))
	require.Equal(t, []Unread{{"seamless", "false", ""}}, s.Unread)
	require.Equal(t, "a b", said(t, "sd-metadata", `{"image": {"prompt": [{"prompt": "a"}, {"prompt": "b", "weight": 0.5}, null]}}`).Params.Prompt)
	require.Equal(t, "a", said(t, "sd-metadata", `{"image": {"prompt": "a"}}`).Params.Prompt)

	s = said(t, "Dream", `"a "big" cat [dog, red] [blue]" -s 50 -S 2980747362 -W 512 -H 768 -C 5 -A ddim -f 0.5 --hires_fix -G 0.9 -U 4 0.95 -tm -1`)
	require.NoError(t, differ(s.Params, request.Params{Request: request.Request{Prompt: `a "big" cat`, NegativePrompt: "dog, red, blue", Steps: 50, Guidance: request.Float(5), Sampler: "ddim",
		Seed: 2980747362, Width: 512, Height: 768, Strength: request.Float(0.5)}}))
	require.Equal(t, []Unread{{"--hires_fix", "", ""}, {"-G", "0.9", ""}, {"-U", "4 0.95", ""}, {"-tm", "-1", ""}}, s.Unread)
}

func TestReadNovelAI(t *testing.T) {
	comment := `{"steps": 28, "sampler": "k_dpmpp_2m", "seed": 5, "strength": 0.4, "scale": 11.0, "uc": "low {quality}", "noise_schedule": "karras"}`
	s := said(t, "Title", "AI generated image", "Description", "a cat ", "Software", "NovelAI", "Source", "Stable Diffusion 1D44365E", "Comment", comment)
	require.Equal(t, "NovelAI", s.Program)
	require.NoError(t, differ(s.Params, request.Params{Model: "Stable Diffusion", ModelHash: "1D44365E", Request: request.Request{Prompt: "a cat", NegativePrompt: "low {quality}", Steps: 28, Guidance: request.Float(11),
		Sampler: "dpm++2m", Schedule: "karras", Seed: 5, Width: 512, Height: 640}}))
	require.Equal(t, []Unread{{"weights", "{} []", "brackets weigh by 1.05 in NovelAI, and are read as they stand"}, {"strength", "0.4", ""}}, s.Unread)

	s = said(t, "Comment", `{"prompt": "x", "uc": "", "sampler": "ddim_v3", "width": 832, "height": 1216, "noise_schedule": "native", "request_type": "Img2ImgRequest", "strength": 0.7}`)
	require.Equal(t, []any{"x", "ddim", "discrete", 832, 1216, 0.7}, []any{s.Params.Prompt, s.Params.Sampler, s.Params.Schedule, s.Params.Width, s.Params.Height, *s.Params.Strength})

	s = said(t, "parameters", `{"Software": "NovelAI", "Source": "NovelAI Diffusion V3 C1", "Description": "a cat", "Comment": "{\"sampler\": \"k_euler\", \"seed\": 3, \"uc\": \"dog\"}"}`)
	require.Equal(t, []any{"NovelAI", "a cat", "dog", "euler", int64(3), "NovelAI Diffusion V3"}, []any{s.Program, s.Params.Prompt, s.Params.NegativePrompt, s.Params.Sampler, s.Params.Seed, s.Params.Model})
	require.Equal(t, `{"Comment": "x"}`, said(t, "parameters", `{"Comment": "x"}`).Params.Prompt)

	_, err := ReadFacts(picture.Facts{Texts: []pngtext.Text{{Keyword: "Comment", Value: "made with a pencil"}}})
	require.ErrorIs(t, err, ErrNoParameters)
}

// graph is a small graph of ComfyUI, with nodes in place of others or beside them.
func graph(nodes ...string) string {
	all := []string{
		`"3": {"class_type": "KSampler", "inputs": {"seed": 7, "steps": 20, "cfg": 8.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0, "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}}`,
		`"4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sub\\v1.safetensors"}}`,
		`"5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 768, "batch_size": 1}}`,
		`"6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat", "clip": ["4", 1]}, "is_changed": [NaN]}`,
		`"7": {"class_type": "CLIPTextEncode", "inputs": {"text": "NaN, \"Infinity\"", "clip": ["4", 1]}}`,
		`"8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}}`,
		`"9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0]}}`,
	}
	for _, n := range nodes {
		for i, old := range all {
			if key, _, _ := strings.Cut(old, ":"); strings.HasPrefix(n, key+":") {
				all[i] = all[len(all)-1]
				all = all[:len(all)-1]
				break
			}
		}
		all = append(all, n)
	}
	return "{" + strings.Join(all, ", ") + "}"
}

func TestReadComfy(t *testing.T) {
	want := request.Params{Model: "v1", Request: request.Request{Prompt: "a cat", NegativePrompt: `NaN, "Infinity"`, Steps: 20, Guidance: request.Float(8), Sampler: "euler",
		Schedule: "discrete", Seed: 7, Width: 512, Height: 768, RNG: request.TorchRNG}}
	for _, c := range []struct {
		name   string
		nodes  []string
		change func(*request.Params)
		unread []Unread
	}{
		{"plain", nil, func(*request.Params) {}, nil},
		{"links to values, a LoRA and a layer", []string{
			`"6": {"class_type": "CLIPTextEncode", "inputs": {"text": ["20", 0], "clip": ["22", 0]}}`, `"20": {"class_type": "StringConcat", "inputs": {"string_a": "one", "string_b": ["21", 0]}}`,
			`"21": {"class_type": "Text", "inputs": {"text": "two"}}`, `"22": {"class_type": "CLIPSetLastLayer", "inputs": {"stop_at_clip_layer": -2, "clip": ["23", 1]}}`,
			`"23": {"class_type": "LoraLoader", "inputs": {"lora_name": "l.safetensors", "model": ["4", 0], "clip": ["4", 1]}}`,
			`"3": {"class_type": "KSampler", "inputs": {"seed": ["30", 0], "steps": 20, "cfg": 8.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0, "model": ["23", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}}`,
			`"30": {"class_type": "PrimitiveInt", "inputs": {"value": 99}}`},
			func(p *request.Params) { p.Prompt, p.ClipSkip, p.Seed = "one two", 2, 99 }, []Unread{{"LoraLoader", "l.safetensors", ""}}},
		{"a ControlNet between", []string{
			`"3": {"class_type": "KSampler", "inputs": {"seed": 7, "steps": 20, "cfg": 8, "sampler_name": "euler", "scheduler": "normal", "denoise": 1, "model": ["4", 0], "positive": ["40", 0], "negative": ["40", 1], "latent_image": ["5", 0]}}`,
			`"40": {"class_type": "ControlNetApplyAdvanced", "inputs": {"positive": ["6", 0], "negative": ["7", 0], "control_net": ["41", 0], "image": ["42", 0], "strength": 1}}`},
			func(*request.Params) {}, []Unread{{"negative", "ControlNetApplyAdvanced", "what it does to the prompt is not read"}, {"positive", "ControlNetApplyAdvanced", "what it does to the prompt is not read"}}},
		{"a custom sampler", []string{
			`"3": {"class_type": "SamplerCustomAdvanced", "inputs": {"noise": ["50", 0], "guider": ["51", 0], "sampler": ["52", 0], "sigmas": ["53", 0], "latent_image": ["5", 0]}}`,
			`"50": {"class_type": "RandomNoise", "inputs": {"noise_seed": 7}}`, `"51": {"class_type": "CFGGuider", "inputs": {"cfg": 8, "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0]}}`,
			`"52": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}}`, `"53": {"class_type": "BasicScheduler", "inputs": {"scheduler": "normal", "steps": 20, "denoise": 1, "model": ["4", 0]}}`},
			func(*request.Params) {}, nil},
		{"two passes", []string{
			`"60": {"class_type": "LatentUpscale", "inputs": {"width": 1024, "height": 1536, "samples": ["3", 0]}}`,
			`"61": {"class_type": "KSampler", "inputs": {"seed": 1, "steps": 5, "cfg": 2, "sampler_name": "heun", "scheduler": "normal", "denoise": 0.5, "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["60", 0]}}`,
			`"8": {"class_type": "VAEDecode", "inputs": {"samples": ["61", 0]}}`},
			func(*request.Params) {}, []Unread{{"KSampler", "node 61", "another sampler of the graph, which is not read"}}},
		{"a picture to begin with", []string{
			`"3": {"class_type": "KSampler", "inputs": {"seed": 7, "steps": 20, "cfg": 8, "sampler_name": "euler", "scheduler": "normal", "denoise": 0.6, "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["70", 0]}}`,
			`"70": {"class_type": "VAEEncode", "inputs": {"pixels": ["71", 0], "vae": ["4", 2]}}`, `"71": {"class_type": "LoadImage", "inputs": {"image": "../in/x.png"}}`},
			func(p *request.Params) {
				p.Width, p.Height, p.ImageFile, p.Strength = 0, 0, "x.png", request.Float(0.6)
			}, nil},
		{"values of wrong types", []string{
			`"3": {"class_type": "KSampler", "inputs": {"seed": 1e400, "steps": "many", "cfg": [1, 2, 3], "sampler_name": {"a": 1}, "scheduler": 5, "denoise": null, "model": "4", "positive": ["6", 0], "negative": [7, 0], "latent_image": ["5", "x"]}}`},
			func(p *request.Params) {
				*p = request.Params{Request: request.Request{Prompt: "a cat", NegativePrompt: p.NegativePrompt, RNG: request.TorchRNG}}
			},
			[]Unread{{"cfg", "[1, 2, 3]", "no value is found there"}, {"scheduler", "5", `unknown schedule "5"`}, {"seed", "1e400", `must be a whole number, got "1e400"`}, {"steps", "many", `must be a whole number, got "many"`}}},
	} {
		s := said(t, "prompt", graph(c.nodes...), "workflow", "{}")
		expected := want
		c.change(&expected)
		require.Equal(t, "ComfyUI", s.Program)
		require.NoError(t, differ(s.Params, expected), c.name)
		require.Equal(t, c.unread, s.Unread, c.name)
	}
}

// What is hostile is refused, and ends.
func TestHostileMetadata(t *testing.T) {
	loops := `{"1": {"class_type": "KSampler", "inputs": {"seed": ["1", 0], "noise_seed": ["2", 0], "steps": ["2", 0], "cfg": 1, "positive": ["2", 0], "negative": ["1", 0], "latent_image": ["2", 0], "model": ["2", 0], "sampler_name": "euler"}},
		"2": {"class_type": "KSampler", "inputs": {"seed": ["1", 0], "value": ["2", 0], "positive": ["2", 0], "text": ["2", 0], "clip": ["2", 0], "samples": ["1", 0], "model": ["1", 0], "conditioning": ["2", 0]}},
		"9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}}}`
	require.Equal(t, "ComfyUI", said(t, "prompt", loops).Program)

	var chain strings.Builder
	chain.WriteString(`{"0": {"class_type": "KSampler", "inputs": {"seed": 1, "steps": 2, "positive": ["n0", 0], "latent_image": ["n0", 0], "model": ["n0", 0]}}`)
	for i := range 9000 {
		n, next := "n"+plainInt(i), "n"+plainInt(i+1)
		chain.WriteString(`, "` + n + `": {"class_type": "X", "inputs": {"conditioning": ["` + next + `", 0], "model": ["` + next + `", 0], "samples": ["` + next + `", 0]}}`)
	}
	require.Equal(t, int64(1), said(t, "prompt", chain.String()+"}").Params.Seed)
	for _, text := range []string{"{", `{"class_type"`, `{"a": {"class_type": "x", "inputs": 5}}`, `{"a": {"class_type": "x"}}`, `{"class_type": null}`, strings.Repeat(`{"class_type":`, 20_000), "{" + strings.Repeat(`"class_type": [`, 100)} {
		s := said(t, "prompt", text+strings.Repeat(" ", 1)+`"class_type"`)
		require.NotEmpty(t, s.Unread, text)
	}
	for keyword, text := range map[string]string{
		"invokeai_metadata": strings.Repeat("[", 1_000_000), "sd-metadata": `{"image": []}`, "Dream": `"` + strings.Repeat("[", 100_000),
		"parameters": `{"prompt": {}, "sampler": 5, "steps": [], "seed": "99999999999999999999999", "resolution": "(0, 99999999)", "base_model": "` + strings.Repeat("x", maxName+1) + `"}`,
	} {
		require.NotEmpty(t, said(t, keyword, text).Unread, keyword)
	}
	_, err := ReadFacts(picture.Facts{Texts: []pngtext.Text{{Keyword: "Dream", Value: strings.Repeat("x", maxParameters+1)}}})
	require.EqualError(t, err, "must be at most 8388608 bytes of parameters, got 8388609")
}

// Whatever texts are, they are read in the end, and what is read is a request as JSON has it.
func FuzzReadFacts(f *testing.F) {
	for _, text := range []string{graph(), `{"prompt": "a", "sampler": "euler", "resolution": "(64, 64)", "seed": "5"}`, `"a [b] c" -s 5 -S 3 -W 64 -H 64 -A k_lms`,
		`{"image": {"prompt": [{"prompt": "a [b]", "weight": 1}], "seed": 1, "sampler": "ddim"}, "model_weights": "x"}`,
		`{"positive_prompt": "a++", "model": {"name": "x"}, "width": 64, "height": 64, "scheduler": "euler_k"}`, `{"uc": "x", "scale": 5.0, "sampler": "k_euler", "noise_schedule": "native"}`, `{"class_type": NaN}`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, keyword := range []string{"parameters", "prompt", "invokeai_metadata", "sd-metadata", "Dream", "Comment"} {
			facts := picture.Facts{Width: 64, Height: 64, Texts: []pngtext.Text{{Keyword: keyword, Value: text}, {Keyword: "Software", Value: "NovelAI"}}}
			s, err := ReadFacts(facts)
			if err != nil {
				continue
			}
			for _, u := range s.Unread {
				_ = u.String()
			}
			data, err := Encode(s.Params.Request)
			if err != nil {
				continue // no UTF-8
			}
			if again, err := Decode(data); err != nil {
				t.Fatalf("%s %q is read as %s, which is no request: %v", keyword, text, data, err)
			} else if err := differ(again, s.Params.Request); err != nil {
				t.Fatalf("%s %q: %v", keyword, text, err)
			}
		}
	})
}

func TestReadHiddenParameters(t *testing.T) {
	var file bytes.Buffer
	require.NoError(t, pngtext.Encode(&file, image.NewNRGBA(image.Rect(0, 0, 64, 64))))
	_, _, err := ReadPicture(&file)
	require.ErrorIs(t, err, ErrNoParameters)
}
