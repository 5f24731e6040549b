package family_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/family"
	"github.com/sdgo/sdgo/convert/layout"
	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/internal/fixture"
)

// The names of a diffusers folder become canonical ones.
func TestDiffusersNames(t *testing.T) {
	f := family.InFolder(func(component string) bool { return component == "unet" || component == "text_encoder" })
	require.Equal(t, family.SD1, f.Name)
	for _, which := range []string{"sd1", "odd", "xl"} {
		byFolder := map[string][]model.Stored{}
		pairs := fixture.Pairs(t, which)
		for _, p := range pairs {
			byFolder[p.Folder] = append(byFolder[p.Folder], model.Stored{Tensor: model.Tensor{Name: p.Diffusers, Shape: p.Shape}})
		}
		rename := map[string]layout.Rename{}
		for _, p := range f.Folder.Parts {
			rename[p.Folder] = p.Names(byFolder[p.Folder])
		}
		seen := map[string]bool{}
		for _, p := range pairs {
			got, ok := rename[p.Folder](p.Diffusers)
			require.True(t, ok, p.Diffusers)
			require.Equal(t, p.LDM, got)
			require.False(t, seen[got])
			seen[got] = true
		}
		for _, stray := range []string{"conv_in", "up_blocks.9.resnets.0.norm1.weight", "nothing.weight", ""} {
			_, ok := rename["unet"](stray)
			require.False(t, ok, stray)
		}
	}
}

// And back, for the same models.
func TestDiffusersNamesInverse(t *testing.T) {
	sd1 := &family.StableDiffusion{Text: family.TextConfig{Prefix: model.TextPrefix},
		UNet: family.UNetConfig{ChannelMult: []int{1, 2, 4, 4}, NumResBlocks: 2, TransformerDepth: []int{1, 1, 1, 0}},
		VAE:  family.VAEConfig{ChannelMult: []int{1, 2, 4, 4}, NumResBlocks: 2}}
	xl := &family.StableDiffusion{Name: family.SDXL, UNet: family.UNetConfig{ChannelMult: []int{1, 2, 4}, NumResBlocks: 2, TransformerDepth: []int{0, 2, 3}}, VAE: sd1.VAE}
	for which, c := range map[string]*family.StableDiffusion{"sd1": sd1, "xl": xl, "odd": fixture.Odd()} {
		diffusersName := c.DiffusersNames()
		for _, p := range fixture.Pairs(t, which) {
			folder, name, ok := diffusersName(p.LDM)
			require.True(t, ok, p.LDM)
			require.Equal(t, p.Folder, folder)
			require.Equal(t, p.Diffusers, name)
		}
	}
	_, _, ok := sd1.DiffusersNames()("something.else")
	require.False(t, ok)
}

// Each original tensor of published models knows the pieces that the diffusers
// library has of it: fused.tsv.gz lists them.
func TestPieces(t *testing.T) {
	pieces := map[string]map[string]string{} // by model: the library's names, and the original tensor's
	for _, f := range fixture.Table(t, "fused.tsv.gz") {
		if pieces[f[0]] == nil {
			pieces[f[0]] = map[string]string{}
		}
		pieces[f[0]][f[2]] = f[1]
	}
	for name, originals := range pieces {
		var all []model.Stored
		for piece := range originals {
			all = append(all, model.Stored{Tensor: model.Tensor{Name: piece}})
		}
		levels, blocks, _ := layout.Stages(all, "down")
		_, _, attention := layout.Stages(all, "up")
		back := func(original string) []string { return layout.Pieces(family.SD3Layers, original) }
		switch {
		case strings.HasPrefix(name, "flux"):
			back = func(original string) []string { return layout.Pieces(family.FluxLayers, original) }
		case strings.HasPrefix(name, "controlnet"):
			back = one(t, layout.Inverse(family.ControlNetModules(levels, blocks)))
		case strings.HasPrefix(name, "unet"):
			back = one(t, layout.Inverse(layout.UNetModules(levels, blocks, attention)))
		}
		found := map[string]bool{}
		for _, original := range originals {
			for _, piece := range back(original) {
				require.Equal(t, original, originals[piece], piece)
				found[piece] = true
			}
		}
		require.Len(t, found, len(originals), name)
	}
}

func one(t *testing.T, rename layout.Rename) func(string) []string {
	return func(original string) []string {
		name, ok := rename(original)
		require.True(t, ok, original)
		return []string{name}
	}
}

// Every family has a name and a way to be recognised, and no two have one name.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range family.All() {
		require.NotEmpty(t, f.Name)
		require.False(t, seen[f.Name], f.Name)
		seen[f.Name] = true
		require.NotEmpty(t, f.Looks, f.Name)
		for _, look := range f.Looks {
			require.NotEmpty(t, look.Description, f.Name)
			require.NotEmpty(t, look.Names, f.Name)
		}
		require.True(t, !f.Runs || f.Read != nil, "%s runs, and has no Read", f.Name)
		require.True(t, !f.Strict || f.Names != nil, "%s is strict, and has no Names", f.Name)
		require.Same(t, f, family.Lookup(f.Name))
	}
}
