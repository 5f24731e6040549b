package cgo

import (
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever csrc compiles for an instruction set of its own is one of KernelSets,
// over which the tests of nets and pictures run.
func TestKernelSetsAreAllThatIsCompiled(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		require.Equal(t, []KernelSet{{"generic", true}}, KernelSets())
		return
	}
	files, err := filepath.Glob("../csrc/kernels/*.cpp")
	require.NoError(t, err)
	var compiled, listed []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile(`(?m)^#define SDGO_ISA (\w+)`).FindAllSubmatch(text, -1) {
			compiled = append(compiled, strings.ReplaceAll(string(m[1]), "_", "-"))
		}
	}
	for _, set := range KernelSets() {
		listed = append(listed, set.Name)
	}
	slices.Sort(compiled)
	slices.Sort(listed)
	require.Equal(t, slices.Compact(compiled), listed) // some have a second file
	require.Contains(t, listed, "generic")

	emulated, err := os.ReadFile("../csrc/test/emulate.sh")
	require.NoError(t, err)
	for _, name := range listed {
		require.Contains(t, string(emulated), "\n    "+name+")", "emulate.sh says which processor has it, or why none can")
	}
}

func TestFindKernels(t *testing.T) {
	names := KernelNames()
	require.Equal(t, []string{GGML, "generic"}, names[:2])
	for _, name := range names {
		got, err := FindKernels(name)
		require.NoError(t, err)
		require.Equal(t, name, got)
	}
	best, err := FindKernels("")
	require.NoError(t, err)
	require.Equal(t, names[len(names)-1], best)
	_, err = FindKernels("sse9")
	require.ErrorContains(t, err, `kernels "sse9": must be one of ggml, generic`)
	for _, set := range KernelSets() {
		if !set.Available {
			_, err := FindKernels(set.Name)
			require.ErrorContains(t, err, "this processor lacks their instructions")
			_, err = NewNet("unet", unetParams(), Config{Threads: 1, Kernels: set.Name})
			require.ErrorContains(t, err, "lacks the instructions of the kernels "+set.Name)
		}
	}
	_, err = NewNet("unet", unetParams(), Config{Threads: 1, Kernels: "sse9"})
	require.ErrorContains(t, err, "there are no kernels sse9")
}
