package sampler

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestProcesses(t *testing.T) {
	for _, p := range Processes() {
		require.NotEmpty(t, p.Description)
		for _, name := range p.names() {
			found, err := LookupProcess(name)
			require.NoError(t, err)
			require.Equal(t, p.Name, found.Name)
		}
		process := p.New()
		levels, err := process.Times(9)
		require.NoError(t, err)
		require.Len(t, levels, 9)
		require.Zero(t, levels[0], "the clean sample")
		for i := 1; i < len(levels); i++ {
			require.Greater(t, levels[i], levels[i-1], p.Name)
		}
		require.InEpsilon(t, process.SigmaMax(), levels[8], 1e-9)
	}
	_, err := LookupProcess("quadratic")
	require.EqualError(t, err, `unknown process "quadratic"; did you mean "linear"? There are linear, cosine, scaled_linear, sigmoid, vp, sub-vp, ve, edm and flow`)
	_, err = VPSDE().Times(1)
	require.EqualError(t, err, "steps must be 1 to 1000000, got 1")
}
