package convert

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/internal/fixture"
)

// Published networks with fewer blocks than their family's, in single files of full size:
// each is read with the depths that it was written with, and has its name.
func TestPruned(t *testing.T) {
	xl := UNetConfig{InChannels: 4, OutChannels: 4, ModelChannels: 320, ChannelMult: []int{1, 2, 4}, NumResBlocks: 2, ContextDim: 2048, ADMChannels: 2816,
		HeadDim: 64, LinearProjection: true}
	sd := UNetConfig{InChannels: 4, OutChannels: 4, ModelChannels: 320, ChannelMult: []int{1, 2, 4, 4}, NumResBlocks: 1, TransformerDepth: []int{1, 1, 1, 0},
		ContextDim: 768, Heads: 8}
	of := func(c UNetConfig, edit func(c *UNetConfig)) UNetConfig {
		edit(&c)
		return c
	}
	all := fixture.Published(t)
	for what, want := range map[string]UNetConfig{
		"Stable Diffusion XL (SSD-1B)": of(xl, func(c *UNetConfig) {
			c.TransformerDepth, c.MiddleDepth = []int{0, 2, 10}, -1
			c.InputDepth, c.OutputDepth = []int{0, 0, 2, 2, 4, 4}, []int{4, 4, 10, 2, 1, 1, 0, 0, 0}
		}),
		"Stable Diffusion XL (Segmind Vega)":              of(xl, func(c *UNetConfig) { c.TransformerDepth, c.MiddleDepth = []int{0, 1, 2}, -1 }),
		"Stable Diffusion XL (KOALA-700M)":                of(xl, func(c *UNetConfig) { c.NumResBlocks, c.TransformerDepth, c.MiddleDepth = 1, []int{0, 2, 5}, -2 }),
		"Stable Diffusion XL (KOALA-1B)":                  of(xl, func(c *UNetConfig) { c.NumResBlocks, c.TransformerDepth, c.MiddleDepth = 1, []int{0, 2, 6}, 6 }),
		"Stable Diffusion XL":                             of(xl, func(c *UNetConfig) { c.TransformerDepth, c.MiddleDepth, c.GuidanceDim = []int{0, 2, 10}, 10, 256 }),
		"Stable Diffusion 1.x (BK-SDM-Base)":              of(sd, func(c *UNetConfig) { c.MiddleDepth = 1 }),
		"Stable Diffusion 1.x (BK-SDM-Small or small-sd)": of(sd, func(c *UNetConfig) { c.MiddleDepth = -2 }),
		"Stable Diffusion 1.x (BK-SDM-Tiny or tiny-sd)": of(sd, func(c *UNetConfig) {
			c.ChannelMult, c.TransformerDepth, c.MiddleDepth = []int{1, 2, 4}, []int{1, 1, 1}, -2
		}),
	} {
		family := "sd1"
		if strings.HasPrefix(what, "Stable Diffusion XL") {
			family = "sdxl"
		}
		whole := slices.DeleteFunc(slices.Clone(all[family]), func(x safetensors.Tensor) bool { return strings.HasPrefix(x.Name, model.UNetPrefix) })
		var alone []safetensors.Tensor
		for _, w := range want.Weights() {
			x := safetensors.Tensor{Name: w.Name, DType: "F16", Shape: w.Shape}
			whole = append(whole, x)
			x.Name = strings.TrimPrefix(x.Name, model.UNetPrefix)
			alone = append(alone, x)
		}
		m, err := Load(fixture.Sparse(t, filepath.Join(t.TempDir(), "whole"), whole))
		require.NoError(t, err, what)
		require.Equal(t, what, m.Description)
		require.Equal(t, want, m.Config.(*StableDiffusion).UNet)
		require.NoError(t, m.Close())
		m, err = Load(fixture.Sparse(t, filepath.Join(t.TempDir(), "alone"), alone))
		require.NoError(t, err, what)
		require.Equal(t, "a UNet of latent diffusion ("+strings.ReplaceAll(strings.Replace(what, " (", ", ", 1), ")", "")+")", m.Description)
		require.NoError(t, m.Close())
	}
}
