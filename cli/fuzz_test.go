package cli

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cli/report"
)

// FuzzParse parses command lines of every command, arguments one a line: each is
// refused in one line, or means the same when its flags are written out in full.
func FuzzParse(f *testing.F) {
	for _, line := range []string{"", "help", "txt2img\n-p\na fox\n--steps=3\n-W\n0064", "img2img\nin.png\n-p\n-W\n--\n-x\n--", "help\ntxt2img", "convert\n-h", "info\n--json=perhaps",
		"txt2img\n--step\n3", "-m\nx\ntxt2img", "--version", "txt2img\n-p", "batch\n-\n--seed\n-1", "upscale\na\n=\n-=\n--=x\n-", "\x00", "txt2img\n--cfg-scale=1e999",
		"convert\n--tensor-type\na{1,2}=f16\n--tensor-type= b=f32"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, lines string) {
		args := strings.Split(lines, "\n")
		if lines == "" {
			args = nil
		}
		c, got, err := parse(commands(), args)
		if err != nil {
			var usage *report.UsageError
			require.True(t, errors.As(err, &usage), "%T", err)
			return
		}
		require.NotNil(t, c.run)
		if c.name == "" { // help
			return
		}
		full := []string{c.name}
		for _, flag := range c.flags {
			name := flag.Names()[0]
			if !got.set(name) {
				continue
			}
			values := []string{got.text(name)}
			if name == "tensor-type" {
				values = got.texts(name)
			}
			for _, v := range values {
				full = append(full, "--"+name+"="+v)
			}
		}
		again, f, err := parse(commands(), append(append(full, "--"), got.args...))
		require.NoError(t, err)
		require.Equal(t, c.name, again.name)
		require.Equal(t, got.args, f.args)
		for _, flag := range c.flags {
			name := flag.Names()[0]
			require.Equal(t, got.set(name), f.set(name), name)
			require.Equal(t, got.text(name), f.text(name), name)
		}
	})
}
