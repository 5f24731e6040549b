package report

import (
	"bytes"
	"encoding/base64"
	"image"
	"image/png"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTerminalProtocol(t *testing.T) {
	for want, all := range map[Protocol][]map[string]string{
		Kitty:  {{"TERM": "xterm-kitty"}, {"KITTY_WINDOW_ID": "1"}, {"TERM_PROGRAM": "ghostty"}},
		ITerm2: {{"TERM_PROGRAM": "iTerm.app"}, {"LC_TERMINAL": "iTerm2"}, {"TERM_PROGRAM": "WezTerm"}},
		"":     {{}, {"TERM": "xterm-256color"}, {"TERM": "xterm-kitty", "TMUX": "/tmp/x"}, {"TERM": "screen.xterm", "KITTY_WINDOW_ID": "1"}},
	} {
		for _, env := range all {
			require.Equal(t, want, TerminalProtocol(func(name string) string { return env[name] }), env)
		}
	}
}

// What goes to the terminal is a PNG in base64, in pieces of 4096 at most for
// kitty, and the cursor ends where it began.
func TestInlinePictures(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 90, 80))
	r := rand.New(rand.NewPCG(1, 2))
	for i := range img.Pix { // noise, which is not compressed
		img.Pix[i] = uint8(r.Uint32())
	}
	var b bytes.Buffer
	view := NewInline(&b, Kitty)
	require.NoError(t, view.Show(img))
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
	require.NoError(t, view.Show(img))
	require.True(t, strings.HasPrefix(b.String(), "\x1b7\x1b[1B\r"), "room is made once")
	b.Reset()
	view.Clear()
	view.Clear()
	require.Equal(t, "\x1b_Ga=d,d=I,i=1,q=2\x1b\\\x1b[J", b.String())

	b.Reset()
	view = NewInline(&b, ITerm2)
	require.NoError(t, view.Show(img))
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
