package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/safetensors"
)

// Tensors beside a model's networks are named in one line, by every command that leaves
// them out.
func TestStrayTensorsAreNamed(t *testing.T) {
	extra := func(name string) safetensors.Tensor {
		return safetensors.Tensor{Name: name, DType: "F16", Shape: []int64{1, 4}, Data: make([]byte, 8)}
	}
	var b bytes.Buffer
	require.NoError(t, safetensors.Write(&b, nil, slices.Concat(tinyTensors(), []safetensors.Tensor{extra("lora_unet_x.lora_up.weight"), extra("emb_params")})))
	dir := t.TempDir()
	path := filepath.Join(dir, "stray.safetensors")
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o666))
	const want = `2 tensors belong to no network of the model and are ignored: "emb_params", "lora_unet_x.lora_up.weight"`
	warning := "sdgo: warning: stray: " + want + "\n"

	draw := []string{"txt2img", "-q", "-m", path, "-p", "a cat", "--steps", "1", "-W", "64", "-H", "64"}
	o := sdgo(t, append(draw, "-o", filepath.Join(dir, "a.png"))...)
	require.Zero(t, o.code, o.errors)
	require.Equal(t, warning, o.errors)
	o = sdgo(t, append(draw, "-o", filepath.Join(dir, "b.png"), "--json")...)
	require.Zero(t, o.code, o.errors)
	require.Contains(t, o.out, `belong to no network of the model and are ignored: \"emb_params\", \"lora_unet_x.lora_up.weight\""`)
	o = sdgo(t, "convert", "-q", "-o", filepath.Join(dir, "c.gguf"), path)
	require.Zero(t, o.code, o.errors)
	require.Contains(t, o.errors, "sdgo: warning: "+want+"\n")
	o = sdgo(t, "info", path)
	require.Zero(t, o.code, o.errors)
	require.Contains(t, o.out, want)
	o = sdgo(t, "info", "--json", path)
	require.Contains(t, o.out, `"warnings": [`)

	o = sdgo(t, append([]string{"txt2img", "-q", "-m", filepath.Join(dir, "c.gguf")}, append(draw[4:], "-o", filepath.Join(dir, "d.png"))...)...)
	require.Zero(t, o.code, o.errors)
	require.Empty(t, o.errors, "what was left out is gone")
}
