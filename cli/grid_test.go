package cli

import (
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cli/report"
)

func readPNG(t *testing.T, path string) image.Image {
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	img, err := png.Decode(f)
	require.NoError(t, err)
	return img
}

// requireSame checks that a part of a sheet has the pixels of a picture.
func requireSame(t *testing.T, want, part image.Image, number int) {
	corner := part.Bounds().Min
	for y := range part.Bounds().Dy() {
		for x := range part.Bounds().Dx() {
			r, g, b, _ := want.At(x, y).RGBA()
			r2, g2, b2, _ := part.At(corner.X+x, corner.Y+y).RGBA()
			require.Equal(t, [3]uint32{r, g, b}, [3]uint32{r2, g2, b2}, "picture %d at %d,%d", number, x, y)
		}
	}
}

// A contact sheet holds the very pictures that come one by one: a prompt's
// seeds one after the other, prompts in the file's order.
func TestGridOfPromptsAndSeeds(t *testing.T) {
	model, folder := tinyModel(t), t.TempDir()
	list := filepath.Join(folder, "prompts.txt")
	require.NoError(t, os.WriteFile(list, []byte("a fox\r\n\n  a teapot\nthird\n"), 0o666))
	sheet, single := filepath.Join(folder, "sheet.png"), filepath.Join(folder, "single-%02d.png")
	o := sdgo(t, with("txt2img", "-m", model, "--prompts", list, "-b", "2", "--grid", "4", "-o", sheet)...)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Equal(t, sheet+"\n", o.out)
	require.Contains(t, o.errors, "picture 6 of 6: seed 43")
	require.Contains(t, o.errors, sheet+": 6 pictures")
	requireFiles(t, folder, "prompts.txt", "sheet.png")
	o = sdgo(t, with("txt2img", "-q", "-m", model, "--prompts", list, "-b", "2", "-o", single)...)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Equal(t, 6, strings.Count(o.out, "\n"))
	alone := filepath.Join(folder, "alone.png")
	o = sdgo(t, with("txt2img", "-q", "-m", model, "-p", "a teapot", "-o", alone)...)
	require.Equal(t, ExitOK, o.code, o.errors)

	whole := readPNG(t, sheet).(interface {
		SubImage(image.Rectangle) image.Image
	})
	for i := range 8 { // the last two places are empty
		at := image.Pt(i%4*64, i/4*32)
		place := whole.SubImage(image.Rectangle{at, at.Add(image.Pt(64, 32))})
		var want image.Image = image.Black
		if i < 6 {
			want = readPNG(t, filepath.Join(folder, fmt.Sprintf("single-%02d.png", i+1)))
		}
		requireSame(t, want, place, i+1)
	}
	third, err := os.ReadFile(filepath.Join(folder, "single-03.png"))
	require.NoError(t, err)
	same, err := os.ReadFile(alone)
	require.NoError(t, err)
	require.Equal(t, third, same)
}

func TestGridEvents(t *testing.T) {
	sheet := filepath.Join(t.TempDir(), "sheet.png")
	o := sdgo(t, with("txt2img", "--json", "-m", tinyModel(t), "-p", "a fox", "-b", "2", "--grid", "3", "-o", sheet)...)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Equal(t, image.Rect(0, 0, 2*64, 32), readPNG(t, sheet).Bounds(), "no wider than its pictures")
	lines := strings.Split(strings.TrimSpace(o.out), "\n")
	var e report.Sheet
	requireEvent(t, lines[len(lines)-2], "sheet", &e)
	require.Equal(t, report.Sheet{Images: 2, Path: sheet}, e)
}

func TestGridRefusals(t *testing.T) {
	folder := t.TempDir()
	path := func(name, text string) string {
		p := filepath.Join(folder, name)
		require.NoError(t, os.WriteFile(p, []byte(text), 0o666))
		return p
	}
	model, empty, long := tinyModel(t), path("empty.txt", "\n \n"), path("long.txt", strings.Repeat("x", maxPromptBytes+1))
	for _, c := range []struct {
		code int
		args []string
		want string
	}{
		{ExitUsage, []string{"-p", "a", "--prompts", empty}, "-p and --prompts"},
		{ExitFailure, []string{"--prompts", empty}, "no prompts"},
		{ExitFailure, []string{"--prompts", long}, "more than"},
		{ExitFailure, []string{"--prompts", filepath.Join(folder, "none")}, "none"},
		{ExitFailure, []string{"--prompts", folder}, folder},
		{ExitUsage, []string{"-p", "a", "--grid", "0"}, "--grid"},
		{ExitUsage, []string{"-p", "a", "--grid", "2000"}, "--grid"},
		{ExitUsage, []string{"-p", "a", "-b", "1024", "--grid", "32", "-W", "4096", "-H", "4096"}, "--grid"},
	} {
		args := append([]string{"txt2img", "-m", model, "-o", filepath.Join(folder, "out.png")}, c.args...)
		sdgo(t, args...).requireError(t, c.code, c.want)
	}
	requireFiles(t, folder, "empty.txt", "long.txt")
}
