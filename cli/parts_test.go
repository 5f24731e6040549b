package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/sd/picture"
)

const sd1Tiny, sd2Tiny = "../testdata/nets/sd1.safetensors", "../testdata/nets/sd2.safetensors"

// partOf writes the tensors of a file whose names begin with a prefix, or all others:
// with their names, or without the prefix.
func partOf(t *testing.T, path, prefix string, change func(name string, x *safetensors.Tensor) (keep bool)) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	file, err := safetensors.Parse(data)
	require.NoError(t, err)
	var all []safetensors.Tensor
	for _, x := range file.Tensors {
		if name, ok := strings.CutPrefix(x.Name, prefix); ok && change(name, &x) {
			all = append(all, x)
		}
	}
	require.NotEmpty(t, all)
	out, err := os.Create(filepath.Join(t.TempDir(), "part.safetensors"))
	require.NoError(t, err)
	require.NoError(t, safetensors.Write(out, file.Metadata, all))
	require.NoError(t, out.Close())
	return out.Name()
}

func without(t *testing.T, path string, prefixes ...string) string {
	return partOf(t, path, "", func(name string, _ *safetensors.Tensor) bool {
		return !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
	})
}

func alone(t *testing.T, path, prefix string) string {
	return partOf(t, path, prefix, func(name string, x *safetensors.Tensor) bool {
		x.Name = name
		return true
	})
}

// drawnBy is the picture of a command line, and what it says.
func drawnBy(t *testing.T, args ...string) ([]uint8, string) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out.png")
	o := sdgo(t, append(args, "-q", "-s", "1", "--steps", "2", "-o", out)...)
	require.Equal(t, ExitOK, o.code, o.errors)
	img, err := picture.Open(out)
	require.NoError(t, err)
	return img.Pix, sdgo(t, "info", out).out
}

const (
	vaePrefix  = "first_stage_model."
	xlText     = "conditioner.embedders.0.transformer."
	xlText2    = "conditioner.embedders.1.model."
	anyXLText  = "conditioner."
	anySD1Text = "cond_stage_model."
)

// What a model's file lacks comes of other files: the picture is that of the whole model,
// to the bit, whatever layout they have.
func TestPartsWhileDrawing(t *testing.T) {
	text := []string{"txt2img", "-p", "a fox", "-W", "64", "-H", "64"}
	whole, _ := drawnBy(t, append(text, "-m", xlBase)...)
	for name, args := range map[string][]string{
		"an autoencoder alone":        {"-m", without(t, xlBase, vaePrefix), "--vae", alone(t, xlBase, vaePrefix)},
		"that of a whole model":       {"-m", without(t, xlBase, vaePrefix), "--vae", xlBase},
		"of a diffusers folder":       {"-m", without(t, xlBase, vaePrefix), "--vae", "../testdata/xl/base-diffusers/vae"},
		"text encoders alone":         {"-m", without(t, xlBase, anyXLText), "--clip-l", alone(t, xlBase, xlText), "--clip-g", alone(t, xlBase, xlText2)},
		"those of a whole model":      {"-m", without(t, xlBase, anyXLText), "--clip-l", xlBase, "--clip-g", xlBase},
		"the second text encoder":     {"-m", without(t, xlBase, "conditioner.embedders.1."), "--clip-g", alone(t, xlBase, xlText2)},
		"the first text encoder":      {"-m", without(t, xlBase, "conditioner.embedders.0."), "--clip-l", alone(t, xlBase, xlText)},
		"everything but the UNet":     {"-m", without(t, xlBase, vaePrefix, anyXLText), "--vae", xlBase, "--clip-l", xlBase, "--clip-g", xlBase},
		"in place of the model's own": {"-m", xlBase, "--vae", xlBase, "--clip-l", xlBase, "--clip-g", xlBase},
	} {
		t.Run(name, func(t *testing.T) {
			got, _ := drawnBy(t, append(slices.Clone(text), args...)...)
			require.True(t, slices.Equal(whole, got))
		})
	}
	for _, m := range []string{sd1Tiny, sd2Tiny} {
		want, _ := drawnBy(t, append(text, "-m", m)...)
		got, _ := drawnBy(t, append(text, "-m", without(t, m, vaePrefix, anySD1Text), "--vae", m, "--clip-l", m)...)
		require.True(t, slices.Equal(want, got), m)
		got, _ = drawnBy(t, append(text, "-m", without(t, m, vaePrefix), "--vae", m)...)
		require.True(t, slices.Equal(want, got), m)
	}
}

