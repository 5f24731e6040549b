package flux

import (
	"image"
	"testing"

	"github.com/stretchr/testify/require"
)

// Kontext sees references in the size of its training that is the nearest to theirs, as the diffusers library's pipeline has it.
func TestKontextSizes(t *testing.T) {
	for size, want := range map[image.Point]image.Point{
		{X: 1000, Y: 1000}: {X: 1024, Y: 1024}, {X: 1920, Y: 1080}: {X: 1392, Y: 752}, {X: 600, Y: 1600}: {X: 672, Y: 1568}, {X: 64, Y: 80}: {X: 944, Y: 1104}, {X: 9000, Y: 100}: {X: 1568, Y: 672},
		{X: 300, Y: 200}: {X: 1248, Y: 832},
	} {
		require.Equal(t, want, seenByKontext(image.NewNRGBA(image.Rectangle{Max: size})).Rect.Size(), size)
	}
}
