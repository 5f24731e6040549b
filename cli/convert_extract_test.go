package cli

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A LoRA is baked, extracted again, and draws what the baked model draws.
func TestExtractLoRA(t *testing.T) {
	folder := t.TempDir()
	tuned, lora := filepath.Join(folder, "tuned.safetensors"), filepath.Join(folder, "again.safetensors")
	o := sdgo(t, "convert", "-q", "--type", "f32", "-o", tuned, "--lora", adapters+"/kohya.safetensors", sd1Tiny)
	require.Equal(t, ExitOK, o.code, o.errors)
	o = sdgo(t, "convert", "-o", lora, "--type", "f32", "--extract-lora", sd1Tiny, "--rank", "8", tuned)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Contains(t, o.errors, "again.safetensors: rank 8, ")
	require.Contains(t, o.errors, " layers, 100.0 % of the difference, ")
	require.Contains(t, sdgo(t, "info", "-m", sd1Tiny, lora).out, "Stable Diffusion 1.x")

	args := []string{"txt2img", "-W", "64", "-H", "64", "-p", "a cat"}
	plain, _ := drawnBy(t, append(args, "-m", sd1Tiny)...)
	want, _ := drawnBy(t, append(args, "-m", tuned)...)
	got, _ := drawnBy(t, append(args, "-m", sd1Tiny, "--lora", lora)...)
	require.NotEqual(t, plain, want)
	for i := range want {
		require.InDelta(t, want[i], got[i], 3, "pixel %d", i)
	}

	o = sdgo(t, "convert", "--json", "--force", "-o", lora, "--extract-lora", sd1Tiny, "--rank", "1", tuned)
	require.Equal(t, ExitOK, o.code, o.errors)
	lines := strings.Split(strings.TrimSpace(o.out), "\n")
	var e struct {
		Event string
		extracted
	}
	require.NoError(t, json.Unmarshal([]byte(lines[len(lines)-1]), &e))
	require.Equal(t, "extracted", e.Event)
	require.Greater(t, e.Kept, 0.1)
	require.Less(t, e.Kept, 1.0)
	require.Empty(t, e.LeftOut)

	for _, c := range []struct {
		code int
		args []string
		want string
	}{
		{ExitFailure, []string{"-o", lora, "--extract-lora", sd1Tiny, tuned}, "the file exists"},
		{ExitFailure, []string{"-o", tuned, "--force", "--extract-lora", sd1Tiny, tuned}, "written over itself"},
		{ExitFailure, []string{"-o", filepath.Join(folder, "x.safetensors"), "--extract-lora", sd1Tiny, sd1Tiny}, "nothing to extract"},
		{ExitFailure, []string{"-o", filepath.Join(folder, "x.safetensors"), "--extract-lora", "nobody.safetensors", tuned}, "--extract-lora nobody.safetensors"},
		{ExitUsage, []string{"-o", filepath.Join(folder, "x.gguf"), "--extract-lora", sd1Tiny, tuned}, "a LoRA's name must end in .safetensors"},
		{ExitUsage, []string{"-o", lora, "--extract-lora", sd1Tiny, "--type", "q8_0", tuned}, "--type: must be f32, f16 or bf16 for a LoRA, got q8_0"},
		{ExitUsage, []string{"-o", lora, "--extract-lora", sd1Tiny, "--rank", "0", tuned}, "--rank: must be 1 to 1024, got 0"},
		{ExitUsage, []string{"-o", lora, "--extract-lora", sd1Tiny, "--dry-run", tuned}, "--dry-run: can't be combined with --extract-lora"},
		{ExitUsage, []string{"-o", lora, "--extract-lora", sd1Tiny}, "the model to extract from is missing"},
		{ExitUsage, []string{"-o", lora, "--rank", "8", tuned}, "--rank is of --extract-lora alone"},
	} {
		o := sdgo(t, append([]string{"convert"}, c.args...)...)
		require.Equal(t, c.code, o.code, "%v: %s", c.args, o.errors)
		require.Contains(t, o.errors, c.want)
		require.NoFileExists(t, filepath.Join(folder, "x.safetensors"))
	}
}
