package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/train"
)

// trainingSet is a folder of two classes, red and blue pictures of 8x8 pixels.
func trainingSet(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	for name, c := range map[string]color.NRGBA{"red": {220, 20, 20, 255}, "blue": {20, 20, 220, 255}} {
		for i := range 6 {
			img := image.NewNRGBA(image.Rect(0, 0, 8, 8))
			for p := range 64 {
				c.G = uint8(20 * i)
				img.SetNRGBA(p%8, p/8, c)
			}
			path := filepath.Join(folder, name, fmt.Sprintf("%d.png", i))
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
			var b bytes.Buffer
			require.NoError(t, png.Encode(&b, img))
			require.NoError(t, os.WriteFile(path, b.Bytes(), 0o666))
		}
	}
	return folder
}

// tinyTraining are the arguments of a training of some seconds.
func tinyTraining(kind, set, folder string, more ...string) []string {
	return append([]string{"train", kind, set, "-o", folder, "--size", "8", "--channels", "8,16", "--attention", "1", "--batch", "4", "--steps", "10", "--save-every", "4",
		"--schedule", "constant", "--type", "f32"}, more...)
}

func stateOf(t *testing.T, folder string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(folder, "state.safetensors"))
	require.NoError(t, err)
	return b
}

func TestTrainUNet(t *testing.T) {
	set, folder := trainingSet(t), filepath.Join(t.TempDir(), "run")
	o := sdgo(t, tinyTraining("unet", set, folder, "--sample-every", "5", "--samples", "3", "--flip")...)
	require.Equal(t, ExitOK, o.code, o.errors)
	model := filepath.Join(folder, "model.safetensors")
	require.Equal(t, model+"\n", o.out)
	require.Contains(t, o.errors, "step 10/10  loss ")
	require.Contains(t, o.errors, "MB of memory")
	requireFiles(t, folder, "events.jsonl", "loss.csv", "loss.png", "loss.svg", "model.safetensors", "samples", "state.safetensors")
	require.Equal(t, image.Pt(16, 16), pictureSize(t, filepath.Join(folder, "samples", "0000010.png")))
	require.FileExists(t, filepath.Join(folder, "samples", "0000005.png"))

	drawn := filepath.Join(t.TempDir(), "out.png")
	o = sdgo(t, "sample", "-m", model, "--class", "red", "--steps", "2", "-o", drawn)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Equal(t, image.Pt(8, 8), pictureSize(t, drawn))

	// A longer training of a constant rate continues.
	o = sdgo(t, tinyTraining("unet", set, folder, "--sample-every", "0", "--flip", "--resume", "--steps", "12", "--warmup", "0")...)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Contains(t, o.errors, "step 12/12")
	o = sdgo(t, tinyTraining("unet", set, folder, "--flip", "--resume", "--steps", "12", "--class-drop", "0.2", "--rate", "0.1")...)
	o.requireError(t, ExitFailure, "the training began with other settings", `class-drop was "0.1" and is "0.2"`, "rate was")
}

// Events are JSON lines, in standard output as in the folder.
func TestTrainEvents(t *testing.T) {
	set, folder := trainingSet(t), filepath.Join(t.TempDir(), "run")
	o := sdgo(t, tinyTraining("classifier", set, folder, "--json", "--smoothing", "0.1", "--rate", "0.01")...)
	require.Equal(t, ExitOK, o.code, o.errors)
	var names []string
	for line := range strings.Lines(o.out) {
		var e train.Event
		require.NoError(t, json.Unmarshal([]byte(line), &e), line)
		names = append(names, e.Event)
		if e.Event == "step" {
			require.NotNil(t, e.Accuracy)
			require.NotZero(t, e.Loss)
		}
	}
	want := append(slices.Repeat([]string{"step"}, 4), "save")
	want = append(append(want, want...), "step", "step", "save")
	require.Equal(t, want, names)
	file, err := os.ReadFile(filepath.Join(folder, "events.jsonl"))
	require.NoError(t, err)
	require.Equal(t, o.out, string(file))

	m, err := convert.Open(filepath.Join(folder, "model.safetensors"))
	require.NoError(t, err)
	defer m.Close()
	c := m.Config.(*convert.Pixel)
	require.True(t, c.Classifier)
	require.Equal(t, 2, c.Classes)
	require.Equal(t, 4, c.UNet.PoolHeads)
}

