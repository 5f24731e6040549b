package core

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestABI compiles the core's declarations of ggml's interface against the
// headers of the module that is linked in.
func TestABI(t *testing.T) {
	// The compiler's reads are not seen by the test cache; these are.
	for _, source := range []string{"ggml_abi.h", "ggml_abi_types.h", "../test/abi_check.cpp"} {
		_, err := os.ReadFile(source)
		require.NoError(t, err)
	}
	run := func(name string, args ...string) string {
		out, err := exec.Command(name, args...).CombinedOutput()
		require.NoError(t, err, "%s %s\n%s", name, strings.Join(args, " "), out)
		return strings.TrimSpace(string(out))
	}
	types, err := os.ReadFile("ggml_abi_types.h")
	require.NoError(t, err)
	version := run("go", "list", "-m", "-f", "{{.Version}}", "github.com/ollama/ollama")
	require.Contains(t, string(types), `#define SDGO_GGML_VERSION "`+version+`"`)
	module := run("go", "list", "-m", "-f", "{{.Dir}}", "github.com/ollama/ollama")
	headers := filepath.Join(module, "ml", "backend", "ggml", "ggml", "include")
	cxx := strings.Fields(run("go", "env", "CXX"))
	check := append(cxx[1:], "-std=c++17", "-fsyntax-only", "-I", headers, "-I", filepath.Join(filepath.Dir(headers), "src"), "-I", "..", filepath.Join("..", "test", "abi_check.cpp"))
	run(cxx[0], check...)
}
