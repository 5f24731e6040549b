package catalog

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const transformers, flux, sd35 = "../../testdata/transformers/", "../../testdata/flux/flux/", "../../testdata/flux/sd35/"

// fluxParts puts the tiny FLUX.1 into a folder as ComfyUI keeps models.
func fluxParts(t *testing.T, dir string) {
	t.Helper()
	for to, from := range map[string]string{"diffusion_models/dev.safetensors": "transformer/diffusion_pytorch_model.safetensors", "text_encoders/clip_l.safetensors": "text_encoder/model.safetensors",
		"text_encoders/t5xxl.safetensors": "text_encoder_2/model.safetensors", "text_encoders/t5-tokenizer.json": "tokenizer_2/tokenizer.json", "vae/ae.safetensors": "vae/diffusion_pytorch_model.safetensors"} {
		copyTo(t, flux+from, filepath.Join(dir, to))
	}
}

func find(t *testing.T, c *Catalog, file string) Entry {
	t.Helper()
	for _, e := range c.Entries() {
		if e.File == file {
			return e
		}
	}
	require.Fail(t, "there is no "+file)
	return Entry{}
}

// A model's parts are found by what fits; what is missing or may be one of several is said.
func TestParts(t *testing.T) {
	dir := t.TempDir()
	copyTo(t, flux+"transformer/diffusion_pytorch_model.safetensors", dir+"/diffusion_models/dev.safetensors")
	c, err := New(Config{Folder: dir})
	require.NoError(t, err)
	e := find(t, c, "dev.safetensors")
	require.Equal(t, Incomplete, e.Kind)
	require.Equal(t, "it lacks its text encoder CLIP-L and its text encoder T5 and T5's vocabulary (tokenizer.json or spiece.model) and its autoencoder, for which no file in the models folder fits", e.Why)
	_, err = c.Lookup("model", "dev", Checkpoint)
	require.Error(t, err)

	// Other models' parts do not fit: an autoencoder of four channels that are laid out otherwise, a Qwen.
	fluxParts(t, dir)
	copyTo(t, transformers+"zimage-text.safetensors", dir+"/text_encoders/qwen.safetensors")
	require.NoError(t, c.Scan())
	e = find(t, c, "dev.safetensors")
	require.Equal(t, Checkpoint, e.Kind, e.Why)
	at := func(name string) string { return filepath.Join(dir, name) }
	require.Equal(t, Parts{CLIPL: at("text_encoders/clip_l.safetensors"), T5: at("text_encoders/t5xxl.safetensors"), T5Tokenizer: at("text_encoders/t5-tokenizer.json"), VAE: at("vae/ae.safetensors")}, e.Parts)
	require.Equal(t, []any{28, 3.5, "euler", "linear", 16}, []any{e.Steps, e.Guidance, e.Sampler, e.Schedule, e.Align})
	total := uint64(0)
	for _, o := range c.Entries(Text, Vocabulary, VAE) {
		if o.File != "qwen.safetensors" {
			total += o.Bytes
		}
	}
	alone, err := os.Stat(e.Path)
	require.NoError(t, err)
	require.Equal(t, uint64(alone.Size())+total, e.Bytes)
	require.Equal(t, Text, find(t, c, "qwen.safetensors").Kind)

	// Of two that fit one is named, in a file beside the model.
	copyTo(t, flux+"vae/diffusion_pytorch_model.safetensors", dir+"/vae/other.safetensors")
	require.NoError(t, c.Scan())
	e = find(t, c, "dev.safetensors")
	require.Equal(t, Incomplete, e.Kind)
	require.Equal(t, `its autoencoder may be ae or other: name one in dev.parts.json, as in {"vae": "ae.safetensors"}`, e.Why)
	say := func(text string) Entry {
		require.NoError(t, os.WriteFile(dir+"/diffusion_models/dev.parts.json", []byte(text), 0o600))
		require.NoError(t, c.Scan())
		return find(t, c, "dev.safetensors")
	}
	for _, name := range []string{"other", "Other.safetensors", "vae/other", "vae/other.safetensors"} {
		e = say(`{"vae": "` + name + `"}`)
		require.Equal(t, Checkpoint, e.Kind, e.Why)
		require.Equal(t, at("vae/other.safetensors"), e.Parts.VAE)
		require.Equal(t, at("text_encoders/clip_l.safetensors"), e.Parts.CLIPL)
	}
	for text, want := range map[string]string{
		`{"vae": "nothing"}`:                              `dev.parts.json: vae: must name one of the files in the models folder that may be its autoencoder, got "nothing", which is 0 of them; there are: ae, other`,
		`{"vae": "/etc/passwd"}`:                          `got "/etc/passwd", which is 0 of them`,
		`{"vae": "../vae/ae.safetensors"}`:                `which is 0 of them`,
		`{"vae": "clip_l"}`:                               `which is 0 of them`,
		`{"clip_g": "clip_l", "vae": "ae"}`:               "dev.parts.json: the model does not go with these parts: clip_l.safetensors, ae.safetensors",
		`{"t5": "t5xxl"}`:                                 `dev.parts.json: "t5" is no part of a model`,
		`["ae"]`:                                          `dev.parts.json: must be a JSON object such as`,
		`{"vae": "` + string(make([]byte, 70_000)) + `"}`: "dev.parts.json: must be at most 65536 bytes",
	} {
		e := say(text)
		require.Equal(t, Incomplete, e.Kind, text)
		require.Contains(t, e.Why, want, text)
		require.NotContains(t, e.Why, dir, text)
	}

	// A part that is gone is missed.
	require.NoError(t, os.Remove(dir+"/diffusion_models/dev.parts.json"))
	require.NoError(t, os.Remove(dir+"/vae/other.safetensors"))
	require.NoError(t, os.Remove(dir+"/text_encoders/t5-tokenizer.json"))
	require.NoError(t, c.Scan())
	require.Contains(t, find(t, c, "dev.safetensors").Why, "it lacks T5's vocabulary (tokenizer.json or spiece.model), for which")

	// So is one that changed.
	copyTo(t, flux+"tokenizer_2/tokenizer.json", dir+"/text_encoders/tokenizer.json")
	require.NoError(t, c.Scan())
	require.Equal(t, Checkpoint, find(t, c, "dev.safetensors").Kind)
	require.NoError(t, os.WriteFile(dir+"/vae/ae.safetensors", []byte("no longer"), 0o600))
	require.NoError(t, os.Chtimes(dir+"/vae/ae.safetensors", time.Now(), time.Now().Add(time.Minute)))
	require.NoError(t, c.Scan())
	require.Contains(t, find(t, c, "dev.safetensors").Why, "it lacks its autoencoder, for which")
}

