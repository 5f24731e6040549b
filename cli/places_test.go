package cli

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Whole numbers are decimal, whatever they begin with, and a flag's forms mix.
func TestNumbersAreDecimal(t *testing.T) {
	require.Equal(t, sdgo(t, "sigmas", "--steps", "10").out, sdgo(t, "sigmas", "--steps", "010").out)
	sdgo(t, "sigmas", "--steps", "0x10").requireError(t, ExitUsage, "--steps")
	o := sdgo(t, "sigmas", "--steps", "08")
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Equal(t, sdgo(t, "sigmas", "--steps", "8").out, o.out)

	model := tinyModel(t)
	o = sdgo(t, with("txt2img", "-q", "-m", model, "-p", "a fox", "--prompt", "a fox", "-o", "-")...)
	require.Equal(t, ExitOK, o.code, o.errors)
	sdgo(t, "").requireError(t, ExitUsage, "the command is missing")
}

// A picture that is read is not written over but where the user says so.
func TestPlaces(t *testing.T) {
	model := tinyModel(t)
	esrgan, err := filepath.Abs(enlarge2)
	require.NoError(t, err)
	t.Chdir(t.TempDir())
	img, _ := start(64, 32)
	writePNG(t, ".", "out.png", img)
	before, err := os.ReadFile("out.png")
	require.NoError(t, err)
	require.NoError(t, os.Symlink(".", "link"))
	full, err := filepath.Abs("out.png")
	require.NoError(t, err)
	args := func(more ...string) []string {
		return with("img2img", append([]string{"-q", "-m", model, "-p", "a"}, more...)...)
	}
	for _, line := range [][]string{
		args("-i", "out.png"),
		args("-i", "link/out.png"),
		args("-i", full),
		args("-i", "out.png", "-o", "new.png", "--preview", "./out.png"),
		args("-i", "out.png", "-o", "new.png", "--preview", "link/new.png"),
		args("-i", "out.png", "-o", "new.png", "-b", "2", "--preview", "new-2.png"),
		{"upscale", "-m", esrgan, "-o", full, "out.png"},
		{"upscale", "-m", esrgan, "-o", "link/out.png", "out.png"},
	} {
		o := sdgo(t, line...)
		o.requireError(t, ExitUsage)
		after, err := os.ReadFile("out.png")
		require.NoError(t, err)
		require.True(t, bytes.Equal(before, after), line)
		requireFiles(t, ".", "out.png", "link")
	}
	o := sdgo(t, args("-i", "out.png", "-o", "out.png")...)
	require.Equal(t, ExitOK, o.code, o.errors)
}

// Ctrl-C ends a program that waits for standard input.
func TestInterruptedWhileReading(t *testing.T) {
	model := tinyModel(t)
	for _, line := range [][]string{
		{"txt2img", "-m", model, "-p", "-", "-o", "-"},
		{"txt2img", "-m", model, "--prompts", "-"},
		{"img2img", "-m", model, "-p", "a", "-i", "-"},
		{"batch", "-m", model, "-"},
		{"info", "-"},
	} {
		in, hold := io.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Millisecond, cancel)
		var out, errors bytes.Buffer
		require.Equal(t, ExitInterrupted, Run(ctx, line, in, &out, &errors), "%s: %s", line, &errors)
		require.Contains(t, errors.String(), "interrupted")
		hold.Close()
	}
}
