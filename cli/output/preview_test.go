package output

import (
	"image"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A small preview is enlarged by a whole number, a large one stays as it is.
func TestPreview(t *testing.T) {
	for _, c := range []struct{ width, height, wide, high int }{{64, 32, 512, 256}, {100, 300, 200, 600}, {600, 8, 600, 8}} {
		path := in(t, "p.png")
		p, err := NewPreview(path)
		require.NoError(t, err)
		require.Equal(t, path, p.Path())
		require.NoError(t, p.Show(plain(c.width, c.height, 1)))
		require.NoError(t, p.Show(plain(c.width, c.height, 99)))
		p.Clear()
		img, _ := read(t, path)
		require.Equal(t, image.Rect(0, 0, c.wide, c.high), img.Bounds())
		require.Equal(t, uint8(99), level(img, 3, 3), "the last one")
		requireFiles(t, filepath.Dir(path), "p.png")
	}
	_, err := NewPreview("p.tiff")
	wrong(t, err, true, "p.tiff: must end in .png")
	_, err = NewPreview(in(t, "none/p.png"))
	wrong(t, err, false, "does not exist")
}
