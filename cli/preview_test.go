package cli

import (
	"bytes"
	"encoding/base64"
	"image"
	"image/png"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const tinyTAESD = "../testdata/taesd/tiny.safetensors"

func TestPreviewFile(t *testing.T) {
	model, folder := tinyModel(t), t.TempDir()
	out, preview := filepath.Join(folder, "out.png"), filepath.Join(folder, "preview.png")
	o := sdgo(t, with("txt2img", "-m", model, "-p", "a fox", "--preview", preview, "-o", out)...)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Equal(t, image.Pt(512, 256), readPNG(t, preview).Bounds().Size())
	plain := readPNG(t, out)

	// Asking for previews changes nothing about the picture.
	o = sdgo(t, with("txt2img", "-m", model, "-p", "a fox", "-o", out)...)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Equal(t, plain, readPNG(t, out))

	preview = filepath.Join(folder, "preview.jpg")
	o = sdgo(t, with("txt2img", "-m", model, "-p", "a fox", "--preview", preview, "--preview-every", "1", "-o", out)...)
	require.Equal(t, ExitOK, o.code, o.errors)
	requireFiles(t, folder, "out.png", "preview.png", "preview.jpg")
}

func TestTAESDFlags(t *testing.T) {
	model, folder := tinyModel(t), t.TempDir()
	out := filepath.Join(folder, "out.png")
	for _, c := range []struct {
		code int
		args []string
		want string
	}{
		// The tiny model's autoencoder has a factor of 2.
		{ExitUsage, []string{"--taesd", tinyTAESD}, "--taesd: tiny has 8 pixels along a latent one, and the model 2"},
		{ExitUsage, []string{"--taesd", ""}, "--taesd: the name of a file is wanted"},
		{ExitUsage, []string{"--taesd-preview-only"}, "--taesd-preview-only without a tiny autoencoder"},
		{ExitFailure, []string{"--taesd", "none.pth"}, "--taesd none.pth: " + noFile},
		{ExitFailure, []string{"--taesd", model}, "expected a TAESD autoencoder"},
		{ExitUsage, []string{"--preview-every", "0", "--preview", "p.png"}, "--preview-every: 0, 1 to 1000 wanted"},
		{ExitUsage, []string{"--preview-every", "2"}, "there is no terminal that shows pictures here"},
		{ExitUsage, []string{"--preview", "p.tiff"}, "pictures are written as .png"},
		{ExitUsage, []string{"--preview", out}, "both name"},
		{ExitFailure, []string{"--preview", filepath.Join(folder, "no", "p.png")}, "--preview: the folder"},
	} {
		sdgo(t, with("txt2img", append(c.args, "-m", model, "-p", "a", "-o", out)...)...).requireError(t, c.code, c.want)
	}
	requireFiles(t, folder)
}

func TestTerminalPictures(t *testing.T) {
	for want, all := range map[string][]map[string]string{
		kitty:  {{"TERM": "xterm-kitty"}, {"KITTY_WINDOW_ID": "1"}, {"TERM_PROGRAM": "ghostty"}},
		iTerm2: {{"TERM_PROGRAM": "iTerm.app"}, {"LC_TERMINAL": "iTerm2"}, {"TERM_PROGRAM": "WezTerm"}},
		"":     {{}, {"TERM": "xterm-256color"}, {"TERM": "xterm-kitty", "TMUX": "/tmp/x"}, {"TERM": "screen.xterm", "KITTY_WINDOW_ID": "1"}},
	} {
		for _, env := range all {
			require.Equal(t, want, terminalPictures(func(name string) string { return env[name] }), env)
		}
	}
}

// What goes to the terminal is a PNG in base64, in pieces of 4096 at most for
// kitty, and the cursor ends where it began.
func TestInlinePictures(t *testing.T) {
	img, _ := start(90, 80)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range img.Pix { // noise, which is not compressed
		img.Pix[i] = uint8(r.Uint32())
	}
	var b bytes.Buffer
	view := &inline{w: &b, protocol: kitty}
	require.NoError(t, view.show(img))
	text := b.String()
	require.True(t, strings.HasPrefix(text, strings.Repeat("\n", 15)+"\x1b[15A\x1b7\x1b[1B\r\x1b_Ga=T,f=100,i=1,p=1,q=2,C=1,r=14,m=1;"))
	require.True(t, strings.HasSuffix(text, "\x1b\\\x1b8"))
	data := ""
	parts := regexp.MustCompile("\x1b_G([^;]*);([^\x1b]*)\x1b\\\\").FindAllStringSubmatch(text, -1)
	require.Greater(t, len(parts), 1)
	for i, m := range parts {
		require.LessOrEqual(t, len(m[2]), 4096)
		require.Equal(t, i == len(parts)-1, strings.HasSuffix(m[1], "m=0"), m[1])
		data += m[2]
	}
	requireBase64PNG(t, data, img)
	b.Reset()
	require.NoError(t, view.show(img))
	require.True(t, strings.HasPrefix(b.String(), "\x1b7\x1b[1B\r"), "room is made once")
	b.Reset()
	view.clear()
	view.clear()
	require.Equal(t, "\x1b_Ga=d,d=I,i=1,q=2\x1b\\\x1b[J", b.String())

	b.Reset()
	view = &inline{w: &b, protocol: iTerm2}
	require.NoError(t, view.show(img))
	m := regexp.MustCompile("\x1b\\]1337;File=inline=1;size=\\d+;height=14;preserveAspectRatio=1:([^\a]*)\a\x1b8$").FindStringSubmatch(b.String())
	require.NotNil(t, m)
	requireBase64PNG(t, m[1], img)
}

func requireBase64PNG(t *testing.T, data string, want image.Image) {
	t.Helper()
	file, err := base64.StdEncoding.DecodeString(data)
	require.NoError(t, err)
	got, err := png.Decode(bytes.NewReader(file))
	require.NoError(t, err)
	require.Equal(t, want.Bounds(), got.Bounds())
	require.Equal(t, want.At(5, 7), got.At(5, 7))
}
