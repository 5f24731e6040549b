package cli

import (
	"bytes"
	"encoding/json"
	"image"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/picture"
)

// Each kind of file shows the picture and says how it was made.
func TestFormats(t *testing.T) {
	model, folder := tinyModel(t), t.TempDir()
	draw := func(args ...string) outcome {
		o := sdgo(t, with("txt2img", append([]string{"-q", "-m", model, "-p", "a café, 猫", "-n", "blurry"}, args...)...)...)
		require.Equal(t, ExitOK, o.code, o.errors)
		return o
	}
	var parameters string
	var size = map[string]int{}
	for _, name := range []string{"out.png", "out.webp", "out.jpg", "out.jpeg", "low.JPG"} {
		path, args := filepath.Join(folder, name), []string{}
		if name == "low.JPG" {
			args = []string{"--quality", "10"}
		}
		draw(append(args, "-o", path)...)
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		size[name] = len(data)
		img, err := picture.Read(bytes.NewReader(data))
		require.NoError(t, err)
		require.Equal(t, image.Pt(64, 32), img.Bounds().Size())

		var facts pictureFacts
		require.NoError(t, json.Unmarshal([]byte(sdgo(t, "info", "--json", path).out), &facts))
		require.Equal(t, [2]int{64, 32}, [2]int{facts.Width, facts.Height})
		if name == "out.png" {
			parameters = facts.Texts["parameters"]
			require.Contains(t, parameters, "a café, 猫\nNegative prompt: blurry\nSteps: ")
		}
		require.Equal(t, parameters, facts.Texts["parameters"], name)
		require.Contains(t, sdgo(t, "info", path).out, "a café, 猫\n")
	}
	require.Equal(t, size["out.jpg"], size["out.jpeg"])
	require.Less(t, size["low.JPG"], size["out.jpg"])
	lossless, err := picture.Open(filepath.Join(folder, "out.webp"))
	require.NoError(t, err)
	requireSame(t, readPNG(t, filepath.Join(folder, "out.png")), lossless, 1)

	// In a folder and on standard output a flag says which.
	inside := filepath.Join(folder, "inside")
	require.NoError(t, os.Mkdir(inside, 0o777))
	draw("-o", inside, "--format", "jpg", "--quality", "50")
	draw("-o", inside, "--format", "WebP")
	requireFiles(t, inside, "42.jpg", "42.webp")
	require.Equal(t, "RIFF", draw("-o", "-", "--format", "webp").out[:4])

	// A contact sheet, too.
	sheet := filepath.Join(folder, "sheet.jpg")
	draw("-b", "2", "--grid", "2", "-o", sheet)
	require.Contains(t, sdgo(t, "info", sheet).out, "JPEG, 128x32")
}

// A prompt that JPEG's EXIF data can't hold is refused before any work.
func TestPromptTooLongForJPEG(t *testing.T) {
	folder, long := t.TempDir(), strings.Repeat("long ", 7000)
	out := filepath.Join(folder, "out.jpg")
	sdgo(t, with("txt2img", "-m", tinyModel(t), "-p", long, "-o", out)...).requireError(t, ExitUsage, "-o: ", "in a JPEG file", "PNG and WebP")
	requireFiles(t, folder)
}
