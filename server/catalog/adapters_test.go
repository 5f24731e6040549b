package catalog

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/safetensors"
)

const adapters = "../../testdata/adapters/"

// lora writes a small LoRA with metadata.
func lora(t *testing.T, path string, metadata map[string]string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	layer := "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
	require.NoError(t, safetensors.Write(f, metadata, []safetensors.Tensor{
		{Name: layer + ".lora_down.weight", DType: "F32", Shape: []int64{1, 768}, Data: make([]byte, 4*768)},
		{Name: layer + ".lora_up.weight", DType: "F32", Shape: []int64{8, 1}, Data: make([]byte, 4*8)},
		{Name: layer + ".alpha", DType: "F32", Shape: nil, Data: make([]byte, 4)},
	}))
}

func TestAdaptersAreFound(t *testing.T) {
	dir := t.TempDir()
	huge := strings.Repeat("x", maxMetadata)
	lora(t, dir+"/style.safetensors", map[string]string{"ss_output_name": "Watercolour", "ss_tag_frequency": `{"a": {"lake": 3, "boat": 7}}`, "ss_notes": huge})
	lora(t, dir+"/Style-two.safetensors", map[string]string{"ss_output_name": "style"})
	lora(t, dir+"/x/ink.safetensors", nil)
	lora(t, dir+"/y/ink.safetensors", map[string]string{"ss_output_name": "Pen"})
	lora(t, dir+"/case/PEN.safetensors", nil)
	copyTo(t, adapters+"words-a1111.pt", dir+"/shiny.pt")
	copyTo(t, adapters+"words-diffusers.bin", dir+"/dull.bin")
	copyTo(t, adapters+"words-xl.safetensors", dir+"/large.safetensors")
	copyTo(t, nets+"sd1.safetensors", dir+"/sd1.safetensors")
	require.NoError(t, os.WriteFile(dir+"/none.bin", []byte("no model"), 0o644))
	c, err := New(Config{Folder: dir})
	require.NoError(t, err)
	require.Equal(t, []string{"Style-two", "PEN", "style", "x/ink", "y/ink"}, names(c.Entries(LoRA)))
	require.Equal(t, []string{"dull", "large", "shiny"}, names(c.Entries(Embedding)))
	require.Equal(t, []string{"none"}, names(c.Entries(Other)))

	for name, want := range map[string]string{"style": "style", "Watercolour": "style", "watercolour": "style", "STYLE": "style", "style-two": "Style-two", "x/ink": "x/ink", "style.safetensors": "style",
		"Pen": "y/ink", "PEN": "PEN", "pen": "PEN"} {
		e, err := c.LookupAdapter(name)
		require.NoError(t, err, name)
		require.Equal(t, want, e.Name, name)
	}
	for name, want := range map[string]string{"ink": "x/ink, y/ink", "sty": "not found", "": "not found", "../style": "not found", dir + "/style.safetensors": "not found", "shiny": "not found"} {
		_, err := c.LookupAdapter(name)
		require.ErrorContains(t, err, want, name)
		require.NotContains(t, strings.TrimPrefix(err.Error(), "LoRA \""+dir), dir)
	}
	e, err := c.LookupAdapter("style")
	require.NoError(t, err)
	require.Equal(t, "LoRA, rank 1, for Stable Diffusion 1.x", e.Description)
	require.Equal(t, []string{"boat", "lake"}, e.Adapter.Triggers)
	require.NotContains(t, e.Adapter.Metadata, "ss_notes", "it is too long to keep")
	require.Equal(t, map[string]any{"boat": 7.0, "lake": 3.0}, e.Adapter.Values()["ss_tag_frequency"].(map[string]any)["a"])
	require.Equal(t, "Watercolour", e.Adapter.Values()["ss_output_name"])
	require.False(t, e.Kind.Opens())

	model := c.Entries(Checkpoint)[0]
	require.Equal(t, [2]int{64, 0}, model.TextWidths)
	for _, w := range c.Entries(Embedding) {
		require.True(t, w.Word.Fits(model), w.Name)
		require.False(t, w.Word.Fits(Entry{TextWidths: [2]int{768, 0}}), w.Name)
		require.False(t, w.Word.Fits(Entry{}), w.Name)
		require.Equal(t, w.Name == "large", w.Word.Fits(Entry{TextWidths: [2]int{64, w.Word.Widths[len(w.Word.Widths)-1]}}) && len(w.Word.Widths) == 2, w.Name)
	}
	// Scanning again opens nothing, and finds the same.
	before := c.Entries()
	require.NoError(t, c.Scan())
	require.Equal(t, before, c.Entries())
}
