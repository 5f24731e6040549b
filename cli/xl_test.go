package cli

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/picture"
)

const xlBase, xlRefiner = "../testdata/xl/base.safetensors", "../testdata/xl/refiner.safetensors"

func TestXL(t *testing.T) {
	draw := func(more ...string) ([]byte, outcome) {
		out := filepath.Join(t.TempDir(), "out.png")
		o := sdgo(t, append([]string{"txt2img", "-m", xlBase, "-p", "a fox", "--steps", "4", "-s", "1", "--sampler", "euler", "-o", out}, more...)...)
		require.Equal(t, ExitOK, o.code, o.errors)
		img, err := picture.Open(out)
		require.NoError(t, err)
		drawn, err := picture.NRGBA(img)
		require.NoError(t, err)
		return drawn.Pix, sdgo(t, "info", out)
	}
	plain, _ := draw()
	same, _ := draw("--original-size", "64x64", "--target-size", "64x64", "--crop", "0,0")
	require.Equal(t, plain, same, "the defaults")
	small, _ := draw("--original-size", "16x16")
	require.NotEqual(t, plain, small)
	_, said := draw("--refiner", xlRefiner, "--refiner-at", "0.5", "--aesthetic", "8", "--negative-aesthetic", "1")
	require.Contains(t, said.out, "Refiner: refiner")
	require.Contains(t, said.out, "Refiner switch at: 0.5")
}

func TestXLWrongUsage(t *testing.T) {
	for _, c := range []struct {
		want string
		code int
		args []string
	}{
		{"--crop: must be the left and the top pixel, as in 0,0, got \"3\"", ExitUsage, []string{"-m", xlBase, "--crop", "3"}},
		{"--target-size: must be a width and a height, as in 1024x768, got \"64x-1\"", ExitUsage, []string{"-m", xlBase, "--target-size", "64x-1"}},
		{"--refiner-at: needs a Refiner", ExitUsage, []string{"-m", xlBase, "--refiner-at", "0.5"}},
		{"--refiner: must be the name of a model", ExitUsage, []string{"-m", xlBase, "--refiner", ""}},
		{"--aesthetic: must be 0 to 10, got 11", ExitUsage, []string{"-m", xlBase, "--refiner", xlRefiner, "--aesthetic", "11"}},
		{"nothing.safetensors: " + noFile, ExitFailure, []string{"-m", xlBase, "--refiner", "nothing.safetensors"}},
		{"the model is a refiner", ExitUsage, []string{"-m", xlRefiner}},
		{"only Stable Diffusion XL has one", ExitUsage, []string{"-m", tinyModel(t), "--refiner", xlRefiner}},
	} {
		o := sdgo(t, append([]string{"txt2img", "-p", "a fox", "-o", filepath.Join(t.TempDir(), "o.png")}, c.args...)...)
		require.Equal(t, c.code, o.code, o.errors)
		require.Contains(t, o.errors, c.want)
	}
}
