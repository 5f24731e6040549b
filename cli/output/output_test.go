package output

import (
	"bytes"
	"image"
	"image/color"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/picture"
)

// requireFiles checks what is in a folder.
func requireFiles(t *testing.T, folder string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	have := []string{}
	for _, e := range entries {
		have = append(have, e.Name())
	}
	require.ElementsMatch(t, names, have)
}

// plain is a picture of one colour.
func plain(width, height int, level uint8) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	for i := range img.Pix {
		img.Pix[i] = level | uint8(i%4/3*255) // opaque
	}
	return img
}

// read reads a picture's file, and the parameters in it.
func read(t *testing.T, path string) (image.Image, string) {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return decode(t, data)
}

func decode(t *testing.T, data []byte) (image.Image, string) {
	t.Helper()
	img, err := picture.Read(bytes.NewReader(data))
	require.NoError(t, err)
	facts, err := picture.ReadFacts(bytes.NewReader(data))
	require.NoError(t, err)
	for _, text := range facts.Texts {
		if text.Keyword == picture.Keyword {
			return img, text.Value
		}
	}
	return img, ""
}

// level is a pixel's red.
func level(img image.Image, x, y int) uint8 {
	return color.NRGBAModel.Convert(img.At(x, y)).(color.NRGBA).R
}

// wrong checks an error of a place.
func wrong(t *testing.T, err error, inItself bool, text string) {
	t.Helper()
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, inItself, e.Wrong, err)
	require.Contains(t, err.Error(), text)
}

// in is a path in a new folder.
func in(t *testing.T, name string) string { return filepath.Join(t.TempDir(), name) }
