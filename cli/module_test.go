package cli

import (
	"bytes"
	"image"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// otherProgram is a program that somebody else could write.
const otherProgram = `package main

import (
	"context"
	"image/png"
	"log"
	"os"

	"github.com/sdgo/sdgo/sd"
)

func main() {
	model, err := sd.Open(os.Args[1], sd.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	result, err := model.Generate(context.Background(), sd.Request{Prompt: "a fox", Width: 32, Height: 16, Steps: 2})
	if err != nil {
		log.Fatal(err)
	}
	if err := png.Encode(os.Stdout, result.Images[0].Image); err != nil {
		log.Fatal(err)
	}
}
`

// Another module that imports the library builds with nothing but go build,
// and draws. (It is built with this test's own environment, so that the C++
// core comes out of the build cache.)
func TestUseFromAnotherModule(t *testing.T) {
	root, err := filepath.Abs("..")
	require.NoError(t, err)
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	require.NoError(t, err)

	folder := t.TempDir()
	write := func(name string, data []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), data, 0o666))
	}
	write("main.go", []byte(otherProgram))
	write("go.sum", sums)
	write("go.mod", []byte("module example.org/other\n\ngo 1.25.0\n"))
	command := func(name string, args ...string) string {
		c := exec.Command(name, args...)
		c.Dir = folder
		// Offline: everything that the library needs is in this machine's
		// module cache, because this test was built.
		c.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off")
		var out bytes.Buffer
		c.Stdout, c.Stderr = &out, &out
		require.NoError(t, c.Run(), "%s %v: %s", name, args, &out)
		return out.String()
	}
	command("go", "mod", "edit", "-require=github.com/sdgo/sdgo@v0.0.0", "-replace=github.com/sdgo/sdgo="+root)
	command("go", "build", "-o", "draw", ".")
	img, err := png.Decode(strings.NewReader(command(filepath.Join(folder, "draw"), tinyModel(t))))
	require.NoError(t, err)
	require.Equal(t, image.Pt(32, 16), img.Bounds().Size())
}