// Every command that draws takes them.
func TestPartsInEveryCommand(t *testing.T) {
	dir := t.TempDir()
	img, half := start(64, 64)
	init, mask := writePNG(t, dir, "init.png", img), writePNG(t, dir, "mask.png", half)
	lacking := without(t, sd1Tiny, vaePrefix)
	for name, args := range map[string][]string{
		"img2img":     {"-p", "a fox", "-i", init},
		"inpaint":     {"-p", "a fox", "-i", init, "--mask", mask},
		"interpolate": {"-p", "a fox", "--to", "a cat", "--frames", "2", "-W", "64", "-H", "64"},
	} {
		run := func(more ...string) []byte {
			out := filepath.Join(t.TempDir(), "out.webp")
			o := sdgo(t, slices.Concat([]string{name, "-q", "-s", "1", "--steps", "2", "-o", out}, args, more)...)
			require.Equal(t, ExitOK, o.code, o.errors)
			data, err := os.ReadFile(out)
			require.NoError(t, err)
			return data
		}
		if name == "interpolate" { // which has no parameters
			require.True(t, slices.Equal(run("-m", sd1Tiny), run("-m", lacking, "--vae", sd1Tiny)), name)
			continue
		}
		require.NotEmpty(t, run("-m", lacking, "--vae", sd1Tiny), name)
	}
	jobs := filepath.Join(dir, "jobs.jsonl")
	require.NoError(t, os.WriteFile(jobs, []byte(`{"prompt":"a fox","seed":1,"steps":2,"width":64,"height":64,"output":"b.png"}`), 0o666))
	batch := func(model string, more ...string) (outcome, []byte) {
		folder := filepath.Join(dir, "batch")
		o := sdgo(t, append([]string{"batch", "-m", model, jobs, "-o", folder}, more...)...)
		require.Equal(t, ExitOK, o.code, o.errors)
		img, err := picture.Open(filepath.Join(folder, "b.png"))
		require.NoError(t, err)
		return o, img.Pix
	}
	_, want := batch(sd1Tiny)
	o, got := batch(sd1Tiny, "--vae", brightVAE(t)) // another picture: the job is not done
	require.Contains(t, o.errors, "1 job done")
	require.False(t, slices.Equal(want, got))
	o, _ = batch(sd1Tiny, "--vae", "../testdata/nets/sd2.safetensors")
	require.Contains(t, o.errors, "1 job done")
}

// brightVAE is the autoencoder of the tiny SD 1 model with another last bias.
func brightVAE(t *testing.T) string {
	return partOf(t, sd1Tiny, vaePrefix, func(name string, x *safetensors.Tensor) bool {
		x.Name = name
		if name == "decoder.conv_out.bias" {
			x.Data = make([]byte, len(x.Data))
		}
		return true
	})
}

// Another autoencoder replaces the model's own as convert --vae does, and the picture
// says which it was as AUTOMATIC1111's do.
func TestPartsInPlaceOfTheModelsOwn(t *testing.T) {
	text := []string{"txt2img", "-p", "a fox", "-W", "64", "-H", "64"}
	own, said := drawnBy(t, append(text, "-m", sd1Tiny)...)
	require.NotContains(t, said, "VAE")
	vae := brightVAE(t)
	got, said := drawnBy(t, append(text, "-m", sd1Tiny, "--vae", vae, "--clip-l", sd1Tiny)...)
	require.False(t, slices.Equal(own, got))
	require.Regexp(t, `VAE hash: [0-9a-f]{10}, VAE: part.safetensors, CLIP-L: sd1.safetensors`, said)

	for _, format := range []string{"whole.safetensors", "whole.gguf"} {
		whole := filepath.Join(t.TempDir(), format)
		o := sdgo(t, "convert", "-q", "--type", "f32", "--vae", vae, "-o", whole, sd1Tiny)
		require.Equal(t, ExitOK, o.code, o.errors)
		converted, _ := drawnBy(t, append(text, "-m", whole)...)
		assembled, _ := drawnBy(t, append(text, "-m", sd1Tiny, "--vae", vae, "--type", "f32")...)
		require.True(t, slices.Equal(converted, assembled), format)
	}

	out := filepath.Join(t.TempDir(), "out.png")
	o := sdgo(t, append(text, "-m", sd1Tiny, "--vae", vae, "--json", "--steps", "1", "-o", out)...)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Contains(t, o.out, `"vae":"part.safetensors","vae_hash":"`)
	var facts struct {
		VAE    string
		Unread []any
	}
	require.NoError(t, json.Unmarshal([]byte(sdgo(t, "info", "--json", out).out), &facts))
	require.Equal(t, "part.safetensors", facts.VAE)
	require.Empty(t, facts.Unread)
}

// A file that does not fit is refused by its name and what it is.
func TestWrongParts(t *testing.T) {
	unet := alone(t, sd1Tiny, "model.diffusion_model.")
	for _, c := range []struct {
		want string
		args []string
	}{
		{unet + ": a UNet of latent diffusion", []string{"--vae", unet}},
		{"; expected an autoencoder", []string{"--vae", unet}},
		{"; --taesd takes a tiny one", []string{"--vae", tinyTAESD}},
		{"expected a CLIP text encoder", []string{"--clip-l", alone(t, sd1Tiny, vaePrefix)}},
		{"expected a CLIP text encoder", []string{"--clip-g", sd1Tiny}},
		{"nothing.safetensors: " + noFile, []string{"--vae", "nothing.safetensors"}},
		{"a text encoder of width", []string{"--clip-l", xlBase}},
	} {
		o := sdgo(t, append([]string{"txt2img", "-q", "-m", sd1Tiny, "-p", "a fox", "-o", filepath.Join(t.TempDir(), "o.png")}, c.args...)...)
		require.Equal(t, ExitFailure, o.code, o.errors)
		require.Contains(t, o.errors, c.want, fmt.Sprint(c.args))
	}
}
