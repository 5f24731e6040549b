package job

import (
	"fmt"
	"image"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/request"
)

func TestEncode(t *testing.T) {
	data, err := Encode(request.Request{})
	require.NoError(t, err)
	require.Equal(t, `{"prompt":"","seed":0}`, string(data))
	img, mask := picture64()
	prompt := "a rocket"
	data, err = Encode(request.Request{Prompt: "a <fox>\n", NegativePrompt: "\x07\u202e", Width: 512, Height: 8, Image: img, ImageFile: "a/in.png", Mask: mask, MaskFile: "m.png", Strength: request.Float(0),
		MaskGrow: -3, OnlyMasked: true, Canvas: image.Pt(64, 128), Steps: 5, Guidance: request.Float(1e6), Sampler: "euler", Seed: request.RandomSeed, RNG: request.PhiloxRNG, Count: 2,
		Interpolate: &request.Interpolation{Prompt: &prompt}, CropTopLeft: image.Pt(3, 0), KeepHiresInput: true, OnEvent: func(request.Event) error { return nil },
		Hires: []request.HiresPass{{}, {Scale: 1.5, Guidance: request.Float(0), Schedule: "karras"}, {Width: 64, Height: 8, Strength: request.Float(0.1), Upscaler: "a, b"}}})
	require.NoError(t, err)
	require.Equal(t, `{"prompt":"a <fox>\n","negative":"\u0007`+"\u202e"+`","input":"a/in.png","strength":0,"mask":"m.png","mask_grow":-3,"only_masked":true,"canvas":"64x128","width":512,"height":8,`+
		`"steps":5,"cfg_scale":1e+06,"sampler":"euler","seed":-1,"rng":"philox","count":2,"to":"a rocket","at":0,`+
		`"hires":[{},{"scale":1.5,"schedule":"karras","cfg_scale":0},{"size":"64x8","upscaler":"a, b","strength":0.1}],"save_stages":true,"crop":"3,0"}`, string(data))

	_, err = Encode(request.Request{Image: img, Mask: mask, Prompt: "\xff", Guidance: ptr(nan()), Hires: []request.HiresPass{{Strength: ptr(nan())}}})
	require.EqualError(t, err, `ImageFile: must name the file of Image; MaskFile: must name the file of Mask; Prompt: must be UTF-8, got "\xff"; `+
		`Guidance: must be a number, got "NaN"; Hires.Strength: must be a number, got "NaN"`)
}

func nan() float64 { zero := 0.0; return zero / zero }

func TestDecode(t *testing.T) {
	seed := int64(2)
	for text, want := range map[string]request.Request{
		`{}`: {},
		` { "prompt" : "a" , "steps" : null, "hires": null, "to": null, "cfg_scale": null } `: {Prompt: "a"},
		`{"steps": 30.0, "width": 5.12e2, "cfg-scale": 7, "cfg_scale_": 1}`:                   {}, // below
		`{"steps": 30.0, "width": 5.12e2, "cfg-scale": 7, "only-masked": false}`:              {Steps: 30, Width: 512, Guidance: request.Float(7)},
		`{"canvas": "64x32", "original_size": [8, 16.0], "crop": [1,2], "target_size":"8x8"}`: {Canvas: image.Pt(64, 32), OriginalSize: image.Pt(8, 16), CropTopLeft: image.Pt(1, 2), TargetSize: image.Pt(8, 8)},
		`{"to_seed": 2, "at": 0.5, "seed": 9007199254740993}`:                                 {Seed: 9007199254740993, Interpolate: &request.Interpolation{Seed: &seed, At: 0.5}},
		`{"hires": "1.5x,2", "hires_strength": "0.6,0.35", "hires-steps": 4}`:                 {Hires: []request.HiresPass{{Scale: 1.5, Strength: request.Float(0.6), Steps: 4}, {Scale: 2, Strength: request.Float(0.35), Steps: 4}}},
		`{"hires_steps": "4,5", "hires_size": "64x64, 128x128"}`:                              {Hires: []request.HiresPass{{Width: 64, Height: 64, Steps: 4}, {Width: 128, Height: 128, Steps: 5}}},
		`{"hires": 2, "hires_sampler": "DPM++ 2M Karras"}`:                                    {Hires: []request.HiresPass{{Scale: 2, Sampler: "DPM++ 2M Karras"}}},
		`{"hires": [{"scale": 2, "steps": null}, {"size": [64, 32], "upscaler": "a,b"}]}`:     {Hires: []request.HiresPass{{Scale: 2}, {Width: 64, Height: 32, Upscaler: "a,b"}}},
		`{"hires": []}`: {},
	} {
		got, err := Decode([]byte(text))
		if strings.Contains(text, "cfg_scale_") {
			require.EqualError(t, err, `cfg_scale_: unknown field; did you mean "cfg_scale"?`)
			continue
		}
		require.NoError(t, err, text)
		require.NoError(t, differ(got, want), text)
	}
}

