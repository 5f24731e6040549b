package job

import (
	"image"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/sd/request"
)

// write writes a picture of a width.
func write(t *testing.T, path string, width int) {
	t.Helper()
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, picture.Encode(f, image.NewNRGBA(image.Rect(0, 0, width, 1)), picture.Options{Format: picture.PNG}))
	require.NoError(t, f.Close())
}

func TestPictures(t *testing.T) {
	outside := t.TempDir()
	folder := filepath.Join(outside, "in")
	require.NoError(t, os.MkdirAll(filepath.Join(folder, "deep"), 0o777))
	write(t, filepath.Join(outside, "out.png"), 1)
	write(t, filepath.Join(folder, "a.png"), 2)
	write(t, filepath.Join(folder, "deep", "b.png"), 3)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "x.txt"), []byte("no picture"), 0o666))

	for _, confined := range []bool{false, true} {
		p := Pictures{Folder: folder, Confined: confined}
		r := request.Request{ImageFile: "a.png", MaskFile: "deep/b.png"}
		require.NoError(t, p.Read(&r))
		require.Equal(t, 2, r.Image.Bounds().Dx())
		require.Equal(t, 3, r.Mask.Bounds().Dx())

		there := image.NewGray(image.Rect(0, 0, 9, 9))
		r = request.Request{Image: there, ImageFile: "nowhere.png"}
		require.NoError(t, p.Read(&r))
		require.Same(t, there, r.Image)
		require.Nil(t, r.Mask)

		r = request.Request{ImageFile: "x.txt", MaskFile: "nowhere.png"}
		err := p.Read(&r)
		require.ErrorContains(t, err, "not a picture: must be")
		require.ErrorContains(t, err, "MaskFile: ")
		require.Nil(t, r.Image) // and no typed nil
		require.Nil(t, r.Mask)
		require.Len(t, err.(*request.Error).Problems, 2)
	}
	absolute := filepath.Join(outside, "out.png")
	for _, name := range []string{"../out.png", absolute, "deep/../../out.png"} {
		r := request.Request{ImageFile: name}
		require.NoError(t, Pictures{Folder: folder}.Read(&r))
		require.Equal(t, 1, r.Image.Bounds().Dx())
		r.Image = nil
		require.ErrorContains(t, Pictures{Folder: folder, Confined: true}.Read(&r), "leads out of the folder that pictures are read from")
		require.Nil(t, r.Image)
	}
	r := request.Request{ImageFile: "deep"}
	require.EqualError(t, Pictures{Folder: folder, Confined: true}.Read(&r), `ImageFile: "deep": must be a regular file`)
	r.ImageFile = "a.png"
	require.ErrorContains(t, Pictures{Folder: filepath.Join(folder, "none"), Confined: true}.Read(&r), "the folder that pictures are read from cannot be opened")

	if runtime.GOOS == "windows" {
		return // links need rights there
	}
	require.NoError(t, os.Symlink("../out.png", filepath.Join(folder, "link.png")))
	require.NoError(t, os.Symlink("..", filepath.Join(folder, "up")))
	require.NoError(t, os.Symlink("deep/b.png", filepath.Join(folder, "within.png")))
	for _, name := range []string{"link.png", "up/out.png"} {
		r := request.Request{ImageFile: name}
		require.ErrorContains(t, Pictures{Folder: folder, Confined: true}.Read(&r), "path escapes from parent")
		require.Nil(t, r.Image)
	}
	r = request.Request{ImageFile: "within.png"}
	require.NoError(t, Pictures{Folder: folder, Confined: true}.Read(&r))
	require.Equal(t, 3, r.Image.Bounds().Dx())
}

// Without a folder it is the working directory's pictures.
func TestPicturesOfTheWorkingDirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "a.png", 2)
	for _, confined := range []bool{false, true} {
		r := request.Request{ImageFile: "a.png"}
		require.NoError(t, Pictures{Confined: confined}.Read(&r))
		require.NotNil(t, r.Image)
	}
}
