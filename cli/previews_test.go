package cli

import (
	"image"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

const tinyTAESD = "../testdata/taesd/tiny.safetensors"

func TestPreviewFile(t *testing.T) {
	model, folder := tinyModel(t), t.TempDir()
	out, preview := filepath.Join(folder, "out.png"), filepath.Join(folder, "preview.png")
	o := sdgo(t, with("txt2img", "-m", model, "-p", "a fox", "--preview", preview, "-o", out)...)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Equal(t, image.Pt(512, 256), readPNG(t, preview).Bounds().Size())
	plain := readPNG(t, out)

	// Asking for previews changes nothing about the picture.
	o = sdgo(t, with("txt2img", "-m", model, "-p", "a fox", "-o", out)...)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Equal(t, plain, readPNG(t, out))

	preview = filepath.Join(folder, "preview.jpg")
	o = sdgo(t, with("txt2img", "-m", model, "-p", "a fox", "--preview", preview, "--preview-every", "1", "-o", out)...)
	require.Equal(t, ExitOK, o.code, o.errors)
	requireFiles(t, folder, "out.png", "preview.png", "preview.jpg")
}

func TestTAESDFlags(t *testing.T) {
	model, folder := tinyModel(t), t.TempDir()
	out := filepath.Join(folder, "out.png")
	for _, c := range []struct {
		code int
		args []string
		want string
	}{
		// The tiny model's autoencoder has a factor of 2.
		{ExitUsage, []string{"--taesd", tinyTAESD}, "--taesd: tiny must have the model's downsampling factor 2, got 8"},
		{ExitUsage, []string{"--taesd", ""}, "--taesd: must be the name of a tiny autoencoder"},
		{ExitUsage, []string{"--taesd-preview-only"}, "--taesd-preview-only needs a tiny autoencoder"},
		{ExitFailure, []string{"--taesd", "none.pth"}, "--taesd none.pth: " + noFile},
		{ExitFailure, []string{"--taesd", model}, "expected a TAESD autoencoder"},
		{ExitUsage, []string{"--preview-every", "0", "--preview", "p.png"}, "--preview-every: must be 1 to 1000, got 0"},
		{ExitUsage, []string{"--preview-every", "2"}, "the terminal must be one that shows pictures"},
		{ExitUsage, []string{"--preview", "p.tiff"}, "must end in .png"},
		{ExitUsage, []string{"--preview", out}, "both name"},
		{ExitFailure, []string{"--preview", filepath.Join(folder, "no", "p.png")}, "--preview: the folder"},
	} {
		sdgo(t, with("txt2img", append(c.args, "-m", model, "-p", "a", "-o", out)...)...).requireError(t, c.code, c.want)
	}
	requireFiles(t, folder)
}
