package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A direction that was found changes pictures, by flags and jobs, and pictures say so.
func TestDirection(t *testing.T) {
	model, folder := tinyModel(t), t.TempDir()
	file := filepath.Join(folder, "way.safetensors")
	o := sdgo(t, "direction", "-m", model, "-p", "apple", "--to", "zebra", "--pictures", "2", "-W", "16", "-H", "16", "--steps", "2", "-s", "3", "-o", file)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Contains(t, o.out, "at 2 timesteps")
	draw := func(args ...string) ([]uint8, string) {
		return drawnBy(t, append([]string{"txt2img", "-m", model, "-p", "apple", "-W", "16", "-H", "16"}, args...)...)
	}
	plain, said := draw()
	require.NotContains(t, said, "Direction:")
	moved, said := draw("--direction", file+",strength=30")
	require.NotEqual(t, plain, moved)
	require.Contains(t, said, `Direction: "way,strength=30"`)
	edited, said := draw("--edit", "+a zebra,scale=9,warmup=0", "--edit", "-quark,warmup=1")
	require.NotEqual(t, plain, edited)
	require.Contains(t, said, `Edit: "+a zebra,scale=9,warmup=0,-quark,warmup=1"`)

	jobs := filepath.Join(folder, "jobs.jsonl")
	line := `{"prompt":"apple","direction":"way.safetensors,strength=2","edit":"+zebra,warmup=0","edit_beta":0.5,"seed":1,"steps":2,"width":16,"height":16,"output":"` + folder + `/job.png"}`
	require.NoError(t, os.WriteFile(jobs, []byte(line), 0o600))
	o = sdgo(t, "batch", "-m", model, jobs)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.FileExists(t, filepath.Join(folder, "job.png"))

	for _, c := range []struct {
		code int
		says string
		args []string
	}{
		{ExitUsage, "no other end", []string{"direction", "-p", "a"}},
		{ExitUsage, "must be 1 to 1024, got 0", []string{"direction", "-p", "a", "--to", "b", "--pictures", "0"}},
		{ExitUsage, "must be + or - and a text", []string{"txt2img", "-p", "a", "--edit", "glasses"}},
		{ExitUsage, "scale: must be 0 to 1000, got -2", []string{"txt2img", "-p", "a", "--edit", "+glasses,scale=-2"}},
		{ExitUsage, "must begin with a file", []string{"txt2img", "-p", "a", "--direction", "strength=2"}},
		{ExitFailure, "none.safetensors", []string{"txt2img", "-p", "a", "--direction", filepath.Join(folder, "none.safetensors")}},
		{ExitFailure, "is no direction of sdgo direction", []string{"txt2img", "-p", "a", "--direction", model}},
	} {
		o := sdgo(t, append(c.args, "-m", model, "-W", "16", "-H", "16", "--steps", "2", "-o", filepath.Join(folder, "out.png"))...)
		require.Equal(t, c.code, o.code, "%v: %s", c.args, o.errors)
		require.Contains(t, o.errors, c.says)
	}
}
