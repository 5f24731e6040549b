// Package fault builds a plugin of ggml's with a device that fails as it is
// told, for tests of what happens then. The device is "fault0"; csrc/test/fault.cpp
// says how it is told.
package fault

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// Build compiles the plugin into a file libggml-NAME.so in a folder and returns
// its path. Macros, such as "NO_DEVICE", make one that can't be loaded; STAMP is
// the version of ggml's module, if not the pinned one.
func Build(folder, name string, macros ...string) (string, error) {
	const module = "github.com/ollama/ollama"
	list, err := run("go", "list", "-m", "-f", "{{.Dir}}\t{{.Version}}", module)
	if err != nil {
		return "", err
	}
	ggml, version, _ := strings.Cut(list, "\t")
	core, err := run("go", "list", "-f", "{{.Dir}}", "github.com/sdgo/sdgo/csrc")
	if err != nil {
		return "", err
	}
	cxx, err := run("go", "env", "CXX")
	if err != nil {
		return "", err
	}
	compiler := strings.Fields(cxx)
	path := filepath.Join(folder, "libggml-"+name+".so")
	ggml = filepath.Join(ggml, "ml", "backend", "ggml", "ggml")
	args := append(compiler[1:], "-std=c++17", "-shared", "-fPIC", "-o", path,
		"-I", filepath.Join(ggml, "include"), "-I", filepath.Join(ggml, "src"))
	stamped := false
	for _, m := range macros {
		stamped = stamped || strings.HasPrefix(m, "STAMP=")
		args = append(args, "-D"+m)
	}
	if !stamped {
		args = append(args, fmt.Sprintf("-DSTAMP=%q", version))
	}
	_, err = run(compiler[0], append(args, filepath.Join(core, "test", "fault.cpp"))...)
	return path, err
}

func run(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}
