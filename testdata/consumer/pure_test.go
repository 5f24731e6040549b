package consumer

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// packages are all packages of the module. Pure ones build and pass their tests without
// a C compiler, and so must all that they import.
var packages = []struct {
	path string
	pure bool
}{
	{"builtin", false},
	{"cgo", false},
	{"cli", false},
	{"cli/output", true},
	{"cli/report", true},
	{"cli/sdgo", false},
	{"convert", true},
	{"convert/adapter", true},
	{"convert/checkpoint", true},
	{"convert/dtype", true},
	{"convert/family", true},
	{"convert/gguf", true},
	{"convert/layout", true},
	{"convert/model", true},
	{"convert/read", true},
	{"convert/safetensors", true},
	{"convert/write", true},
	{"csrc", false},
	{"csrc/aborts", false},
	{"csrc/core", false},
	{"csrc/fault", true},
	{"csrc/fault/prebuild", true},
	{"csrc/grad", false},
	{"csrc/kernels", false},
	{"csrc/nets", false},
	{"csrc/ops", false},
	{"csrc/testnet", false},
	{"examples/batch", false},
	{"examples/convert", false},
	{"examples/customsampler", true},
	{"examples/img2img", false},
	{"examples/txt2img", false},
	{"examples/upscale", false},
	{"hub", true},
	{"internal/allocation", true},
	{"internal/architecture", true},
	{"internal/checked", true},
	{"internal/fixture", true},
	{"internal/guard", true},
	{"internal/limits", true},
	{"internal/mmap", true},
	{"internal/mutate", true},
	{"internal/nearest", true},
	{"internal/replace", true},
	{"job", true},
	{"sampler", true},
	{"sd", false},
	{"sd/adapter", false},
	{"sd/annotate", false},
	{"sd/autoencoder", false},
	{"sd/classes", true},
	{"sd/classifier", false},
	{"sd/clip", false},
	{"sd/control", false},
	{"sd/direction", true},
	{"sd/engine", false},
	{"sd/face", true},
	{"sd/family/deepfloyd", false},
	{"sd/family/flux", false},
	{"sd/family/flux2", false},
	{"sd/family/ldm", false},
	{"sd/family/pixel", false},
	{"sd/family/qwenimage", false},
	{"sd/family/sd3", false},
	{"sd/family/sdxl", false},
	{"sd/family/stablediffusion", false},
	{"sd/family/transformer", false},
	{"sd/family/zimage", false},
	{"sd/fullsize", false},
	{"sd/guide", true},
	{"sd/picture", true},
	{"sd/pipeline", false},
	{"sd/pngtext", true},
	{"sd/preprocess", true},
	{"sd/prompt", true},
	{"sd/qwen", false},
	{"sd/request", true},
	{"sd/t5", false},
	{"sd/tensor", true},
	{"sd/tokenizer", true},
	{"sd/tokenizer/bpe", true},
	{"sd/tokenizer/bytelevel", true},
	{"sd/tokenizer/special", true},
	{"sd/tokenizer/unigram", true},
	{"sd/upscale", false},
	{"server", true},
	{"server/a1111", true},
	{"server/api", true},
	{"server/catalog", true},
	{"server/fake", true},
	{"server/gallery", true},
	{"server/inputs", true},
	{"server/loose", true},
	{"server/metrics", true},
	{"server/openai", true},
	{"server/page", true},
	{"server/pool", true},
	{"server/queue", true},
	{"server/reply", true},
	{"server/security", true},
	{"server/service", true},
	{"server/wire", true},
	{"server/worker", true},
	{"third_party/govendor", true},
	{"third_party/licenses", false}, // has only tests
	{"train", true},
	{"train/chart", true},
	{"train/control", false},
	{"train/data", true},
	{"train/embedding", false},
	{"train/latent", false},
	{"train/lora", false},
	{"train/loss", true},
	{"train/network", false},
	{"train/optim", true},
	{"train/pixel", false},
	{"train/random", true},
}

const path = "github.com/sdgo/sdgo/"

// golang runs the go command without cgo in the module's root.
func golang(t *testing.T, env []string, args ...string) string {
	t.Helper()
	c := exec.Command("go", args...)
	c.Dir = filepath.Join("..", "..")
	c.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	out, err := c.CombinedOutput()
	require.NoError(t, err, "%v go %v: %s", env, args, out)
	return string(out)
}

func TestEveryPackageIsListed(t *testing.T) {
	var listed []string
	for _, p := range packages {
		listed = append(listed, path+p.path)
	}
	require.True(t, slices.IsSorted(listed))
	require.Equal(t, listed, strings.Fields(golang(t, []string{"CGO_ENABLED=1"}, "list", "./...")))
}

func TestPurePackages(t *testing.T) {
	manual, err := os.ReadFile(filepath.Join("..", "..", "docs", "library.md"))
	require.NoError(t, err)
	var pure []string
	for _, p := range packages {
		if p.pure {
			pure = append(pure, path+p.path)
			if !strings.HasPrefix(p.path, "internal/") && !strings.HasPrefix(p.path, "cli/") && !strings.HasPrefix(p.path, "csrc/") && !strings.HasPrefix(p.path, "server/") && !strings.HasPrefix(p.path, "examples/") {
				require.True(t, strings.Contains(string(manual), "`"+p.path+"`"), "docs/library.md should list %s", p.path)
			}
		}
	}
	golang(t, nil, append([]string{"build"}, pure...)...)
	golang(t, nil, append([]string{"test"}, pure...)...) // vets them, too
	golang(t, []string{"GOOS=darwin", "GOARCH=arm64"}, append([]string{"vet"}, pure...)...)
}

// Without a C compiler, packages that need one give an error that says so.
func TestWithoutCompiler(t *testing.T) {
	c := exec.Command("go", "build", path+"sd")
	c.Dir = filepath.Join("..", "..")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := c.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "sdgo_needs_CGO_ENABLED_1_and_a_Cpp_compiler")
}
