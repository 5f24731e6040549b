// Command names prints, as JSON, the weights that package convert expects in models of
// several shapes; names.py compares them with the diffusers library's.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/sdgo/sdgo/convert"
)

type weights map[string][]int64

// model has the fields from which names.py builds a diffusers model.
type model struct {
	Text    convert.TextConfig
	UNet    convert.UNetConfig
	VAE     convert.VAEConfig
	Weights weights
}

func main() {
	vae := convert.VAEConfig{ImageChannels: 3, Channels: 128, ChannelMult: []int{1, 2, 4, 4}, NumResBlocks: 2, ZChannels: 4, EmbedDim: 4,
		QuantConv: true, HasEncoder: true}
	cases := map[string]model{
		"sd1": {
			Text: convert.TextConfig{Prefix: convert.TextPrefix, Vocabulary: 49408, ContextLength: 77, Width: 768, FFN: 3072, Layers: 12},
			UNet: convert.UNetConfig{InChannels: 4, OutChannels: 4, ModelChannels: 320, ChannelMult: []int{1, 2, 4, 4}, NumResBlocks: 2,
				TransformerDepth: []int{1, 1, 1, 0}, MiddleDepth: 1, ContextDim: 768, Heads: 8},
			VAE: vae,
		},
		"sd2": {
			Text: convert.TextConfig{Prefix: convert.TextPrefix, Vocabulary: 49408, ContextLength: 77, Width: 1024, FFN: 4096, Layers: 23},
			UNet: convert.UNetConfig{InChannels: 4, OutChannels: 4, ModelChannels: 320, ChannelMult: []int{1, 2, 4, 4}, NumResBlocks: 2,
				TransformerDepth: []int{1, 1, 1, 0}, MiddleDepth: 1, ContextDim: 1024, HeadDim: 64, LinearProjection: true},
			VAE: vae,
		},
		"xl": {
			UNet: convert.UNetConfig{InChannels: 4, OutChannels: 4, ModelChannels: 64, ChannelMult: []int{1, 2, 4}, NumResBlocks: 2,
				TransformerDepth: []int{0, 2, 3}, MiddleDepth: 3, ContextDim: 96, ADMChannels: 100, HeadDim: 32, LinearProjection: true},
		},
		"odd": {
			Text: convert.TextConfig{Prefix: convert.TextPrefix, Vocabulary: 300, ContextLength: 20, Width: 64, FFN: 96, Layers: 1},
			UNet: convert.UNetConfig{InChannels: 4, OutChannels: 4, ModelChannels: 64, ChannelMult: []int{1, 2, 3}, NumResBlocks: 1,
				TransformerDepth: []int{0, 2, 1}, MiddleDepth: 1, ContextDim: 64, HeadDim: 32, LinearProjection: true},
			VAE: convert.VAEConfig{ImageChannels: 3, Channels: 32, ChannelMult: []int{1, 2, 2}, NumResBlocks: 1, ZChannels: 4, EmbedDim: 4,
				QuantConv: true, HasEncoder: true},
		},
	}
	for name, c := range cases {
		c.Weights = weights{}
		all := append(c.Text.Weights(), c.UNet.Weights()...)
		if c.VAE.Channels > 0 {
			all = append(all, c.VAE.Weights()...)
		}
		for _, w := range all {
			c.Weights[w.Name] = w.Shape
		}
		cases[name] = c
	}
	if err := json.NewEncoder(os.Stdout).Encode(cases); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
