package stablediffusion

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert"
)

// Only the published autoencoder has the published factors.
func TestKnownLatentRGB(t *testing.T) {
	v := convert.VAEConfig{Channels: 128, ChannelMult: []int{1, 2, 4, 4}, EmbedDim: 4, ScaleFactor: 0.18215}
	require.Equal(t, &latentRGB, knownLatentRGB(v))
	v.ScaleFactor /= 2
	require.Nil(t, knownLatentRGB(v))
	require.Nil(t, knownLatentRGB(convert.VAEConfig{Channels: 32, ChannelMult: []int{1, 2}, EmbedDim: 4, ScaleFactor: 0.18215}))
}
