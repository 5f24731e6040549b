package architecture

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// An include is a line of a C++ file of csrc, or of the C code in a Go file of cgo.
type include struct{ file, header string }

var includeLine = regexp.MustCompile(`(?m)^(?:// )?#include "([^"]+)"`)

// includes reads the folders of the rooms that are compiled from C++. csrc/test
// holds programs, which are no room and may include all.
func includes(t *testing.T) []include {
	t.Helper()
	root := filepath.Join("..", "..")
	var all []include
	for _, folder := range []string{"csrc", "cgo"} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(name string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && d.Name() == "test":
				return filepath.SkipDir
			case d.IsDir() || !slices.Contains([]string{".h", ".cpp", ".go"}, filepath.Ext(name)):
				return nil
			}
			text, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			file, err := filepath.Rel(root, name)
			for _, m := range includeLine.FindAllStringSubmatch(string(text), -1) {
				all = append(all, include{filepath.ToSlash(file), m[1]})
			}
			return err
		})
		require.NoError(t, err)
	}
	return all
}

// home is the package of a header, by its path from csrc.
func home(header string) string { return path.Join("csrc", path.Dir(header)) }

// includeProblems are the includes that do not follow the table: a file may
// include headers of its own package and of those that the package imports.
func includeProblems(all []include) []string {
	var out []string
	for _, i := range all {
		from, to := path.Dir(i.file), home(i.header)
		if from == to {
			continue
		}
		here, ok := find(from)
		if there, known := find(to); !ok || !known || !slices.Contains(here.knows, there.path) {
			out = append(out, fmt.Sprintf("%s may not include %s: %s does not import %s", i.file, i.header, from, to))
		}
	}
	return out
}

func TestIncludesFollowTheRooms(t *testing.T) {
	all := includes(t)
	require.Greater(t, len(all), 80)
	require.Empty(t, includeProblems(all))
	used := map[string]bool{}
	for _, i := range all {
		require.FileExists(t, filepath.Join("..", "..", "csrc", filepath.FromSlash(i.header)), "%s includes it, by its path from csrc", i.file)
		used[path.Dir(i.file)+" → "+home(i.header)] = true
	}
	// Imports among these packages are there for includes alone.
	for _, r := range rooms {
		for _, k := range r.knows {
			if strings.HasPrefix(r.path, "csrc") && k != "csrc/fault" {
				require.True(t, used[r.path+" → "+k], "%s imports %s and includes nothing of it", r.path, k)
			}
		}
	}
}

func TestIncludesThatRunUpAreSeen(t *testing.T) {
	for _, i := range []include{
		{"csrc/kernels/gemm.h", "core/pool.h"},
		{"csrc/core/error.h", "sdgo.h"},
		{"csrc/ops/ops.h", "nets/architecture.h"},
		{"csrc/nets/unet.cpp", "graph.h"},
		{"csrc/nets/unet.cpp", "kernels/kernels.h"},
		{"cgo/net.go", "core/error.h"},
		{"csrc/graph.h", "server/server.h"},
	} {
		require.Len(t, includeProblems([]include{i}), 1, i)
	}
	require.Empty(t, includeProblems([]include{{"csrc/graph.h", "ops/ops.h"}, {"csrc/graph.cpp", "graph.h"}, {"cgo/net.go", "sdgo.h"}}))
}