// Which of two text encoders of CLIP is which is found, too; T5 is Stable Diffusion 3's only
// where it is named.
func TestPartsOfStableDiffusion3(t *testing.T) {
	dir := t.TempDir()
	for to, from := range map[string]string{"sd35.safetensors": "transformer/diffusion_pytorch_model.safetensors", "a.safetensors": "text_encoder_2/model.safetensors", "b.safetensors": "text_encoder/model.safetensors",
		"t5.safetensors": "text_encoder_3/model.safetensors", "tokenizer.json": "tokenizer_3/tokenizer.json", "vae.safetensors": "vae/diffusion_pytorch_model.safetensors"} {
		copyTo(t, sd35+from, filepath.Join(dir, to))
	}
	c, err := New(Config{Folder: dir})
	require.NoError(t, err)
	e := find(t, c, "sd35.safetensors")
	require.Equal(t, Checkpoint, e.Kind, e.Why)
	require.Equal(t, Parts{CLIPL: filepath.Join(dir, "b.safetensors"), CLIPG: filepath.Join(dir, "a.safetensors"), VAE: filepath.Join(dir, "vae.safetensors")}, e.Parts)
	require.NoError(t, os.WriteFile(dir+"/sd35.parts.json", []byte(`{"t5xxl": "t5"}`), 0o600))
	require.NoError(t, c.Scan())
	e = find(t, c, "sd35.safetensors")
	require.Equal(t, Checkpoint, e.Kind, e.Why)
	require.Equal(t, filepath.Join(dir, "t5.safetensors"), e.Parts.T5)
	require.Equal(t, filepath.Join(dir, "tokenizer.json"), e.Parts.T5Tokenizer)
}

// Both stages of DeepFloyd IF are found with T5 and its vocabulary, and are known to be drawn with as their family has it.
func TestPartsOfDeepFloyd(t *testing.T) {
	const from = "../../testdata/deepfloyd/"
	dir := t.TempDir()
	copyTo(t, from+"stage-1.safetensors", dir+"/first.safetensors")
	copyTo(t, from+"stage-2.safetensors", dir+"/second.safetensors")
	copyTo(t, from+"stage-1/text_encoder/model.safetensors", dir+"/t5.safetensors")
	c, err := New(Config{Folder: dir})
	require.NoError(t, err)
	require.Contains(t, find(t, c, "first.safetensors").Why, "it lacks T5's vocabulary")
	copyTo(t, from+"stage-1/tokenizer/tokenizer.json", dir+"/tokenizer.json")
	require.NoError(t, c.Scan())
	first, second := find(t, c, "first.safetensors"), find(t, c, "second.safetensors")
	require.Equal(t, Parts{T5: dir + "/t5.safetensors", T5Tokenizer: dir + "/tokenizer.json"}, first.Parts)
	require.Equal(t, []any{Checkpoint, "ddpm", "leading_zero", 100, 7.0, 2, ""}, []any{first.Kind, first.Sampler, first.Schedule, first.Steps, first.Guidance, first.Align, first.Variant})
	require.Equal(t, []any{Checkpoint, "ddpm", "leading_zero", 50, 4.0, 2, "enlarge"}, []any{second.Kind, second.Sampler, second.Schedule, second.Steps, second.Guidance, second.Align, second.Variant})
}
