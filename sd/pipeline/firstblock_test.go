package pipeline

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// The change of the answer that has changed most counts; of what is no number none is small.
func TestRelativeChange(t *testing.T) {
	before := []float32{1, -1, 2, -4}
	require.InDelta(t, 0.25, relativeChange([]float32{1.5, -1, 2, -4}, before, 2), 1e-9)
	require.InDelta(t, 0.5/8, relativeChange([]float32{1.5, -1, 2, -4}, before, 1), 1e-9)
	require.InDelta(t, 0.5, relativeChange([]float32{1, -1, 3, -2}, before, 2), 1e-9)
	require.False(t, relativeChange([]float32{1, -1, float32(math.NaN()), 0}, before, 2) < 10)
	require.False(t, relativeChange(make([]float32, 4), make([]float32, 4), 2) < 10)
}