// Ctrl-C writes a checkpoint, from which the training continues to the bit; a model is
// trained further from its file.
func TestTrainResume(t *testing.T) {
	set, whole, parts := trainingSet(t), filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "parts")
	arguments := func(folder string, more ...string) []string {
		return tinyTraining("unet", set, folder, append([]string{"--optimizer", "prodigy", "--sample-every", "0", "--accumulate", "2"}, more...)...)
	}
	require.Equal(t, ExitOK, sdgo(t, arguments(whole)...).code)
	ctx, cancel := context.WithCancel(context.Background())
	o := outcome{}
	stop := &stopAfter{lines: 6, cancel: cancel}
	var errs bytes.Buffer
	o.code = Run(ctx, arguments(parts, "--json"), strings.NewReader(""), stop, &errs)
	require.Equal(t, ExitInterrupted, o.code, errs.String())
	require.Contains(t, errs.String(), "--resume continues from there")
	require.NotEqual(t, stateOf(t, whole), stateOf(t, parts))
	o = sdgo(t, arguments(parts, "--resume", "--threads", "1")...)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.True(t, bytes.Equal(stateOf(t, whole), stateOf(t, parts)))

	further := filepath.Join(t.TempDir(), "further")
	o = sdgo(t, "train", "unet", set, "-o", further, "-m", filepath.Join(whole, "model.safetensors"), "--steps", "2", "--batch", "2", "--sample-every", "0")
	require.Equal(t, ExitOK, o.code, o.errors)
}

// stopAfter cancels a training after some lines of events.
type stopAfter struct {
	lines  int
	cancel func()
}

func (s *stopAfter) Write(b []byte) (int, error) {
	if s.lines -= bytes.Count(b, []byte("\n")); s.lines <= 0 {
		s.cancel()
	}
	return len(b), nil
}

func TestTrainRefuses(t *testing.T) {
	set, folder := trainingSet(t), filepath.Join(t.TempDir(), "run")
	for _, c := range []struct {
		code  int
		words string
		args  []string
	}{
		{ExitUsage, "train: what to train must be one of unet, classifier, lora, adapter, embedding", []string{"train"}},
		{ExitUsage, "must be one of unet, classifier, lora, adapter, embedding", []string{"train", "x"}},
		{ExitUsage, "a folder or list of pictures is missing", []string{"train", "unet"}},
		{ExitUsage, "--optimizer: must be adamw or prodigy", tinyTraining("unet", set, folder, "--optimizer", "sgd")},
		{ExitUsage, "--batch: must be 1 to 16384, got 0", tinyTraining("unet", set, folder, "--batch", "0")},
		{ExitUsage, "--seed: must be a whole number", tinyTraining("unet", set, folder, "--seed", "-1")},
		{ExitUsage, "--type: ", tinyTraining("unet", set, folder, "--type", "f99")},
		{ExitUsage, "--background: ", tinyTraining("unet", set, folder, "--background", "black")},
		{ExitUsage, "--weight-decay: ", tinyTraining("unet", set, folder, "--weight-decay", "2")},
		{ExitUsage, "--samples: must be 1 to 256, got 0", tinyTraining("unet", set, folder, "--samples", "0")},
		{ExitUsage, "--channels: must be whole numbers", tinyTraining("unet", set, folder, "--channels", "8,x")},
		{ExitUsage, "divide by 8 groups", tinyTraining("unet", set, folder, "--channels", "12")},
		{ExitUsage, "learning rate must be above 0", tinyTraining("unet", set, folder, "--rate", "0")},
		{ExitUsage, "schedule must be", tinyTraining("unet", set, folder, "--schedule", "x")},
		{ExitUsage, "noise offset must be 0 to 1", tinyTraining("unet", set, folder, "--noise-offset", "2")},
		{ExitUsage, "--min-snr: is for a ddpm", tinyTraining("unet", set, folder, "--process", "edm", "--min-snr", "5")},
		{ExitUsage, "--size: the model has its own", tinyTraining("unet", set, folder, "-m", "x.safetensors")},
		{ExitFailure, "no such file", tinyTraining("unet", filepath.Join(set, "none"), folder)},
		{ExitFailure, "has no checkpoint to resume from", tinyTraining("unet", set, folder, "--resume")},
		{ExitFailure, "only UNets and classifiers", []string{"train", "unet", set, "-o", folder, "-m", "../testdata/pixel/dit.safetensors"}},
	} {
		o := sdgo(t, c.args...)
		o.requireError(t, c.code, c.words)
		require.Empty(t, o.out)
	}
	require.NoFileExists(t, filepath.Join(folder, "state.safetensors"))
}

