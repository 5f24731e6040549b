package cli

import (
	"bytes"
	"context"
	"image"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPreprocess(t *testing.T) {
	folder, photo := t.TempDir(), "../testdata/preprocess/photo.png"
	out := filepath.Join(folder, "edges.png")
	o := sdgo(t, "preprocess", "canny", "-i", photo, "-o", out)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Equal(t, out+"\n", o.out)
	want, err := os.ReadFile("../testdata/preprocess/canny.png")
	require.NoError(t, err)
	got, err := os.ReadFile(out)
	require.NoError(t, err)
	require.Equal(t, pixelsOf(t, want), pixelsOf(t, got))

	o = sdgo(t, "preprocess", "-o", out, "-i", photo, "canny:low=20,high=60", "--resolution", "128")
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Equal(t, image.Rect(0, 0, 201, 128), readPNG(t, out).Bounds())

	in, err := os.ReadFile(photo)
	require.NoError(t, err)
	var picture, stderr bytes.Buffer
	require.Equal(t, ExitOK, Run(context.Background(), []string{"preprocess", "canny", "-i", "-", "-o", "-"}, bytes.NewReader(in), &picture, &stderr), stderr.String())
	require.Equal(t, pixelsOf(t, want), pixelsOf(t, picture.Bytes()))

	for _, c := range []struct {
		code int
		args []string
		want string
	}{
		{ExitUsage, nil, "preprocess: the preprocessor's name is missing"},
		{ExitUsage, []string{"canny", "-o", out}, "no picture: -i FILE names it"},
		{ExitUsage, []string{"cany", "-i", photo, "-o", out}, "preprocessor must be one of canny, lineart"},
		{ExitUsage, []string{"depth", "-i", photo, "-o", out}, "needs a network of its own"},
		{ExitUsage, []string{"canny:low=-1,high=-2", "-i", photo, "-o", out}, "canny: low must be 0 to 32767, got -1"},
		{ExitUsage, []string{"canny", "-i", photo, "-o", out, "--resolution", "8"}, "--resolution: must be 64 to 8192, got 8"},
		{ExitFailure, []string{"invert", "-i", photo, "-o", out, "--resolution", "64"}, "invert takes no resolution"},
		{ExitUsage, []string{"invert", "-i", photo, "-o", folder}, "must name a file"},
		{ExitFailure, []string{"invert", "-i", filepath.Join(folder, "none.png"), "-o", out}, "no such file"},
	} {
		o := sdgo(t, append([]string{"preprocess"}, c.args...)...)
		require.Equal(t, c.code, o.code, c.args)
		require.Contains(t, o.errors, c.want)
	}
}
