package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/picture"
)

const adapters = "../testdata/adapters"

// What flags, prompts and jobs name is the same adapter, which pictures say.
func TestAdaptersByFileAndName(t *testing.T) {
	draw := func(args ...string) ([]uint8, string) {
		return drawnBy(t, append([]string{"txt2img", "-m", sd1Tiny, "-W", "64", "-H", "64"}, args...)...)
	}
	plain, _ := draw("-p", "a cat")
	with, said := draw("-p", "a cat", "--lora", adapters+"/kohya.safetensors:0.8:0.5")
	require.NotEqual(t, plain, with)
	require.Contains(t, said, `LoRA: "kohya:0.8:0.5", Lora hashes: "kohya: `)
	for _, name := range []string{"kohya", "the tiny style"} {
		named, said := draw("-p", "a cat <lora:"+name+":0.5:0.8>", "--lora-dir", adapters)
		require.Equal(t, with, named, name)
		require.Contains(t, said, `Lora hashes: "kohya: `)
	}
	listed, _ := draw("-p", "a cat", "--lora-dir", adapters, "--lora", "kohya:0.8:0.5")
	require.Equal(t, with, listed)
	two, said := draw("-p", "a cat", "--lora", adapters+"/kohya.safetensors", "--lora", adapters+"/loha.safetensors:0.5")
	require.NotEqual(t, with, two)
	require.Contains(t, said, `LoRA: "kohya:1, loha:0.5"`)
	again, _ := draw("-p", "a cat", "--lora", adapters+"/kohya.safetensors,"+adapters+"/loha.safetensors:0.5")
	require.Equal(t, two, again)

	folder := t.TempDir()
	for _, name := range []string{"words-kohya.safetensors", "words-a1111.pt", "kohya.safetensors"} {
		data, err := os.ReadFile(filepath.Join(adapters, name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), data, 0o600))
	}
	word, said := draw("-p", "a words-kohya cat", "--embedding-dir", folder)
	require.Contains(t, said, "TI hashes: \"words-kohya: ")
	other, _ := draw("-p", "a embedding:WORDS-A1111 cat", "--embedding-dir", folder)
	require.Equal(t, word, other, "the same vectors")

	jobs := filepath.Join(folder, "jobs.jsonl")
	require.NoError(t, os.WriteFile(jobs, []byte(`{"prompt":"a cat","lora":[{"name":"kohya.safetensors","strength":0.8,"text_strength":0.5}],"seed":1,"steps":2,"width":64,"height":64,"output":"`+folder+`/job.png"}`), 0o600))
	o := sdgo(t, "batch", "-q", "-m", sd1Tiny, jobs)
	require.Equal(t, ExitOK, o.code, o.errors)
	img, err := picture.Open(folder + "/job.png")
	require.NoError(t, err)
	require.Equal(t, with, img.Pix)
}

func TestAdapterMistakes(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--lora", "nobody.safetensors"}, ExitFailure, "--lora nobody.safetensors"},
		{[]string{"--lora", "kohya"}, ExitUsage, `--lora: "kohya": no adapter is attached`},
		{[]string{"--lora", "a:1000"}, ExitUsage, "--lora: a strength must be -100 to 100, got 1000"},
		{[]string{"--lora-dir", "nowhere"}, ExitUsage, "--lora-dir: "},
		{[]string{"--lora", adapters + "/words-kohya.safetensors"}, ExitFailure, "are of no known kind of LoRA"},
		{[]string{"-n", "<lora:kohya:1>"}, ExitUsage, "only the prompt may name them"},
	} {
		o := sdgo(t, append([]string{"txt2img", "-q", "-m", sd1Tiny, "-p", "a cat", "--steps", "1", "-W", "64", "-H", "64", "-o", t.TempDir() + "/x.png"}, c.args...)...)
		require.Equal(t, c.code, o.code, "%v: %s", c.args, o.errors)
		require.Contains(t, o.errors, c.want)
	}
}

func TestInfoOfAdapters(t *testing.T) {
	o := sdgo(t, "info", "-m", sd1Tiny, adapters+"/kohya.safetensors")
	require.Equal(t, ExitOK, o.code, o.errors)
	for _, line := range []string{"kind          LoRA", "also called   The Tiny Style", "rank          3, alpha 2", "for           Stable Diffusion 1.x",
		"layers        12 of the UNet, 4 of the text encoder", "trained with  tinystyle (14), sea (5), a cat (3)", "all 16 layers"} {
		require.Contains(t, o.out, line)
	}
	o = sdgo(t, "info", "--json", "-m", "../testdata/xl/base.safetensors", adapters+"/kohya.safetensors")
	require.Equal(t, ExitOK, o.code, o.errors)
	var got struct{ Adapter jsonAdapter }
	require.NoError(t, json.Unmarshal([]byte(o.out), &got))
	require.Equal(t, []string{"LoRA"}, got.Adapter.Kinds)
	require.NotNil(t, got.Adapter.Fits)
	require.False(t, got.Adapter.Fits.Fits)
	require.Contains(t, got.Adapter.Fits.Error, "the file is for Stable Diffusion 1.x, the model is Stable Diffusion XL")
	o = sdgo(t, "info", "-m", sd1Tiny, sd1Tiny)
	require.Equal(t, ExitFailure, o.code)
	require.Contains(t, o.errors, "what it goes with is not known")
}

// A LoRA that is made a part of a model draws what it draws beside it.
func TestAdaptersBaked(t *testing.T) {
	out := filepath.Join(t.TempDir(), "baked.safetensors")
	o := sdgo(t, "convert", "-q", "--type", "f32", "-o", out, "--lora", adapters+"/kohya.safetensors:0.8:0.5", sd1Tiny)
	require.Equal(t, ExitOK, o.code, o.errors)
	args := []string{"txt2img", "-p", "a cat", "-W", "64", "-H", "64", "--type", "f32"}
	baked, _ := drawnBy(t, append(args, "-m", out)...)
	beside, _ := drawnBy(t, append(args, "-m", sd1Tiny, "--lora", adapters+"/kohya.safetensors:0.8:0.5")...)
	plain, _ := drawnBy(t, append(args, "-m", sd1Tiny)...)
	require.NotEqual(t, plain, baked)
	for i := range baked {
		require.InDelta(t, beside[i], baked[i], 3, "pixel %d: the file's weights have 16 bits", i)
	}
	quantized := filepath.Join(t.TempDir(), "q8.gguf")
	require.Equal(t, ExitOK, sdgo(t, "convert", "-q", "--type", "q8_0", "-o", quantized, sd1Tiny).code)
	o = sdgo(t, "convert", "-q", "-o", out+".gguf", "--lora", adapters+"/kohya.safetensors", quantized)
	require.Equal(t, ExitFailure, o.code)
	require.Contains(t, o.errors, "take the file that it was converted from")
}
