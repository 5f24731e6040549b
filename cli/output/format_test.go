package output

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/sd/pngtext"
)

// The ending of a name says the format; in folders and on standard output it can
// be set.
func TestSetFormat(t *testing.T) {
	file, err := New(in(t, "x.jpg"), 1, nil)
	require.NoError(t, err)
	require.Equal(t, picture.JPEG, file.Format())
	require.NoError(t, file.SetFormat(picture.JPEG))
	require.ErrorIs(t, file.SetFormat(picture.WebP), ErrTwoFormats)
	require.Equal(t, picture.JPEG, file.Format())

	folder := NewFolder("x")
	require.Equal(t, ".png", folder.Extension())
	require.NoError(t, folder.SetFormat(picture.WebP))
	require.Equal(t, ".webp", folder.Extension())

	var out bytes.Buffer
	stdout, err := New("-", 1, &out)
	require.NoError(t, err)
	require.NoError(t, stdout.SetFormat(picture.WebP))
	require.NoError(t, stdout.Save("-", plain(8, 8, 1), ""))
	require.Equal(t, "RIFF", out.String()[:4])
}

func TestQuality(t *testing.T) {
	size := func(quality int) int {
		path := in(t, "x.jpg")
		target, err := New(path, 1, nil)
		require.NoError(t, err)
		if quality > 0 {
			require.NoError(t, target.SetQuality(quality))
		}
		img := plain(64, 64, 0)
		for i := range img.Pix {
			img.Pix[i] = uint8(i*i/7) | uint8(i%4/3*255)
		}
		require.NoError(t, target.Save(path, img, "a fox"))
		_, text := read(t, path)
		require.Equal(t, "a fox", text)
		info, err := os.Stat(path)
		require.NoError(t, err)
		return int(info.Size())
	}
	require.Less(t, size(10), size(0))
	require.Less(t, size(0), size(100))

	jpeg, err := New(in(t, "x.jpg"), 1, nil)
	require.NoError(t, err)
	for _, n := range []int{0, -1, 101} {
		require.ErrorContains(t, jpeg.SetQuality(n), "1 to 100")
	}
	require.ErrorContains(t, NewFolder("x").SetQuality(101), "1 to 100")
	require.ErrorContains(t, NewFolder("x").SetQuality(50), "only JPEG has one")
}

// JPEG's EXIF data holds less than 64 kB; there is room for the settings beside the
// prompts.
func TestCheckText(t *testing.T) {
	jpeg, err := New(in(t, "x.jpg"), 1, nil)
	require.NoError(t, err)
	require.NoError(t, jpeg.CheckText("a fox", "blurry"))
	require.ErrorContains(t, jpeg.CheckText(strings.Repeat("x", 16_000), strings.Repeat("y", 16_000)), "JPEG")
	require.NoError(t, jpeg.CheckText(strings.Repeat("x", 30_000)))
	require.NoError(t, NewFolder("x").CheckText(strings.Repeat("x", 100_000)))
}

// An enlarged picture keeps its texts, and says how it was enlarged: the last time.
func TestSaveUpscaled(t *testing.T) {
	texts := []pngtext.Text{{Keyword: picture.Keyword, Value: "a fox"}, {Keyword: "Comment", Value: "mine"}, {Keyword: upscaledKeyword, Value: "earlier"}}
	path := in(t, "x.png")
	target, err := New(path, 1, nil)
	require.NoError(t, err)
	require.NoError(t, target.SaveUpscaled(path, plain(8, 8, 1), texts, "by 2"))
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	got, err := pngtext.Decode(bytes.NewReader(data))
	require.NoError(t, err)
	require.Equal(t, []pngtext.Text{{Keyword: picture.Keyword, Value: "a fox"}, {Keyword: "Comment", Value: "mine"}, {Keyword: upscaledKeyword, Value: "by 2"}}, got)

	for _, c := range []struct {
		texts []pngtext.Text
		want  string
	}{{texts, "a fox, by 2"}, {nil, "by 2"}} {
		path := in(t, "x.webp")
		target, err := New(path, 1, nil)
		require.NoError(t, err)
		require.NoError(t, target.SaveUpscaled(path, plain(8, 8, 1), c.texts, "by 2"))
		_, text := read(t, path)
		require.Equal(t, c.want, text)
	}
}
