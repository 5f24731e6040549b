package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every command that reads models says what a file is that is none, with exit code 1;
// package convert/read has the list.
func TestForeignModels(t *testing.T) {
	dir := t.TempDir()
	picture, _ := start(16, 16)
	in := writePNG(t, dir, "in.png", picture)
	for name, c := range map[string]struct{ content, want string }{
		"lfs.safetensors":  {"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n", "a Git LFS pointer to a file of 12 bytes: "},
		"page.safetensors": {"<!DOCTYPE html><html><body>Log in</body></html>", "an HTML page: "},
		"model.onnx":       {"\x08\x0e\x12\x07pytorch:3\n\x0c", "an ONNX model: "},
		"x4plus.param":     {"7767517\n999 1782\nInput", "an ncnn model (.param and .bin): "},
	} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(c.content), 0o666))
		out := filepath.Join(dir, "out.png")
		for _, args := range [][]string{
			{"info", path},
			{"txt2img", "-m", path, "-p", "a fox", "-o", out},
			{"txt2img", "-m", sd1Tiny, "--vae", path, "-p", "a fox", "-o", out},
			{"txt2img", "-m", sd1Tiny, "--taesd", path, "-p", "a fox", "-o", out},
			{"txt2img", "-m", xlBase, "--refiner", path, "-p", "a fox", "-o", out},
			{"upscale", "-m", path, in},
			{"convert", "-o", filepath.Join(dir, "out.gguf"), path},
			{"convert", "-o", filepath.Join(dir, "out.gguf"), "--vae", path, sd1Tiny},
		} {
			o := sdgo(t, args...)
			require.Equal(t, ExitFailure, o.code, args)
			require.Contains(t, o.errors, path+": "+c.want, args)
		}
	}
	requireFiles(t, dir, "in.png", "lfs.safetensors", "model.onnx", "page.safetensors", "x4plus.param")
}
