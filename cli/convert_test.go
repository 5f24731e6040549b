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

	"github.com/sdgo/sdgo/convert"

	"github.com/sdgo/sdgo/cli/report"
	"github.com/sdgo/sdgo/convert/safetensors"
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
	require.Regexp(t, `model\.diffusion_model\.input_blocks\.0\.0\.weight +32x4x3x3 +f16 +f16 +2\.30 kB`, o.out)
	requireFiles(t, folder)

	o = sdgo(t, "convert", model, "-o", out, "--type", "q8_0", "--verify", "--json")
	require.Equal(t, ExitOK, o.code, o.errors)
	lines := strings.Split(strings.TrimSpace(o.out), "\n")
	var e converted
	requireEvent(t, lines[len(lines)-1], "converted", &e)
	require.Equal(t, len(tinyTensors()), len(e.Tensors))
	require.Greater(t, e.Tensors[0].Relative, 0.0)
	require.Less(t, e.Tensors[0].Relative, 0.02)
	info, err := os.Stat(out)
	require.NoError(t, err)
	require.Equal(t, info.Size(), e.Bytes)
	for _, line := range lines[:len(lines)-1] {
		var p report.BytesDone
		requireEvent(t, line, "convert", &p)
		require.LessOrEqual(t, p.Done, p.Of)
	}
}

// FLUX.1 of its four parts, and what info says of each and of the whole.
func TestConvertParts(t *testing.T) {
	folder := t.TempDir()
	part := func(name string, tensors ...string) string {
		var all []safetensors.Tensor
		for _, x := range tensors {
			all = append(all, safetensors.Tensor{Name: x, DType: "BF16", Shape: []int64{64, 256}, Data: make([]byte, 2*64*256)})
		}
		path := filepath.Join(folder, name)
		f, err := os.Create(path)
		require.NoError(t, err)
		require.NoError(t, safetensors.Write(f, map[string]string{"modelspec.title": "F", "modelspec.license": "L"}, all))
		require.NoError(t, f.Close())
		return path
	}
	flux := part("flux", "double_blocks.0.img_attn.qkv.weight", "img_in.weight", "guidance_in.in_layer.weight")
	clip := part("clip", "text_model.encoder.layers.0.self_attn.q_proj.weight")
	t5 := part("t5", "encoder.block.0.layer.0.SelfAttention.q.weight")
	vae := part("vae", "decoder.up.0.block.0.conv1.weight")
	out := filepath.Join(folder, "out.gguf")
	o := sdgo(t, "convert", "-q", "--type", "q4_K", "--tensor-type", "t5=q8_0", "--unet", flux, "--clip-l", clip, "--t5xxl", t5, "--vae", vae, "-o", out)
	require.Equal(t, outcome{code: ExitOK}, o)
	o = sdgo(t, "info", "--tensors", out)
	require.Equal(t, ExitOK, o.code, o.errors)
	for _, line := range []string{`model +FLUX\.1 \(dev: guidance is an input\)`, `double blocks +1`, `T5 text encoder +1 `, `transformer +3 `,
		`text_encoders\.t5xxl\.transformer\.encoder\.block\.0\.layer\.0\.SelfAttention\.q\.weight +q8_0 +64x256`,
		`text_encoders\.clip_l\.transformer\.text_model\.encoder\.layers\.0\.self_attn\.q_proj\.weight +q4_K`,
		`model\.diffusion_model\.img_in\.weight +bf16`, `first_stage_model\.decoder\.up\.0\.block\.0\.conv1\.weight +bf16`} {
		require.Regexp(t, line, o.out)
	}
	require.Contains(t, sdgo(t, "info", t5).out, "a T5 text encoder")
	var m jsonModel
	require.NoError(t, json.Unmarshal([]byte(sdgo(t, "info", "--json", out).out), &m))
	require.Equal(t, map[string]int{"width": 64, "in_channels": 256, "double_blocks": 1, "guidance": 1}, m.Facts)
	require.Equal(t, 4, strings.Count(m.Metadata["sdgo.source.sha256"], "  "))
	sdgo(t, "convert", "--unet", flux, "--clip-g", clip, "-o", out, "--force").requireError(t, ExitFailure, "no such component")
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
	var networks struct{ UNet convert.UNetConfig }
	require.NoError(t, json.Unmarshal([]byte(sdgo(t, "info", "--json", model).out), &networks))
	require.Equal(t, 64, networks.UNet.ContextDim)
	require.Len(t, m.Tensors, len(tinyTensors()))
	var bytes int64
	for _, p := range m.Parts {
		bytes += p.Bytes
	}
	require.InDelta(t, len(tinyFile()), bytes, 100_000)
}
