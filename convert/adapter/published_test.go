package adapter

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/read"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/internal/fixture"
)

// fullTargets are the layers of models of full size, as they are published.
func fullTargets(t *testing.T) map[string]*Targets {
	t.Helper()
	published := fixture.Published(t)
	all := map[string]*Targets{}
	for _, name := range []string{"sd1", "sd2", "sdxl"} {
		m, err := read.Open(fixture.Sparse(t, filepath.Join(t.TempDir(), name+".safetensors"), published[name]))
		require.NoError(t, err)
		t.Cleanup(func() { m.Close() })
		all[name], err = NewTargets(m)
		require.NoError(t, err)
	}
	return all
}

// Files of full size in the layouts of several programs find each of their layers in
// the model that they are for, and are an error with another.
func TestPublishedFilesMatch(t *testing.T) {
	targets := fullTargets(t)
	found := 0
	for name, tensors := range fixture.Published(t) {
		if !strings.HasPrefix(name, "lora-") && !strings.HasPrefix(name, "loha-") && !strings.HasPrefix(name, "lokr-") && !strings.HasPrefix(name, "oft-") {
			continue
		}
		base, _, _ := strings.Cut(strings.SplitN(name, "-", 2)[1], "-")
		if targets[base] == nil {
			continue
		}
		found++
		f, err := Open(fixture.Sparse(t, filepath.Join(t.TempDir(), name+".safetensors"), tensors))
		require.NoError(t, err, name)
		defer f.Close()
		changes, unmatched, err := f.Match(targets[base])
		require.NoError(t, err, name)
		require.Empty(t, unmatched, name)
		require.Len(t, changes, len(f.Modules), name)
		t.Logf("%s: %d layers", name, len(changes))
		for other, to := range targets {
			if other != base {
				_, _, err := f.Match(to)
				require.ErrorContains(t, err, "the file is for Stable Diffusion", "%s with %s", name, other)
			}
		}
	}
	require.GreaterOrEqual(t, found, 3)
}

// Real files find each of their layers, too.
func TestRealFilesMatch(t *testing.T) {
	if fixture.Real(t, "README.md") == "" {
		t.Skip("the published files are not there")
	}
	targets := fullTargets(t)
	for _, c := range []struct {
		file, base, info string
		unet, text, two  int
	}{
		{"lora/analog_svd_rank4.safetensors", "sd1", "Stable Diffusion 1.x", 144, 48, 0},
		{"lora/lora_pop.pt", "sd2", "", 128, 0, 0},
		{"skeletons/Alien_Style.safetensors.json", "sdxl", "Stable Diffusion XL", 722, 72, 192},
	} {
		path := fixture.Real(t, c.file)
		if strings.HasSuffix(path, ".json") {
			path = sparseSkeleton(t, path)
		}
		f, err := Open(path)
		require.NoError(t, err)
		defer f.Close()
		changes, unmatched, err := f.Match(targets[c.base])
		require.NoError(t, err, c.file)
		require.Empty(t, unmatched, c.file)
		parts := map[Part]int{}
		for _, change := range changes {
			parts[change.Part]++
		}
		t.Logf("%s: %v", c.file, parts)
		require.Equal(t, map[Part]int{UNet: c.unet, Text: c.text, Text2: c.two}, map[Part]int{UNet: parts[UNet], Text: parts[Text], Text2: parts[Text2]}, c.file)
		require.Equal(t, []string{"LoRA"}, f.Info().Kinds)
	}
	for file, shape := range map[string][2]int{"embeddings/flora.pt": {4, 1024}, "embeddings/invokeai_test_embedding.safetensors": {5, 768}} {
		e, err := OpenEmbedding(fixture.Real(t, file))
		require.NoError(t, err)
		require.Equal(t, shape, [2]int{e.Vectors[0].N, e.Vectors[0].Width}, file)
	}
	_, err := OpenEmbedding(fixture.Real(t, "embeddings/cat.pt"))
	require.ErrorContains(t, err, "must have the shape [vectors, width] or [width], got [1 77 768]")
}

// sparseSkeleton makes a file of a real one's names and shapes.
func sparseSkeleton(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	all := map[string]struct {
		Shape []int64
		DType string
	}{}
	require.NoError(t, json.Unmarshal(text, &all))
	var tensors []safetensors.Tensor
	for name, one := range all {
		word := map[string]string{"torch.float32": "F32", "torch.float16": "F16", "torch.bfloat16": "BF16"}[one.DType]
		require.NotEmpty(t, word)
		tensors = append(tensors, safetensors.Tensor{Name: name, DType: word, Shape: one.Shape})
	}
	return fixture.Sparse(t, filepath.Join(t.TempDir(), "skeleton.safetensors"), tensors)
}
