package output

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// A file is the same however its folder is spelled.
func TestPlaces(t *testing.T) {
	t.Chdir(t.TempDir())
	here, err := os.Getwd()
	require.NoError(t, err)
	require.NoError(t, os.Mkdir("folder", 0o777))
	require.NoError(t, os.Symlink(here, "link"))
	same := []string{"a.png", "./a.png", "folder/../a.png", "link/a.png", filepath.Join(here, "a.png")}
	if runtime.GOOS == "windows" {
		same = append(same, "A.PNG")
	}
	for _, first := range same {
		for _, second := range same {
			var places Places[int]
			places.Write(first, 1)
			by, ok := places.Writer(second)
			require.True(t, ok, "%s, %s", first, second)
			require.Equal(t, 1, by)
			_, ok = places.Reader(second)
			require.False(t, ok)
			_, ok = places.Writer("folder/a.png")
			require.False(t, ok)

			var read Places[int]
			read.Read(first, 2)
			by, ok = read.Reader(second)
			require.True(t, ok, "%s, %s", first, second)
			require.Equal(t, 2, by)
			_, ok = read.Writer(second)
			require.False(t, ok)
		}
	}
}

// Writing replaces a link; reading follows it.
func TestPlacesOfLinks(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile("file.png", nil, 0o666))
	require.NoError(t, os.Symlink("file.png", "link.png"))
	var read Places[string]
	read.Read("link.png", "me")
	for _, path := range []string{"file.png", "link.png"} {
		by, ok := read.Reader(path)
		require.True(t, ok, path)
		require.Equal(t, "me", by)
	}
	var written Places[string]
	written.Write("file.png", "me")
	_, ok := written.Writer("link.png")
	require.False(t, ok)
	by, ok := written.WriterOfSource("link.png")
	require.True(t, ok)
	require.Equal(t, "me", by)
	written = Places[string]{}
	written.Write("link.png", "me")
	_, ok = written.WriterOfSource("file.png")
	require.False(t, ok)
	_, ok = written.WriterOfSource("other.png")
	require.False(t, ok)
}
