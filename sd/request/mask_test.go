package request

import (
	"image"
	"testing"

	"github.com/stretchr/testify/require"
)

// The size that a masked part is drawn at keeps its aspect ratio and the model's area.
func TestSidesLike(t *testing.T) {
	q := Resolved{Align: 8}
	for size, want := range map[image.Point]image.Point{
		{100, 100}: {512, 512}, {200, 100}: {728, 360}, {1000, 10}: {728, 360}, {3, 300}: {360, 728}, {150, 100}: {624, 416},
	} {
		w, h := q.sidesLike(size, 512)
		require.Equal(t, want, image.Pt(w, h))
	}
}
