package family

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/model"
)

// The UNet of the x4 upscaler is read off its shapes, and a model of it is refused by name.
func TestUNetThatEnlargesByText(t *testing.T) {
	want := UNetConfig{InChannels: 7, OutChannels: 4, ModelChannels: 256, ChannelMult: []int{1, 2, 2, 4}, NumResBlocks: 2, TransformerDepth: []int{0, 1, 1, 1},
		MiddleDepth: 1, ContextDim: 1024, LinearProjection: true, Classes: 1000, CrossOnly: []bool{false, true, true, false}}
	m := &model.Model{}
	for _, w := range want.Weights() {
		m.Add(model.Tensor{Name: w.Name, Shape: w.Shape})
	}
	r := &Reader{Model: m}
	got := r.UNet()
	require.NoError(t, r.err)
	require.Equal(t, want, got)
	(&StableDiffusion{}).readUNet(r)
	require.ErrorContains(t, r.err, "a UNet that enlarges pictures by text, as the x4 upscaler, is not drawn with")
}
