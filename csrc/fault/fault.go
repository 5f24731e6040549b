// Package fault builds a plugin of ggml's with a device that fails on request, for tests
// of what happens then. The device is "fault0"; csrc/test/fault.cpp says how to make it
// fail.
package fault

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Prebuilt is the environment variable that names a folder with plugins that
// command prebuild has compiled, for tests that run where no compiler does, such
// as under Wine.
const Prebuilt = "SDGO_FAULT_PLUGINS"

// Ending is what the names of this system's shared libraries end in.
func Ending() string {
	if runtime.GOOS == "windows" {
		return ".dll"
	}
	return ".so"
}

// Broken are the plugins that can't be loaded, each with its macros.
var Broken = map[string][]string{
	"stamp":      {"NO_STAMP"},
	"old":        {`STAMP="v0.1.0"`},
	"api":        {"WRONG_API"},
	"null":       {"NO_REG"},
	"deviceless": {"NO_DEVICE"},
}

// Build compiles the plugin into a file libggml-NAME.so (.dll on Windows) in a
// folder and returns its path: that of the whole one, "fault", or of one of
// Broken.
func Build(folder, name string) (string, error) {
	path := filepath.Join(folder, "libggml-"+name+Ending())
	if from := os.Getenv(Prebuilt); from != "" {
		library, err := os.ReadFile(filepath.Join(from, filepath.Base(path)))
		if err != nil {
			return "", err
		}
		return path, os.WriteFile(path, library, 0o755)
	}
	return path, compile(path, Broken[name]...)
}

// Prebuild compiles every plugin into a folder, which it makes.
func Prebuild(folder, ending string) error {
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return err
	}
	for _, name := range append(slices.Collect(maps.Keys(Broken)), "fault") {
		if err := compile(filepath.Join(folder, "libggml-"+name+ending), Broken[name]...); err != nil {
			return err
		}
	}
	return nil
}

// compile compiles the plugin with some macros; STAMP is the version of ggml's
// module, if not the pinned one.
func compile(path string, macros ...string) error {
	const module = "github.com/ollama/ollama"
	list, err := run("go", "list", "-m", "-f", "{{.Dir}}\t{{.Version}}", module)
	if err != nil {
		return err
	}
	ggml, version, _ := strings.Cut(list, "\t")
	core, err := run("go", "list", "-f", "{{.Dir}}", "github.com/sdgo/sdgo/csrc")
	if err != nil {
		return err
	}
	cxx, err := run("go", "env", "CXX")
	if err != nil {
		return err
	}
	compiler := strings.Fields(cxx)
	ggml = filepath.Join(ggml, "ml", "backend", "ggml", "ggml")
	kind := []string{"-shared", "-fPIC"}
	if strings.HasSuffix(path, ".dll") {
		// With the compiler's own libraries linked in. The stamp is marked as exported,
		// and then unmarked symbols are not exported by default.
		kind = []string{"-shared", "-static", "-Wl,--export-all-symbols"}
	}
	args := append(compiler[1:], append(kind, "-std=c++17", "-o", path,
		"-I", filepath.Join(ggml, "include"), "-I", filepath.Join(ggml, "src"))...)
	stamped := false
	for _, m := range macros {
		stamped = stamped || strings.HasPrefix(m, "STAMP=")
		args = append(args, "-D"+m)
	}
	if !stamped {
		args = append(args, fmt.Sprintf("-DSTAMP=%q", version))
	}
	_, err = run(compiler[0], append(args, filepath.Join(core, "test", "fault.cpp"))...)
	return err
}

func run(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}
