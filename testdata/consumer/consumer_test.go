// Package consumer tests how other modules use this one (make consumer; make test runs
// it after the C++ core is in the build cache).
package consumer

import (
	"bytes"
	"encoding/json"
	"image"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// module is another module that uses this working copy of the library.
type module struct {
	t      *testing.T
	folder string
	env    []string
}

// newModule puts the program into a new folder, whose path has spaces.
func newModule(t *testing.T) module {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	require.NoError(t, err)
	m := module{t: t, folder: filepath.Join(t.TempDir(), "another user", "other module")}
	require.NoError(t, os.CopyFS(m.folder, os.DirFS("program")))
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	require.NoError(t, err)
	m.write("go.sum", string(sums))
	m.write("go.mod", "module example.org/theirs\n\ngo 1.25.0\n")
	// Offline: the modules that the library names are in the module cache, because it
	// was built. Those that only they name need not be; so the library's requirements
	// are written before Go resolves any, as "go mod tidy" writes them. Its own flags,
	// so that the core is in the build cache.
	m.env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off")
	edit := []string{"mod", "edit", "-require=github.com/sdgo/sdgo@v0.0.0", "-replace=github.com/sdgo/sdgo=" + root}
	m.run(m.folder, "go", append(edit, requirements(t, root)...)...)
	m.run(m.folder, "go", "list", "-deps", "-test", "./...")
	return m
}

// requirements are the flags of "go mod edit" that add what the library requires.
func requirements(t *testing.T, root string) []string {
	t.Helper()
	out, err := exec.Command("go", "mod", "edit", "-json", filepath.Join(root, "go.mod")).Output()
	require.NoError(t, err)
	var file struct {
		Require []struct{ Path, Version string }
	}
	require.NoError(t, json.Unmarshal(out, &file))
	require.NotEmpty(t, file.Require)
	var flags []string
	for _, r := range file.Require {
		flags = append(flags, "-require="+r.Path+"@"+r.Version)
	}
	return flags
}

func (m module) write(name, text string) {
	require.NoError(m.t, os.WriteFile(filepath.Join(m.folder, name), []byte(text), 0o666))
}

// run runs a command in a folder.
func (m module) run(folder, name string, args ...string) string {
	m.t.Helper()
	c := exec.Command(name, args...)
	c.Dir, c.Env = folder, m.env
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	require.NoError(m.t, c.Run(), "%s %v: %s", name, args, &out)
	return out.String()
}

// requirePicture runs a command that writes a file into another working
// directory, and decodes the picture.
func (m module) requirePicture(name string, args ...string) image.Image {
	m.t.Helper()
	elsewhere := filepath.Join(m.t.TempDir(), "where it runs")
	require.NoError(m.t, os.Mkdir(elsewhere, 0o777))
	path := filepath.Join(elsewhere, "picture.png")
	m.run(elsewhere, name, append(args, path)...)
	file, err := os.Open(path)
	require.NoError(m.t, err)
	defer file.Close()
	picture, err := png.Decode(file)
	require.NoError(m.t, err)
	require.Equal(m.t, image.Pt(64, 32), picture.Bounds().Size())
	return picture
}

func TestGoCommands(t *testing.T) {
	m := newModule(t)
	m.run(m.folder, "go", "vet", "./...")
	m.run(m.folder, "go", "test", "./...")
	m.run(m.folder, "go", "test", "-race", "./...")

	program := filepath.Join(t.TempDir(), "a program")
	m.run(t.TempDir(), "go", "build", "-C", m.folder, "-o", program, ".")
	built := m.requirePicture(program)
	ran := m.requirePicture("go", "run", "-C", m.folder, ".")
	require.Equal(t, built, ran)
}

// A static program draws the same picture. The linker's warnings are explained in
// docs/library.md.
func TestStatic(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("other systems have no static C library")
	}
	m := newModule(t)
	program := filepath.Join(m.folder, "program")
	m.run(m.folder, "go", "build", "-o", program, ".")
	want := m.requirePicture(program)

	said := m.run(m.folder, "go", "build", "-tags", "netgo,osusergo", "-ldflags", "-linkmode external -extldflags -static", "-o", program, ".")
	for line := range strings.Lines(said) {
		if strings.Contains(line, "warning:") {
			require.Contains(t, line, "'dlopen' in statically linked applications")
		}
	}
	if ldd, err := exec.LookPath("ldd"); err == nil {
		out, _ := exec.Command(ldd, program).CombinedOutput()
		require.Contains(t, string(out), "not a dynamic executable")
	}
	require.Equal(t, want, m.requirePicture(program))
}

// With a vendor folder neither module cache nor network are needed. Everything is
// compiled again here, in a path with spaces, which -O1 makes twice as fast.
func TestVendored(t *testing.T) {
	m := newModule(t)
	m.run(m.folder, "go", "run", "-mod=mod", "github.com/sdgo/sdgo/third_party/govendor")
	m.env = append(m.env, "GOFLAGS=-mod=vendor", "GOMODCACHE="+t.TempDir(), "CGO_CFLAGS=-O1", "CGO_CXXFLAGS=-O1")
	flags := m.run(m.folder, "go", "list", "-deps", "-f", "{{range .CgoCPPFLAGS}}{{println .}}{{end}}", ".")
	for line := range strings.Lines(flags) {
		if folder, ok := strings.CutPrefix(strings.TrimSpace(line), "-I"); ok {
			require.DirExists(t, folder)
		}
	}
	program := filepath.Join(m.folder, "program")
	m.run(m.folder, "go", "build", "-o", program, ".")
	m.requirePicture(program)
}
