package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/pngtext"
)

const (
	enlarge2 = "../testdata/upscale/x2.safetensors"
	enlarge4 = "../testdata/upscale/x4.pth"
)

// textsOf are the texts of a PNG file.
func textsOf(t *testing.T, path string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	texts, err := pngtext.Decode(bytes.NewReader(b))
	require.NoError(t, err)
	all := map[string]string{}
	for _, text := range texts {
		all[text.Keyword] = text.Value
	}
	return all
}

func TestUpscale(t *testing.T) {
	folder := t.TempDir()
	img, _ := start(40, 24)
	plain := writePNG(t, folder, "plain.png", img)
	var b bytes.Buffer
	require.NoError(t, pngtext.Encode(&b, img, pngtext.Text{Keyword: "parameters", Value: "a fox\nSteps: 3"}))
	drawn := filepath.Join(folder, "drawn.png")
	require.NoError(t, os.WriteFile(drawn, b.Bytes(), 0o666))

	o := sdgo(t, "upscale", "-m", enlarge2, plain, drawn)
	require.Equal(t, ExitOK, o.code, o.errors)
	large := filepath.Join(folder, "drawn-x2.png")
	require.Equal(t, filepath.Join(folder, "plain-x2.png")+"\n"+large+"\n", o.out)
	require.Contains(t, o.errors, "drawn-x2.png: 80x48 in ")
	require.Equal(t, image.Rect(0, 0, 80, 48), readPNG(t, large).Bounds())
	texts := textsOf(t, large)
	require.Equal(t, "a fox\nSteps: 3", texts["parameters"], "the picture's parameters are kept")
	require.True(t, strings.HasPrefix(texts["postprocessing"], "Postprocess upscale by: 2, Postprocess upscaler: x2, Version: sdgo "), texts)

	// Another format keeps the parameters, too.
	o = sdgo(t, "upscale", "-q", "-m", enlarge2, "--format", "webp", drawn)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Contains(t, sdgo(t, "info", filepath.Join(folder, "drawn-x2.webp")).out, "WebP, 80x48\nparameters  a fox\n")
	o = sdgo(t, "upscale", "-q", "-m", enlarge2, "--quality", "50", "-o", filepath.Join(folder, "large.jpg"), filepath.Join(folder, "drawn-x2.webp"))
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Contains(t, sdgo(t, "info", filepath.Join(folder, "large.jpg")).out, "JPEG, 160x96\nparameters  a fox\n")

	// Again: the newest enlargement is recorded, in another folder, by another factor.
	more := filepath.Join(folder, "more")
	require.NoError(t, os.Mkdir(more, 0o777))
	o = sdgo(t, "upscale", "-q", "-m", enlarge4, "--scale", "1.5", "-o", more, large)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Empty(t, o.errors)
	larger := filepath.Join(more, "drawn-x2-x1.5.png")
	require.Equal(t, image.Rect(0, 0, 120, 72), readPNG(t, larger).Bounds())
	require.Contains(t, textsOf(t, larger)["postprocessing"], "upscale by: 1.5, Postprocess upscaler: x4")
	requireFiles(t, more, "drawn-x2-x1.5.png")

	// From a pipe to a pipe, and as numbered files.
	var out, stderr bytes.Buffer
	require.Equal(t, ExitOK, Run(context.Background(), []string{"upscale", "-m", enlarge2, "-o", "-", "-"}, bytes.NewReader(b.Bytes()), &out, &stderr), stderr.String())
	piped, err := png.Decode(&out)
	require.NoError(t, err)
	require.Equal(t, readPNG(t, large), piped)
	require.Equal(t, ExitOK, sdgo(t, "upscale", "-m", enlarge2, "-o", filepath.Join(more, "n.png"), plain, drawn).code)
	requireFiles(t, more, "drawn-x2-x1.5.png", "n-1.png", "n-2.png")

	// As JPEG, whose parameters say how it was enlarged, and from that again.
	jpeg := filepath.Join(more, "drawn-x2.jpg")
	require.Equal(t, ExitOK, sdgo(t, "upscale", "-q", "-m", enlarge2, "--format", "jpeg", "-o", more, drawn).code)
	require.Equal(t, ExitOK, sdgo(t, "upscale", "-q", "-m", enlarge2, "-o", more, jpeg).code)
	require.True(t, strings.HasPrefix(textsOf(t, filepath.Join(more, "drawn-x2-x2.png"))["parameters"],
		"a fox\nSteps: 3, Postprocess upscale by: 2, Postprocess upscaler: x2, Version: sdgo "))
}

