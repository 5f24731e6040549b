package cli

import (
	"encoding/json"
	"image"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHires(t *testing.T) {
	model, folder := tinyModel(t), t.TempDir()
	out := filepath.Join(folder, "out.png")
	o := sdgo(t, with("txt2img", "-m", model, "-p", "a fox", "--hires", "2x", "--hires-steps", "3", "--hires-strength", "0.6", "--save-stages", "-o", out)...)
	require.Equal(t, ExitOK, o.code, o.errors)
	first := filepath.Join(folder, "out-stage1.png")
	require.Equal(t, first+"\n"+out+"\n", o.out)
	require.Contains(t, o.errors, "picture 1, pass 2, step 3 of 3")
	require.Contains(t, o.errors, "out.png: seed 42, 128x64")
	require.Equal(t, image.Rect(0, 0, 128, 64), readPNG(t, out).Bounds())
	require.Equal(t, image.Rect(0, 0, 64, 32), readPNG(t, first).Bounds())
	require.Contains(t, textsOf(t, out)["parameters"], "Size: 64x32, Denoising strength: 0.6, Hires upscale: 2, Hires steps: 3, Hires upscaler: Latent, Model: tiny")
	require.NotContains(t, textsOf(t, first)["parameters"], "Hires")

	// The first pass is the picture without a second one.
	o = sdgo(t, with("txt2img", "-m", model, "-p", "a fox", "-o", out)...)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Equal(t, readPNG(t, first), readPNG(t, out))

	// Two more passes, the second one by a network, and a list whose last value is repeated.
	o = sdgo(t, with("txt2img", "-m", model, "-p", "a fox", "--hires-size", "96x48,160x160", "--hires-upscaler", "lanczos,"+enlarge2,
		"--hires-sampler", "heun", "--hires-strength", "0.5,0.3", "--hires-cfg-scale", "4", "--json", "-o", out)...)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Equal(t, image.Rect(0, 0, 160, 160), readPNG(t, out).Bounds())
	passes := map[float64]int{}
	for line := range strings.Lines(o.out) {
		var e map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &e))
		switch e["event"] {
		case "step":
			pass, _ := e["pass"].(float64)
			passes[pass]++
		case "image":
			stages := e["params"].(map[string]any)["stages"].([]any)
			require.Equal(t, map[string]any{"width": 160.0, "height": 160.0, "upscaler": "x2", "strength": 0.3, "steps": 2.0,
				"sampler": "heun", "schedule": "discrete", "cfg_scale": 4.0}, stages[1])
			require.Equal(t, 0.5, stages[0].(map[string]any)["strength"])
		}
	}
	require.Equal(t, map[float64]int{0: 2, 2: 2, 3: 2}, passes)
}

func TestHiresRefusals(t *testing.T) {
	model, folder := tinyModel(t), t.TempDir()
	out := filepath.Join(folder, "out.png")
	img, half := start(64, 32)
	in, mask := writePNG(t, folder, "in.png", img), writePNG(t, folder, "mask.png", half)
	for _, c := range []struct {
		code int
		args []string
		want string
	}{
		{ExitUsage, []string{"--hires", "two"}, `--hires: must be a factor, such as 2x, got "two"`},
		{ExitUsage, []string{"--hires", "0x"}, "--hires: must be more than 0"},
		{ExitUsage, []string{"--hires", "2x", "--hires-size", "64x64"}, "--hires-size: both this and hires say how large the picture becomes"},
		{ExitUsage, []string{"--hires-size", "64"}, "must be a width and a height, as in 1024x768"},
		{ExitUsage, []string{"--hires-size", "65x64"}, "--hires-size: must be a multiple of 8 from 8 to 8192, got 65"},
		{ExitUsage, []string{"--hires-steps", "3"}, "--hires-steps: there is no hires pass that it could be for"},
		{ExitUsage, []string{"--save-stages"}, "--save-stages needs a second pass"},
		{ExitUsage, []string{"--hires", "2x", "--hires-steps", "0"}, `--hires-steps: must be 1 to 1000, got 0`},
		{ExitUsage, []string{"--hires", "2x", "--hires-steps", "1,2"}, "--hires-steps: must be at most one value a pass, got 2 values for 1"},
		{ExitUsage, []string{"--hires", "2x", "--hires-strength", "2"}, "--hires-strength: must be 0 to 1, got 2"},
		{ExitUsage, []string{"--hires", "2x", "--hires-sampler", "hein"}, "--hires-sampler: "},
		{ExitUsage, []string{"--hires", "2x", "--hires-upscaler", "latin"}, `--hires-upscaler: "latin" is not known; there are latent`},
		{ExitUsage, []string{"--hires", "2x", "--save-stages", "--grid", "2"}, "--save-stages needs a file for each picture"},
		{ExitFailure, []string{"--hires", "2x", "--hires-upscaler", "none.pth"}, "--hires-upscaler none.pth: " + noFile},
		{ExitFailure, []string{"--hires", "2x", "--hires-upscaler", model}, "expected an ESRGAN upscaler"},
	} {
		sdgo(t, with("txt2img", append(c.args, "-m", model, "-p", "a", "-o", out)...)...).requireError(t, c.code, c.want)
	}
	sdgo(t, "inpaint", "-i", in, "--mask", mask, "-m", model, "-p", "a", "-o", out, "--hires", "2x").requireError(t, ExitUsage, "unknown flag --hires")
	requireFiles(t, folder, "in.png", "mask.png")
}
