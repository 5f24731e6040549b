package output

import (
	"bytes"
	"errors"
	"image"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// Pictures stand row by row; the places of those that are missing are black; the
// sheet is no wider than its pictures.
func TestGrid(t *testing.T) {
	path := in(t, "sheet.png")
	target, err := New(path, 1, nil)
	require.NoError(t, err)
	grid := NewGrid(target, 3, 6)
	for i := range 5 {
		at, err := grid.Put(Picture{Image: plain(8, 4, uint8(50*i+10)), Number: i + 1, Text: string(rune('a' + i))})
		require.NoError(t, err)
		require.Empty(t, at)
	}
	at, n, err := grid.Finish(false)
	require.NoError(t, err)
	require.Equal(t, path, at)
	require.Equal(t, 5, n)
	sheet, text := read(t, path)
	require.Equal(t, image.Rect(0, 0, 24, 8), sheet.Bounds())
	require.Equal(t, "a", text)
	for i := range 6 {
		want := uint8(50*i + 10)
		if i == 5 {
			want = 0
		}
		for _, corner := range []image.Point{{}, {7, 3}} {
			require.Equal(t, want, level(sheet, i%3*8+corner.X, i/3*4+corner.Y), "picture %d", i)
		}
	}

	var out bytes.Buffer
	stdout, err := New("-", 1, &out)
	require.NoError(t, err)
	narrow := NewGrid(stdout, 8, 2)
	_, _ = narrow.Put(Picture{Image: plain(8, 4, 1)})
	_, _ = narrow.Put(Picture{Image: plain(8, 4, 2)})
	at, _, err = narrow.Finish(true)
	require.NoError(t, err)
	require.Equal(t, "-", at)
	sheet, _ = decode(t, out.Bytes())
	require.Equal(t, image.Rect(0, 0, 16, 4), sheet.Bounds())
}

func TestGridWithoutPictures(t *testing.T) {
	path, n, err := NewGrid(NewFolder(t.TempDir()), 3, 6).Finish(true)
	require.Empty(t, path)
	require.Zero(t, n)
	require.NoError(t, err)
}

// A sheet that does not fit in memory is refused, before the work and, where the
// size was not known, at the first picture.
func TestGridTooLarge(t *testing.T) {
	grid := NewGrid(NewFolder("x"), 32, 1024)
	require.NoError(t, grid.Check(256, 256))
	wrong(t, grid.Check(4096, 4096), true, "32: 1024 pictures of 4096x4096 make 131072x131072 pixels")
	_, err := NewGrid(NewFolder("x"), 1<<20, 1<<20).Put(Picture{Image: plain(200, 8, 0)})
	wrong(t, err, true, "pictures of 200x8")
}

// A sheet that can't be written says what was lost with it.
func TestGridLost(t *testing.T) {
	folder := t.TempDir()
	target, err := New(folder, 1, nil)
	require.NoError(t, err)
	grid := NewGrid(target, 2, 2)
	_, _ = grid.Put(Picture{Image: plain(8, 8, 1), Seed: 1})
	require.NoError(t, os.Remove(folder))
	_, _, err = grid.Finish(true)
	require.ErrorContains(t, err, "; 1 picture lost")
	require.True(t, errors.Is(err, os.ErrNotExist))
	_, _ = grid.Put(Picture{Image: plain(8, 8, 1)})
	_, _, err = grid.Finish(true)
	require.ErrorContains(t, err, "; 2 pictures lost")
}