// Tiles give events, and Ctrl-C between them keeps what is finished.
func TestUpscaleEventsAndInterruption(t *testing.T) {
	folder := t.TempDir()
	img, _ := start(100, 70)
	small, _ := start(8, 8)
	one, two := writePNG(t, folder, "one.png", small), writePNG(t, folder, "two.png", img)
	o := sdgo(t, "upscale", "--json", "-m", enlarge2, "--tile", "64", one, two)
	require.Equal(t, ExitOK, o.code, o.errors)
	var names []string
	for line := range strings.Lines(o.out) {
		var e map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &e), line)
		names = append(names, e["event"].(string))
		if e["event"] == "upscaled" && e["picture"] == 2.0 {
			require.Equal(t, two, e["from"])
			require.Equal(t, 200.0, e["width"])
		}
	}
	require.Equal(t, "upscale upscaled upscale upscale upscale upscale upscale upscale upscaled", strings.Join(names, " "))

	require.NoError(t, os.Remove(filepath.Join(folder, "one-x2.png")))
	require.NoError(t, os.Remove(filepath.Join(folder, "two-x2.png")))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stop := writerFunc(func(b []byte) (int, error) {
		if strings.Contains(string(b), `"picture":2,"index":1`) {
			cancel()
		}
		return len(b), nil
	})
	var stderr bytes.Buffer
	code := Run(ctx, []string{"upscale", "--json", "-m", enlarge2, "--tile", "64", one, two}, strings.NewReader(""), stop, &stderr)
	require.Equal(t, ExitInterrupted, code, stderr.String())
	require.Contains(t, stderr.String(), "interrupted; 1 of 2 pictures finished")
	requireFiles(t, folder, "one.png", "two.png", "one-x2.png")
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestUpscaleRefusals(t *testing.T) {
	folder := t.TempDir()
	img, _ := start(16, 16)
	in := writePNG(t, folder, "in.png", img)
	taken := writePNG(t, folder, "in-x2.png", img)
	text := filepath.Join(folder, "text.png")
	require.NoError(t, os.WriteFile(text, []byte("not a picture"), 0o666))
	for _, c := range []struct {
		code int
		args []string
		want string
	}{
		{ExitUsage, []string{"upscale", in}, "no network: -m FILE"},
		{ExitUsage, []string{"upscale", "-m", enlarge2}, "no picture"},
		{ExitUsage, []string{"upscale", "-m", enlarge2, "--tile", "0", in}, "--tile: must be 64 to 2048, got 0"},
		{ExitUsage, []string{"upscale", "-m", enlarge2, "--scale", "NaN", in}, "--scale: must be more than 0 and at most 64, got NaN"},
		{ExitUsage, []string{"upscale", "-m", enlarge2, "--scale", "0", in}, "--scale: must be more than 0 and at most 64, got 0"},
		{ExitUsage, []string{"upscale", "-m", enlarge2, "-o", "a.tiff", in}, "a.tiff"},
		{ExitUsage, []string{"upscale", "-m", enlarge2, "-"}, "standard input needs --output"},
		{ExitUsage, []string{"upscale", "-m", enlarge2, "-o", "-", in, in}, "standard output takes one picture"},
		{ExitUsage, []string{"upscale", "-m", enlarge2, in, taken}, "in-x2.png, which is taken by"},
		{ExitUsage, []string{"upscale", "-m", enlarge2, "-o", in, in}, "in.png would be written to"},
		{ExitFailure, []string{"upscale", "-m", enlarge2, text}, "text.png: not a picture"},
		{ExitFailure, []string{"upscale", "-m", enlarge2, filepath.Join(folder, "none.png")}, "none.png: " + noFile},
		{ExitFailure, []string{"upscale", "-m", tinyModel(t), in}, "expected an ESRGAN upscaler"},
		{ExitFailure, []string{"upscale", "-m", enlarge2, "-o", filepath.Join(folder, "no", "x.png"), in}, "does not exist"},
	} {
		sdgo(t, c.args...).requireError(t, c.code, c.want)
	}
	requireFiles(t, folder, "in.png", "in-x2.png", "text.png")
}
