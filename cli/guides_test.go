package cli

import (
	"image"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Flags and jobs are guided alike, and pictures say by what.
func TestGuidesByFlagsAndJobs(t *testing.T) {
	model, folder := pixelModels+"guided.safetensors", t.TempDir()
	low := image.NewNRGBA(image.Rect(0, 0, 4, 4))
	for i := range low.Pix {
		low.Pix[i] = uint8(255 - i%4*i)
	}
	writePNG(t, folder, "low.png", low)
	draw := func(args ...string) ([]uint8, string) {
		return drawnBy(t, append([]string{"sample", "-m", model, "--class", "1", "-W", "16", "-H", "16"}, args...)...)
	}
	plain, _ := draw()
	guided, said := draw("--guide", "lowres="+filepath.Join(folder, "low.png"), "--guide", "colour=#20ff80", "--guide-method", "mpgd:scale=0.5")
	require.NotEqual(t, plain, guided)
	require.Contains(t, said, `Guide: "lowres=low.png,colour=#20ff80", Guide method: "mpgd:scale=0.5"`)
	backward, said := draw("--guide", "colour=#20ff80")
	require.NotEqual(t, plain, backward)
	require.Contains(t, said, "Guide: colour=#20ff80, Guide method: moments")

	jobs := filepath.Join(folder, "jobs.jsonl")
	line := `{"class":"1","guide":"lowres=low.png,colour=#20ff80","guide_method":"mpgd:scale=0.5","seed":1,"steps":2,"width":16,"height":16,"output":"` + folder + `/job.png"}`
	require.NoError(t, os.WriteFile(jobs, []byte(line), 0o600))
	o := sdgo(t, "batch", "-m", model, jobs)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.FileExists(t, filepath.Join(folder, "job.png"))

	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"--guide", "shape=round"}, `"shape" is no kind of guide`},
		{[]string{"--guide", "colour=red"}, "must be a colour such as #ff8800"},
		{[]string{"--guide", "colour=#000000", "--guide-method", "magic"}, "magic"},
		{[]string{"--guide-method", "mpgd"}, "--guide"},
		{[]string{"--classifier-scale", "2"}, "must name the classifier"},
		{[]string{"--guide", "lowres=" + filepath.Join(folder, "none.png")}, "none.png"},
	} {
		o := sdgo(t, append([]string{"sample", "-m", model, "--class", "1", "-W", "16", "-H", "16", "--steps", "2", "-o", filepath.Join(folder, "out.png")}, c.args...)...)
		require.NotEqual(t, ExitOK, o.code, c.says)
		require.Contains(t, o.errors, c.says)
	}
	o = sdgo(t, "sample", "-m", model, "--class", "1", "-W", "16", "-H", "16", "--classifier", model, "-o", filepath.Join(folder, "out.png"))
	require.Equal(t, ExitFailure, o.code)
	require.Contains(t, o.errors, "must be a classifier of noisy pictures")
	require.NoFileExists(t, filepath.Join(folder, "out.png"))
}

func TestPurify(t *testing.T) {
	folder := t.TempDir()
	model := pixelModels + "guided.safetensors"
	img, _ := start(16, 16)
	writePNG(t, folder, "in.png", img)
	in, out := filepath.Join(folder, "in.png"), filepath.Join(folder, "out.png")
	args := []string{"purify", "-m", model, "-i", in, "-o", out, "-s", "1", "--steps", "3", "--class", "1"}
	o := sdgo(t, args...)
	require.Equal(t, ExitOK, o.code, o.errors)
	sde := readPNG(t, out)
	o = sdgo(t, append(args, "--ode")...)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.NotEqual(t, sde, readPNG(t, out))
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"--time", "2"}, "--time: must be above 0, at most 1, got 2"},
		{[]string{"--time", "0.1", "--noise", "0.3"}, "says the same as --time"},
		{[]string{"--noise", "-1"}, "--noise: must be above 0"},
		{[]string{"-n", "0"}, "must be 1 to"},
	} {
		o := sdgo(t, append(args, c.args...)...)
		require.Equal(t, ExitUsage, o.code, c.says)
		require.Contains(t, o.errors, c.says)
	}
	o = sdgo(t, "purify", "-m", model)
	require.Equal(t, ExitUsage, o.code)
	require.Contains(t, o.errors, "no picture")
}