func TestDecodeErrors(t *testing.T) {
	for text, want := range map[string]string{
		``:                                         `must be a JSON object, such as {"prompt": "a fox", "seed": 1}`,
		`[]`:                                       `must be a JSON object, such as {"prompt": "a fox", "seed": 1}`,
		`{"a":`:                                    `not JSON: the object does not end`,
		`{"a" 1}`:                                  `not JSON: expected colon after object key, after 5 bytes`,
		`{"steps": 1} x`:                           `must be one JSON object, and there is more after it`,
		"{\"prompt\": \"\xff\"}":                   `must be UTF-8`,
		`{"steps": 1, "steps": 2}`:                 `"steps" is there twice`,
		`{"cfg-scale":1,"cfg_scale":1}`:            `"cfg_scale" is there twice`,
		`{"stepps": 1}`:                            `stepps: unknown field; did you mean "steps"?`,
		`{"negative_prompt": "a"}`:                 `negative_prompt: unknown field; did you mean "negative"?`,
		`{"denoising_strength": 1}`:                `denoising_strength: unknown field; did you mean "strength"?`,
		`{"steps": 0}`:                             `steps: must be 1 to 1000, got 0`,
		`{"steps": 30.5}`:                          `steps: must be a whole number, got 30.5`,
		`{"steps": "30"}`:                          `steps: must be a whole number, got "30"`,
		`{"steps": true}`:                          `steps: must be a whole number, got true`,
		`{"seed": 1e400}`:                          `seed: must be a whole number, got 1e400`,
		`{"seed": 18446744073709551616}`:           `seed: must be 0 to 18446744073709551615, or -1 for a random one, got 18446744073709551616`,
		`{"cfg_scale": "7"}`:                       `cfg_scale: must be a number, got "7"`,
		`{"cfg_scale": 1e400}`:                     `cfg_scale: must be a smaller number, got 1e400`,
		`{"cfg_scale": 1001}`:                      `cfg_scale: must be 0 to 1000, got 1001`,
		`{"strength": -0.1}`:                       `strength: must be 0 to 1, got -0.1`,
		`{"only_masked": 1}`:                       `only_masked: must be true or false, got 1`,
		`{"prompt": 1}`:                            `prompt: must be a text, got 1`,
		`{"prompt": {"a": 1}}`:                     `prompt: must be a text, got {"a": 1}`,
		`{"canvas": "64"}`:                         `canvas: must be a width and a height, as in 1024x768, got "64"`,
		`{"canvas": [64]}`:                         `canvas: must be "WxH" or [w, h], got [64]`,
		`{"canvas": ["64", "64"]}`:                 `canvas: must be "WxH" or [w, h], got ["64", "64"]`,
		`{"canvas": [0, 64]}`:                      `canvas: must be a width and a height, each 1 to 8192 pixels, got 0x64`,
		`{"original_size": "0x0"}`:                 `original_size: must be a width and a height, each 0 to 8192 pixels, got 0x0`,
		`{"crop": "1x1"}`:                          `crop: must be the left and the top pixel, as in 0,0, got "1x1"`,
		`{"sampler": ""}`:                          `sampler: must be the name of a sampler, got an empty one`,
		`{"sampler": "eulr"}`:                      `sampler: unknown sampler "eulr"; did you mean "euler"?`,
		`{"schedule": "kars"}`:                     `schedule: unknown schedule "kars"; did you mean "karras"?`,
		`{"rng": "nv"}`:                            `rng: must be torch or philox, got "nv"`,
		`{"input": "a\u0000b"}`:                    `input: must be the name of a file, got "a\x00b"`,
		`{"hires_steps": 3}`:                       `hires_steps: there is no hires pass that it could be for; hires 2x asks for one`,
		`{"hires": "2,2", "hires_steps": "1,2,3"}`: `hires_steps: must be at most one value a pass, got 3 values for 2`,
		`{"hires": "2", "hires_size": "64x64"}`:    `hires_size: both this and hires say how large the picture becomes; give one of them`,
		`{"hires": "0"}`:                           `hires: must be more than 0, at most 8192, got 0`,
		`{"hires": "two"}`:                         `hires: must be a factor, such as 2x, got "two"`,
		`{"hires": [{"scale": 2}], "hires_steps": 3}`:          `hires_steps: hires is a list of passes: put steps into its objects`,
		`{"hires": [{"scale": "2x"}]}`:                         `hires: pass 1: scale: must be a number, got "2x"`,
		`{"hires": [{}, {"skale": 2}]}`:                        `hires: pass 2: skale: unknown field; did you mean "scale"?`,
		`{"hires": [2]}`:                                       `hires: pass 1: must be an object, such as {"scale": 2}, got 2`,
		`{"hires": [{"steps": 1, "steps": 2}]}`:                `hires: pass 1: "steps" is there twice`,
		`{"hires": "` + strings.Repeat("2,", 16) + `2"}`:       `hires: must be at most 16 values, one a pass, got 17`,
		`{"hires": [` + strings.Repeat("{},", 16) + `{}]}`:     `hires: must be at most 16 passes, got 17`,
		`{"steps": 0, "count": 2000, "at": 2, "x": 1}`:         `steps: must be 1 to 1000, got 0; count: must be 1 to 1024, got 2000; at: must be 0 to 1, got 2; x: unknown field; did you mean "to"?`,
		`{"prompt": "` + strings.Repeat("a", maxText+1) + `"}`: `prompt: must be at most 1048576 bytes, got 1048577`,
		`{"taesd": "` + strings.Repeat("a", maxName+1) + `"}`:  `taesd: must be the name of a tiny autoencoder, got one of 4097 bytes`,
	} {
		r, err := Decode([]byte(text))
		require.EqualError(t, err, want, "%.80s", text)
		require.Zero(t, r.Steps)
	}
	_, err := Decode(make([]byte, maxObject+1))
	require.EqualError(t, err, "must be at most 33554432 bytes of JSON, got 33554433")
	many := "{"
	for i := range maxMembers + 1 {
		many += fmt.Sprintf(`"%d": 1, `, i)
	}
	_, err = Decode([]byte(many + `"a": 1}`))
	require.EqualError(t, err, "must be at most 256 members")
	var e *request.Error
	_, err = Decode([]byte(many[:strings.LastIndex(many, `"255"`)] + `"steps": 0}`))
	require.ErrorAs(t, err, &e)
	require.Len(t, e.Problems, maxProblems)
}

