package cli

import (
	"bytes"
	"image/gif"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestInterpolate(t *testing.T) {
	model, folder := tinyModel(t), t.TempDir()
	out := filepath.Join(folder, "f-%02d.png")
	o := sdgo(t, with("interpolate", "-m", model, "-p", "a fox", "--to", "a red bird", "--to-seed", "7", "--frames", "3", "-o", out)...)
	require.Equal(t, ExitOK, o.code, o.errors)
	requireFiles(t, folder, "f-01.png", "f-02.png", "f-03.png")
	frame := func(n string) string { return filepath.Join(folder, "f-0"+n+".png") }
	require.Contains(t, textsOf(t, frame("2"))["parameters"],
		"Seed: 42, Size: 64x32, Variation seed: 7, Variation seed strength: 0.5, Towards: a red bird, Towards at: 0.5, Model")

	// The ends are the pictures themselves.
	one := filepath.Join(folder, "one.png")
	o = sdgo(t, with("txt2img", "-m", model, "-p", "a fox", "-o", one)...)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Equal(t, readPNG(t, one), readPNG(t, frame("1")))
	args := with("txt2img", "-m", model, "-p", "a red bird", "--sampler", "euler", "-o", one)
	args[len(args)-1] = "7"
	o = sdgo(t, args...)
	require.Equal(t, ExitOK, o.code, o.errors)
	o = sdgo(t, with("interpolate", "-m", model, "-p", "a fox", "--to", "a red bird", "--to-seed", "7", "--frames", "2", "--sampler", "euler", "-o", out)...)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Equal(t, readPNG(t, one), readPNG(t, frame("2")))
}

func TestSmoothnessOfFrames(t *testing.T) {
	model, folder := tinyModel(t), t.TempDir()
	out := filepath.Join(folder, "f-%02d.png")
	o := sdgo(t, with("interpolate", "-m", model, "-p", "a fox", "--to-seed", "7", "--frames", "3", "--smoothness", "-o", out)...)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Regexp(t, `neighbours are [1-9][0-9.]* apart, ISTD [0-9.]+ \(of 255\)`, o.out)
	o = sdgo(t, with("interpolate", "-m", model, "-p", "a fox", "--to-seed", "7", "--frames", "2", "--smoothness", "-o", out)...)
	require.Equal(t, ExitUsage, o.code)
	require.Contains(t, o.errors, "--smoothness: needs at least 3 frames")
}

func TestInterpolateAnimations(t *testing.T) {
	model, folder := tinyModel(t), t.TempDir()
	film := filepath.Join(folder, "film.gif")
	o := sdgo(t, with("interpolate", "-m", model, "-p", "a fox", "--to", "a bird", "--frames", "3", "--fps", "5", "--bounce", "-o", film)...)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Equal(t, film+"\n", o.out)
	data, err := os.ReadFile(film)
	require.NoError(t, err)
	g, err := gif.DecodeAll(bytes.NewReader(data))
	require.NoError(t, err)
	require.Equal(t, []int{20, 20, 20, 20}, g.Delay)
	require.Equal(t, g.Image[1].Pix, g.Image[3].Pix)
	require.NotEqual(t, g.Image[0].Pix, g.Image[2].Pix)

	film = filepath.Join(folder, "film.webp")
	o = sdgo(t, with("interpolate", "-m", model, "-p", "a fox", "--to-seed", "3", "--frames", "4", "-o", film, "--json")...)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Contains(t, o.out, `{"event":"sheet","images":4,`)
	data, err = os.ReadFile(film)
	require.NoError(t, err)
	require.Equal(t, "RIFF", string(data[:4]))
	require.Equal(t, 4, bytes.Count(data, []byte("ANMF")))
	requireFiles(t, folder, "film.gif", "film.webp")
}

func TestInterpolateRefusals(t *testing.T) {
	model, folder := tinyModel(t), t.TempDir()
	out := filepath.Join(folder, "f.png")
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "no other end"},
		{[]string{"--to", "b", "--frames", "1"}, "--frames: must be 2 to 1000, got 1"},
		{[]string{"--to", "b", "--fps", "NaN"}, "--fps: must be 0.01 to 100, got NaN"},
		{[]string{"--to", "b", "--bounce"}, "--bounce are for animated files: -o NAME.webp"},
		{[]string{"--to-seed", "-1"}, "--to-seed: must be 0 to 18446744073709551615, got -1"},
	} {
		args := with("interpolate", append(c.args, "-m", model, "-p", "a", "-o", out)...)
		sdgo(t, args...).requireError(t, ExitUsage, c.want)
	}
	requireFiles(t, folder)
}
