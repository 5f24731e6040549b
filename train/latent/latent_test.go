package latent

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What cannot be trained is refused by name.
func TestOpenRefuses(t *testing.T) {
	_, err := Open("../../testdata/xl/refiner.safetensors", Device{})
	require.ErrorContains(t, err, "Stable Diffusion 1.x, 2.x and XL can be trained, not refiners")
	_, err = Open("../../testdata/pixel/edm2.safetensors", Device{})
	require.Error(t, err)
	m, err := Open("../../testdata/nets/sd1.safetensors", Device{Segments: 2})
	require.NoError(t, err)
	require.Equal(t, 64, m.Multiple()*m.Size()/m.Size())
	require.NotEmpty(t, m.Hash())
	require.NoError(t, m.Close())
}
