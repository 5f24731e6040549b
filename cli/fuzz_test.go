package cli

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzArrange arranges command lines of every command, arguments one a line: each
// is refused in one line, or comes out in an order that is arranged already.
func FuzzArrange(f *testing.F) {
	for _, line := range []string{"", "help", "txt2img\n-p\na fox\n--steps=3\n-W\n0064", "img2img\nin.png\n-p\n-W\n--\n-x\n--", "help\ntxt2img", "convert\n-h", "info\n--json=perhaps",
		"txt2img\n--step\n3", "-m\nx\ntxt2img", "--version", "txt2img\n-p", "batch\n-\n--seed\n-1", "upscale\na\n=\n-=\n--=x\n-", "\x00", "txt2img\n--cfg-scale=1e999"} {
		f.Add(line)
	}
	r := &run{in: strings.NewReader(""), out: &checkedWriter{}, err: &bytes.Buffer{}}
	app := r.app()
	f.Fuzz(func(t *testing.T, lines string) {
		args := strings.Split(lines, "\n")
		if lines == "" {
			args = nil
		}
		got, err := r.arrange(app, args)
		if err != nil {
			var usage *usageError
			require.True(t, errors.As(err, &usage), "%T", err)
			return
		}
		require.NotEmpty(t, got)
		require.Equal(t, app.Name, got[0])
		if !slices.Contains(got, "--") { // help
			return
		}
		again, err := r.arrange(app, got[1:])
		require.NoError(t, err)
		require.Equal(t, got, again)
	})
}