// What the command line says holds for what a job does not say.
func TestApply(t *testing.T) {
	r := request.Request{Steps: 30, Seed: request.RandomSeed}
	require.NoError(t, Set(&r, "hires", "1.5x,2x"))
	require.NoError(t, Set(&r, "hires-strength", "0.6,0.3"))
	for text, want := range map[string]request.Request{
		`{}`:                           r,
		`{"steps": null, "seed": 4}`:   {Seed: 4, Hires: r.Hires},
		`{"hires": null}`:              {Steps: 30, Seed: -1},
		`{"hires_strength": null}`:     {Steps: 30, Seed: -1, Hires: []request.HiresPass{{Scale: 1.5}, {Scale: 2}}},
		`{"hires": "2x"}`:              {Steps: 30, Seed: -1, Hires: []request.HiresPass{{Scale: 2, Strength: request.Float(0.6)}}},
		`{"hires": "2x,3x,4x"}`:        {Steps: 30, Seed: -1, Hires: []request.HiresPass{{Scale: 2, Strength: request.Float(0.6)}, {Scale: 3, Strength: request.Float(0.3)}, {Scale: 4, Strength: request.Float(0.3)}}},
		`{"hires": [{"scale": 1.25}]}`: {Steps: 30, Seed: -1, Hires: []request.HiresPass{{Scale: 1.25}}},
	} {
		members, err := Members([]byte(text))
		require.NoError(t, err)
		got := r
		require.NoError(t, Apply(&got, members), text)
		require.NoError(t, differ(got, want), text)
	}
	before := r
	require.Error(t, Apply(&r, []Member{{"steps", []byte("5")}, {"count", []byte("0")}}))
	require.NoError(t, differ(r, before))

	members, err := Members([]byte(`{"output-file": "a.png", "steps": 3}`))
	require.NoError(t, err)
	require.Equal(t, []Member{{"output_file", []byte(`"a.png"`)}, {"steps", []byte("3")}}, members)
}