// A word is trained, drawn with, and used by a prompt.
func TestTrainEmbedding(t *testing.T) {
	set, folder, model := trainingSet(t), filepath.Join(t.TempDir(), "run"), tinyModel(t)
	pictures := filepath.Join(set, "red")
	arguments := []string{"train", "embedding", pictures, "-m", model, "--word", "my-toy", "--init", "red", "--vectors", "2", "--size", "64", "-o", folder, "--steps", "4", "--save-every", "2",
		"--schedule", "constant", "--sample-every", "4", "--samples", "2"}
	o := sdgo(t, arguments...)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Equal(t, filepath.Join(folder, "my-toy.safetensors")+"\n", o.out)
	require.Contains(t, o.errors, "encoded 6/6")
	require.Equal(t, image.Pt(128, 64), pictureSize(t, filepath.Join(folder, "samples", "0000004.png")))
	drawn := filepath.Join(t.TempDir(), "out.png")
	o = sdgo(t, "txt2img", "-m", model, "--embedding-dir", folder, "-p", "my-toy", "-W", "64", "-H", "64", "--steps", "1", "--json", "-o", drawn)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Contains(t, o.out, "my-toy")

	for words, args := range map[string][]string{
		"train embedding needs --word": {"train", "embedding", pictures, "-m", model},
		"--size: ":                     append(slices.Clone(arguments), "--size", "65"),
		"the word must be":             append(slices.Clone(arguments), "--word", "a b"),
		"must have {} for the word":    append(slices.Clone(arguments), "--template", "a photo"),
		"--rate: ":                     append(slices.Clone(arguments), "--rate", "x"),
	} {
		require.NotEqual(t, ExitOK, sdgo(t, args...).code)
		require.Contains(t, sdgo(t, args...).errors, words)
	}
	sdgo(t, append([]string{"train", "embedding", set}, arguments[3:]...)...).requireError(t, ExitFailure, "must be one folder")
}

