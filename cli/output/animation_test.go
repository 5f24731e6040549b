package output

import (
	"bytes"
	"image/gif"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestIsAnimation(t *testing.T) {
	for name, want := range map[string]bool{"x.gif": true, "x.GIF": true, "x.webp": true, "%02d/x.WebP": true, "x%02d.webp": false, "x.png": false, "x/": false, "-": false, "": false} {
		require.Equal(t, want, IsAnimation(name), name)
	}
}

// animate writes three frames and returns the file.
func animate(t *testing.T, name string, fps float64, bounce bool) []byte {
	t.Helper()
	path := in(t, name)
	a, err := NewAnimation(path, 3, fps, bounce)
	require.NoError(t, err)
	for i := range 3 {
		at, err := a.Put(Picture{Image: plain(8, 8, uint8(100*i)), Number: i + 1})
		require.NoError(t, err)
		require.Empty(t, at)
	}
	at, n, err := a.Finish(true)
	require.NoError(t, err)
	require.Equal(t, path, at)
	require.Equal(t, 3, n)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return data
}

func TestGIF(t *testing.T) {
	g, err := gif.DecodeAll(bytes.NewReader(animate(t, "x.gif", 5, true)))
	require.NoError(t, err)
	require.Equal(t, []int{20, 20, 20, 20}, g.Delay)
	require.Zero(t, g.LoopCount, "for ever")
	levels := []uint8{}
	for _, img := range g.Image {
		levels = append(levels, level(img, 3, 3))
	}
	require.IsIncreasing(t, levels[:3])
	require.Equal(t, levels[1], levels[3])

	g, err = gif.DecodeAll(bytes.NewReader(animate(t, "x.gif", 1000, false)))
	require.NoError(t, err)
	require.Equal(t, []int{1, 1, 1}, g.Delay, "no shorter than GIF can say")
}

func TestAnimatedWebP(t *testing.T) {
	data := animate(t, "x.webp", 8, false)
	require.Equal(t, "RIFF", string(data[:4]))
	require.Equal(t, 3, bytes.Count(data, []byte("ANMF")))
	require.Equal(t, 4, bytes.Count(animate(t, "x.webp", 8, true), []byte("ANMF")))
}

// An animation that is not complete is not written.
func TestUnfinishedAnimation(t *testing.T) {
	path := in(t, "x.gif")
	a, err := NewAnimation(path, 3, 8, false)
	require.NoError(t, err)
	_, _ = a.Put(Picture{Image: plain(8, 8, 1)})
	at, n, err := a.Finish(false)
	require.NoError(t, err)
	require.Empty(t, at)
	require.Zero(t, n)
	requireFiles(t, filepath.Dir(path))
}

func TestWrongAnimations(t *testing.T) {
	folder := t.TempDir()
	_, err := NewAnimation(filepath.Join(folder, "none", "x.gif"), 3, 8, false)
	wrong(t, err, false, "does not exist")
	require.NoError(t, os.Mkdir(filepath.Join(folder, "x.gif"), 0o777))
	_, err = NewAnimation(filepath.Join(folder, "x.gif"), 3, 8, false)
	wrong(t, err, false, "not a regular file")
	a, err := NewAnimation(filepath.Join(folder, "y.gif"), 1000, 8, false)
	require.NoError(t, err)
	require.NoError(t, a.Check(256, 256))
	wrong(t, a.Check(512, 512), true, "1000 frames of 512x512 are too many")
}
