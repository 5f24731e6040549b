package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A converted model draws: the same picture where the type is the same.
func TestConvertedModelsDraw(t *testing.T) {
	model, folder := tinyModel(t), t.TempDir()
	draw := func(model string) string {
		o := sdgo(t, with("txt2img", "-q", "-m", model, "-p", "a fox", "-o", "-")...)
		require.Equal(t, ExitOK, o.code, o.errors)
		return o.out
	}
	pixels := func(file string) string { return file[strings.Index(file, "IDAT"):] }
	want := pixels(draw(model))
	for _, name := range []string{"f16.gguf", "f16.safetensors"} {
		path := filepath.Join(folder, name)
		o := sdgo(t, "convert", model, "-o", path, "--type", "f16")
		require.Equal(t, ExitOK, o.code, o.errors)
		require.Contains(t, o.errors, name+": f16, ")
		require.Equal(t, want, pixels(draw(path)), name)
	}
	for _, typ := range []string{"f32", "bf16", "q8_0", "q4_0"} {
		path := filepath.Join(folder, typ+".gguf")
		o := sdgo(t, "convert", "-q", model, "--type="+typ, "-o", path)
		require.Equal(t, outcome{code: ExitOK}, o)
		require.NotEmpty(t, draw(path))
		info := sdgo(t, "info", "--tensors", path)
		require.Contains(t, info.out, "Stable Diffusion 1")
		require.Contains(t, info.out, typ)
	}
}

func TestConvertKeepsWhatIsThere(t *testing.T) {
	model, folder := tinyModel(t), t.TempDir()
	out := filepath.Join(folder, "out.gguf")
	require.NoError(t, os.WriteFile(out, []byte("precious"), 0o666))
	sdgo(t, "convert", model, "-o", out).requireError(t, ExitFailure, out, "--force")
	sdgo(t, "convert", model, "-o", model, "--force").requireError(t, ExitFailure, "over itself")
	after, err := os.ReadFile(model)
	require.NoError(t, err)
	require.True(t, bytes.Equal(tinyFile(), after))
	require.Equal(t, ExitOK, sdgo(t, "convert", model, "-o", out, "--force").code)
	require.Equal(t, ExitOK, sdgo(t, "info", out).code)
	requireFiles(t, folder, "out.gguf")
}

func TestConvertReports(t *testing.T) {
	model, folder := tinyModel(t), t.TempDir()
	out := filepath.Join(folder, "out.gguf")
	o := sdgo(t, "convert", model, "-o", out, "--type", "q8_0", "--tensor-type", `vae\..{1,99}=f32`, "--dry-run")
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Contains(t, o.out, "in all")
	require.Regexp(t, `model\.diffusion_model\.input_blocks\.0\.0\.weight +32x4x3x3 +f16 +f16 +2\.3 kB`, o.out)
	requireFiles(t, folder)

	o = sdgo(t, "convert", model, "-o", out, "--type", "q8_0", "--verify", "--json")
	require.Equal(t, ExitOK, o.code, o.errors)
	lines := strings.Split(strings.TrimSpace(o.out), "\n")
	var e convertedEvent
	require.NoError(t, json.Unmarshal([]byte(lines[len(lines)-1]), &e))
	require.Equal(t, "converted", e.Event)
	require.Equal(t, len(tinyTensors()), len(e.Tensors))
	require.Greater(t, e.Tensors[0].Relative, 0.0)
	require.Less(t, e.Tensors[0].Relative, 0.02)
	info, err := os.Stat(out)
	require.NoError(t, err)
	require.Equal(t, info.Size(), e.Bytes)
	for _, line := range lines[:len(lines)-1] {
		var p bytesEvent
		require.NoError(t, json.Unmarshal([]byte(line), &p))
		require.Equal(t, "convert", p.Event)
		require.LessOrEqual(t, p.Done, p.Of)
	}
}

func TestInterruptedConversion(t *testing.T) {
	model, folder := tinyModel(t), t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	o := sdgoContext(t, ctx, "convert", "-q", model, "-o", filepath.Join(folder, "out.gguf"))
	o.requireError(t, ExitInterrupted, "interrupted")
	requireFiles(t, folder)
}

func TestInfoOfAModel(t *testing.T) {
	model := tinyModel(t)
	o := sdgo(t, "info", model)
	require.Equal(t, ExitOK, o.code, o.errors)
	for _, s := range []string{"safetensors", "Stable Diffusion 1", "epsilon", "512x512", "2 layers of width 64", "32 channels x [1 2]", "UNet", "VAE decoder", "f16"} {
		require.Contains(t, o.out, s)
	}
	require.NotContains(t, o.out, "time_embed")
	require.Contains(t, sdgo(t, "info", model, "--tensors").out, "model.diffusion_model.time_embed.0.weight")

	var m jsonModel
	require.NoError(t, json.Unmarshal([]byte(sdgo(t, "info", "--json", "--tensors", model).out), &m))
	require.Equal(t, "model", m.Kind)
	require.Equal(t, "safetensors", m.Format)
	require.Equal(t, 64, m.UNet.ContextDim)
	require.Len(t, m.Tensors, len(tinyTensors()))
	var bytes int64
	for _, p := range m.Parts {
		bytes += p.Bytes
	}
	require.InDelta(t, len(tinyFile()), bytes, 100_000)
}