// A LoRA is trained, drawn with, and fits its model.
func TestTrainLoRA(t *testing.T) {
	set, folder, model := trainingSet(t), filepath.Join(t.TempDir(), "run"), tinyModel(t)
	arguments := []string{"train", "lora", filepath.Join(set, "red"), "-m", model, "--caption", "a red square", "--size", "64", "-o", folder, "--steps", "4", "--save-every", "2", "--rank", "2",
		"--sample-every", "4", "--samples", "2", "--flip"}
	o := sdgo(t, arguments...)
	require.Equal(t, ExitOK, o.code, o.errors)
	file := filepath.Join(folder, "lora.safetensors")
	require.Equal(t, file+"\n", o.out)
	require.Equal(t, image.Pt(128, 64), pictureSize(t, filepath.Join(folder, "samples", "0000004.png")))
	o = sdgo(t, "info", file, "-m", model, "--json")
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Regexp(t, `"fits": ?true`, o.out)
	drawn := filepath.Join(t.TempDir(), "out.png")
	o = sdgo(t, "txt2img", "-m", model, "--lora", file, "-p", "a red square", "-W", "64", "-H", "64", "--steps", "1", "-o", drawn)
	require.Equal(t, ExitOK, o.code, o.errors)

	// So it is with Stable Diffusion XL, whose text encoders are changed, too.
	xl, both := "../testdata/xl/base.safetensors", folder+"-xl"
	o = sdgo(t, append(slices.Clone(arguments), "-m", xl, "--text-encoder", "-o", both)...)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Equal(t, image.Pt(128, 64), pictureSize(t, filepath.Join(both, "samples", "0000004.png")))
	data, err := os.ReadFile(filepath.Join(both, "lora.safetensors"))
	require.NoError(t, err)
	for _, name := range []string{"lora_unet_", "lora_te1_text_model_", "lora_te2_text_model_"} {
		require.Contains(t, string(data[:min(len(data), 1<<16)]), name)
	}
	o = sdgo(t, "info", filepath.Join(both, "lora.safetensors"), "-m", xl, "--json")
	require.Regexp(t, `"fits": ?true`, o.out)

	for words, args := range map[string][]string{
		"train lora needs --model": {"train", "lora", set},
		"--type: must be f16":      append(slices.Clone(arguments), "--type", "q8_0"),
		"the rank must be":         append(slices.Clone(arguments), "--rank", "0"),
		"layers must be":           append(slices.Clone(arguments), "--layers", "x"),
	} {
		sdgo(t, args...).requireError(t, ExitUsage, words)
	}
	sdgo(t, append(slices.Clone(arguments), "--caption", "", "-o", folder+"2")...).requireError(t, ExitFailure, "has no caption")
	sdgo(t, append([]string{"train", "lora", set}, arguments[3:]...)...).requireError(t, ExitFailure, "must be one folder")
}

// A T2I-Adapter is trained, drawn with, and is one that a control's file may be.
func TestTrainAdapter(t *testing.T) {
	set, folder, model := trainingSet(t), filepath.Join(t.TempDir(), "run"), "../testdata/nets/sd1.safetensors"
	arguments := []string{"train", "adapter", filepath.Join(set, "red"), "-m", model, "--caption", "a red square", "--size", "64", "-o", folder, "--steps", "2", "--blocks", "1",
		"--sample-every", "2", "--samples", "2"}
	o := sdgo(t, arguments...)
	require.Equal(t, ExitOK, o.code, o.errors)
	file := filepath.Join(folder, "adapter.safetensors")
	require.Equal(t, file+"\n", o.out)
	require.Equal(t, image.Pt(128, 64), pictureSize(t, filepath.Join(folder, "samples", "0000002.png")))
	drawn := filepath.Join(t.TempDir(), "out.png")
	o = sdgo(t, "txt2img", "-m", model, "--control", file, "--control-image", filepath.Join(set, "red", "1.png"), "-p", "a red square", "-W", "64", "-H", "64", "--steps", "1", "-o", drawn)
	require.Equal(t, ExitOK, o.code, o.errors)

	for words, args := range map[string][]string{
		"train adapter needs --model":    {"train", "adapter", set},
		"--type: must be f16":            append(slices.Clone(arguments), "--type", "q8_0"),
		"--preprocess: ":                 append(slices.Clone(arguments), "--preprocess", "x"),
		"blocks of each feature must be": append(slices.Clone(arguments), "--blocks", "0"),
		"are not mirrored":               append(slices.Clone(arguments), "--flip"),
	} {
		sdgo(t, args...).requireError(t, ExitUsage, words)
	}
	sdgo(t, append(slices.Clone(arguments), "-m", tinyModel(t), "-o", folder+"2")...).requireError(t, ExitFailure, "latents of 1/8 of the picture's sides, the model's are 1/2")
}
