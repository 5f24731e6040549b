// Package licenses only has a test of the licences in this folder.
package licenses

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every module that is linked into the program is here with its licence, word for
// word, and no other is. licenses.sh puts that right.
func TestLicencesOfLinkedModules(t *testing.T) {
	list := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}\t{{.Dir}}{{end}}{{end}}", "../../cli/sdgo")
	list.Stderr = os.Stderr
	out, err := list.Output()
	require.NoError(t, err)
	linked := map[string]bool{"go.txt": true} // the standard library
	for line := range strings.Lines(string(out)) {
		path, dir, ok := strings.Cut(strings.TrimSpace(line), "\t")
		if !ok {
			continue
		}
		name := strings.ReplaceAll(path, "/", "_") + ".txt"
		linked[name] = true
		ours, err := os.ReadFile(filepath.Join("modules", name))
		require.NoError(t, err, "run third_party/licenses.sh")
		theirs, err := filepath.Glob(filepath.Join(dir, "LICEN[SC]E*"))
		require.NoError(t, err)
		require.NotEmpty(t, theirs, "%s has no licence", path)
		for _, file := range theirs {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Contains(t, string(ours), string(text), "run third_party/licenses.sh")
		}
	}
	require.Greater(t, len(linked), 10)
	here, err := os.ReadDir("modules")
	require.NoError(t, err)
	for _, file := range here {
		require.True(t, linked[file.Name()], "%s is no longer linked: run third_party/licenses.sh", file.Name())
	}
}
