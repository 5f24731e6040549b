package architecture

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/sdgo/sdgo"

// A room is a package, or, with a path that ends in a slash, every package below
// a folder.
type room struct {
	path string

	// knows are the rooms that it may import: all of them further down the table.
	knows []string

	// pure rooms build without a C compiler.
	pure bool
}

// rooms are in the order in which data flows: a room knows only rooms below it.
var rooms = []room{
	{path: "cli/sdgo", knows: []string{"cli", "builtin", "internal/limits"}},
	{path: "examples/", knows: []string{"job", "sd", "sd/picture", "sampler", "convert", "convert/dtype", "cgo"}},
	{path: "cli", knows: []string{"cli/output", "cli/report", "hub", "server", "server/catalog", "server/gallery", "server/inputs", "server/pool", "server/queue", "server/reply", "server/security", "server/service", "server/wire", "server/worker", "job", "sd", "sd/fullsize", "sd/picture", "sd/pngtext", "sd/preprocess", "cgo", "convert", "convert/dtype", "internal/guard", "internal/limits", "sampler", "train", "train/control", "train/data", "train/embedding", "train/latent", "train/loss", "train/lora", "train/network", "train/optim", "train/pixel"}},
	{path: "hub", pure: true},
	{path: "server", knows: []string{"server/catalog", "server/wire", "server/a1111", "server/openai", "server/api", "server/page", "server/metrics", "server/service", "server/pool", "server/queue", "server/security", "server/reply"}, pure: true},
	{path: "server/a1111", knows: []string{"server/service", "server/queue", "server/catalog", "server/security", "server/reply", "server/loose", "server/wire", "internal/limits", "job", "sampler", "sd/picture", "sd/preprocess", "sd/request"}, pure: true},
	{path: "server/openai", knows: []string{"server/service", "server/queue", "server/catalog", "server/security", "server/reply", "server/loose", "job", "sampler", "sd/picture", "sd/request"}, pure: true},
	{path: "server/api", knows: []string{"server/service", "server/queue", "server/gallery", "server/catalog", "server/security", "server/reply", "server/loose", "server/wire", "job", "sampler", "sd/picture", "sd/preprocess", "sd/prompt", "sd/request", "sd/tokenizer"}, pure: true},
	{path: "server/page", pure: true},
	{path: "server/metrics", knows: []string{"server/pool", "server/queue", "sampler"}, pure: true},
	{path: "server/service", knows: []string{"server/pool", "server/queue", "server/gallery", "server/catalog", "server/inputs", "server/wire", "job", "sd/picture", "sd/preprocess", "sd/prompt", "sd/request"}, pure: true},
	{path: "server/pool", knows: []string{"server/queue", "server/wire", "job", "sd/picture", "sd/request"}, pure: true},
	{path: "server/queue", knows: []string{"server/wire", "sd/request"}, pure: true},
	{path: "server/fake", knows: []string{"server/worker", "server/wire", "sd/picture", "sd/prompt", "sd/request"}, pure: true},
	{path: "server/worker", knows: []string{"server/wire", "internal/guard", "job", "sd/picture", "sd/request"}, pure: true},
	{path: "server/gallery", knows: []string{"internal/replace", "sd/picture"}, pure: true},
	{path: "server/catalog", knows: []string{"convert", "sd/classes", "sd/tokenizer"}, pure: true},
	{path: "server/inputs", knows: []string{"sd/picture"}, pure: true},
	{path: "server/security", pure: true},
	{path: "server/reply", knows: []string{"server/loose"}, pure: true},
	{path: "server/loose", pure: true},
	{path: "server/wire", pure: true},
	{path: "cli/output", knows: []string{"sd/picture", "sd/pngtext", "internal/replace"}, pure: true},
	{path: "cli/report", pure: true},
	{path: "builtin", knows: []string{"sd"}},

	{path: "job", knows: []string{"sd/request", "sd/face", "sd/picture", "sd/preprocess", "sampler", "internal/nearest"}, pure: true},
	{path: "train/pixel", knows: []string{"train/network", "train", "train/data", "train/loss", "train/random", "sd/family/pixel", "sampler", "convert", "convert/dtype", "convert/safetensors", "cgo"}},
	{path: "train/lora", knows: []string{"train", "train/data", "train/latent", "train/random", "sd/clip", "sd/pipeline", "sd/engine", "convert", "convert/dtype", "convert/safetensors", "cgo", "internal/replace"}},
	{path: "train/control", knows: []string{"train", "train/data", "train/latent", "train/network", "train/random", "sd/control", "sd/pipeline", "sd/tensor", "convert", "convert/dtype", "convert/safetensors", "cgo", "internal/replace"}},
	{path: "train/embedding", knows: []string{"train", "train/data", "train/latent", "train/random", "sd/clip", "sd/pipeline", "convert/dtype", "convert/safetensors", "cgo", "internal/replace"}},
	{path: "train/latent", knows: []string{"train/data", "train/loss", "train/random", "train/network", "sd/family/ldm", "sd/family/sdxl", "sd/pipeline", "sd/clip", "sd/autoencoder", "sd/engine", "sd/prompt", "sd/tensor", "sampler", "convert", "cgo"}},
	{path: "train/network", knows: []string{"train/optim", "sd/engine", "cgo"}},
	{path: "train", knows: []string{"train/chart", "train/optim", "convert/dtype", "convert/safetensors", "internal/guard", "internal/replace"}, pure: true},
	{path: "train/chart", pure: true},
	{path: "train/data", knows: []string{"train/random", "sd/picture"}, pure: true},
	{path: "train/loss", knows: []string{"train/random", "sampler"}, pure: true},
	{path: "train/optim", pure: true},
	{path: "train/random", pure: true},

	{path: "sd", knows: []string{"sd/family/stablediffusion", "sd/family/sdxl", "sd/family/pixel", "sd/family/zimage", "sd/family/deepfloyd", "sd/family/flux", "sd/family/sd3", "sd/family/flux2", "sd/family/qwenimage", "sd/pipeline", "sd/adapter", "sd/control", "sd/annotate", "sd/classifier", "sd/direction", "sd/face", "sd/upscale", "sd/autoencoder", "sd/engine",
		"sd/request", "sd/picture", "sampler", "convert"}},
	{path: "sd/family/stablediffusion", knows: []string{"sd/family/ldm", "sd/pipeline", "sd/autoencoder", "sd/engine", "sd/request", "convert"}},
	{path: "sd/family/sdxl", knows: []string{"sd/family/ldm", "sd/pipeline", "sd/autoencoder", "sd/engine", "sd/request", "convert"}},
	{path: "sd/family/deepfloyd", knows: []string{"sd/pipeline", "sd/autoencoder", "sd/t5", "sd/engine", "sd/request", "sd/prompt", "sd/tensor", "sd/tokenizer/unigram", "sampler", "convert", "cgo"}},
	{path: "sd/family/flux", knows: []string{"sd/family/transformer", "sd/pipeline", "sd/autoencoder", "sd/clip", "sd/t5", "sd/engine", "sd/request", "sd/picture", "sd/prompt", "sd/tensor", "sd/tokenizer", "sd/tokenizer/unigram", "sampler", "convert", "cgo"}},
	{path: "sd/family/sd3", knows: []string{"sd/family/transformer", "sd/pipeline", "sd/autoencoder", "sd/clip", "sd/t5", "sd/engine", "sd/request", "sd/prompt", "sd/tensor", "sd/tokenizer", "sd/tokenizer/unigram", "sampler", "convert", "cgo"}},
	{path: "sd/family/flux2", knows: []string{"sd/family/transformer", "sd/pipeline", "sd/qwen", "sd/autoencoder", "sd/engine", "sd/request", "sd/tensor", "sampler", "convert", "cgo"}},
	{path: "sd/family/qwenimage", knows: []string{"sd/family/transformer", "sd/pipeline", "sd/qwen", "sd/autoencoder", "sd/engine", "sd/request", "sd/picture", "sd/prompt", "sd/tensor", "sampler", "convert", "cgo"}},
	{path: "sd/family/zimage", knows: []string{"sd/family/transformer", "sd/pipeline", "sd/qwen", "sd/autoencoder", "sd/engine", "sd/request", "sd/tensor", "sampler", "convert", "cgo"}},
	{path: "sd/family/transformer", knows: []string{"sd/pipeline", "sd/qwen", "sd/autoencoder", "sd/engine", "sd/request", "sd/picture", "sd/prompt", "sd/tensor", "sampler", "convert", "cgo"}},
	{path: "sd/family/pixel", knows: []string{"sd/pipeline", "sd/autoencoder", "sd/engine", "sd/request", "sd/classes", "sd/tensor", "sampler", "convert", "cgo"}},
	{path: "sd/family/ldm", knows: []string{"sd/pipeline", "sd/control", "sd/autoencoder", "sd/clip", "sd/engine", "sd/request", "sd/prompt", "sd/tokenizer",
		"sd/tensor", "sampler", "convert", "cgo"}},
	{path: "sd/pipeline", knows: []string{"sd/preprocess", "sd/adapter", "sd/control", "sd/classifier", "sd/direction", "sd/guide", "sd/upscale", "sd/autoencoder", "sd/engine", "sd/request", "sd/picture", "sd/prompt", "sd/tensor",
		"sampler", "cgo", "internal/guard"}},
	{path: "sd/t5", knows: []string{"sd/engine", "sd/prompt", "sd/tensor", "sd/tokenizer/unigram", "convert", "cgo"}},
	{path: "sd/qwen", knows: []string{"sd/engine", "sd/tensor", "sd/tokenizer/bytelevel", "convert", "cgo"}},
	{path: "sd/clip", knows: []string{"sd/engine", "sd/prompt", "sd/tokenizer", "sd/tensor", "convert", "cgo"}},
	{path: "sd/control", knows: []string{"sd/adapter", "sd/engine", "sd/tensor", "convert", "cgo"}},
	{path: "sd/adapter", knows: []string{"sd/engine", "convert"}},
	{path: "sd/classifier", knows: []string{"sd/classes", "sd/engine", "sd/tensor", "sampler", "convert", "cgo"}},
	{path: "sd/face", knows: []string{"convert/dtype"}, pure: true},
	{path: "sd/direction", knows: []string{"convert/safetensors", "internal/replace"}, pure: true},
	{path: "sd/guide", knows: []string{"sd/tensor", "sampler"}, pure: true},
	{path: "sd/annotate", knows: []string{"sd/engine", "sd/picture", "sd/tensor", "convert", "cgo"}},
	{path: "sd/upscale", knows: []string{"sd/engine", "sd/picture", "sd/tensor", "convert", "cgo", "internal/guard"}},
	{path: "sd/autoencoder", knows: []string{"sd/engine", "sd/tensor", "sampler", "convert", "cgo"}},
	{path: "sd/engine", knows: []string{"sd/tensor", "convert", "convert/dtype", "cgo", "internal/guard", "internal/limits"}},
	{path: "sd/request", knows: []string{"sd/picture", "sd/preprocess", "sampler"}, pure: true},
	{path: "sd/tensor", pure: true},
	{path: "sd/fullsize", knows: []string{"convert", "convert/gguf", "convert/dtype", "cgo", "internal/replace"}},
	{path: "sd/preprocess", knows: []string{"sd/picture", "internal/limits"}, pure: true},
	{path: "sd/picture", knows: []string{"sd/pngtext", "internal/guard"}, pure: true},
	{path: "sd/pngtext", knows: []string{"internal/guard"}, pure: true},
	{path: "sd/prompt", pure: true},
	{path: "sd/classes", knows: []string{"internal/nearest"}, pure: true},
	{path: "sd/tokenizer", knows: []string{"sd/tokenizer/bpe"}, pure: true},
	{path: "sd/tokenizer/bytelevel", knows: []string{"sd/tokenizer/bpe", "sd/tokenizer/special"}, pure: true},
	{path: "sd/tokenizer/unigram", knows: []string{"sd/tokenizer/special"}, pure: true},
	{path: "sd/tokenizer/special", pure: true},
	{path: "sd/tokenizer/bpe", pure: true},

	{path: "internal/mutate", knows: []string{"convert/dtype"}, pure: true},

	{path: "internal/fixture", knows: []string{"convert/family", "convert/model", "convert/safetensors", "convert/dtype"}, pure: true},

	{path: "convert", knows: []string{"convert/adapter", "convert/write", "convert/read", "convert/family", "convert/model", "convert/dtype", "convert/safetensors"}, pure: true},
	{path: "convert/adapter", knows: []string{"convert/read", "convert/family", "convert/model", "convert/dtype", "convert/safetensors"}, pure: true},
	{path: "convert/write", knows: []string{"convert/family", "convert/model", "convert/gguf", "convert/safetensors", "convert/dtype",
		"internal/guard", "internal/limits", "internal/replace"}, pure: true},
	{path: "convert/read", knows: []string{"convert/family", "convert/layout", "convert/model", "convert/checkpoint", "convert/gguf", "convert/safetensors",
		"convert/dtype", "internal/mmap"}, pure: true},
	{path: "convert/family", knows: []string{"convert/layout", "convert/model", "convert/dtype", "sampler"}, pure: true},
	{path: "convert/layout", knows: []string{"convert/model"}, pure: true},
	{path: "convert/model", knows: []string{"convert/checkpoint", "convert/dtype", "internal/limits", "internal/mmap"}, pure: true},
	{path: "convert/checkpoint", pure: true},
	{path: "convert/gguf", knows: []string{"convert/dtype"}, pure: true},
	{path: "convert/safetensors", pure: true},
	{path: "convert/dtype", pure: true},
	{path: "sampler", knows: []string{"internal/nearest"}, pure: true},

	{path: "cgo", knows: []string{"csrc", "internal/limits"}},
	{path: "csrc/fault/prebuild", knows: []string{"csrc/fault"}, pure: true},
	{path: "csrc/fault", pure: true},
	{path: "csrc/testnet", knows: []string{"csrc", "csrc/core", "csrc/nets", "csrc/ops"}},
	{path: "csrc", knows: []string{"csrc/nets", "csrc/grad", "csrc/ops", "csrc/core", "csrc/kernels"}},
	{path: "csrc/grad", knows: []string{"csrc/ops", "csrc/core"}},
	{path: "csrc/nets", knows: []string{"csrc/ops", "csrc/core"}},
	{path: "csrc/ops", knows: []string{"csrc/core", "csrc/kernels"}},
	{path: "csrc/aborts", knows: []string{"csrc/core"}},
	{path: "csrc/core", knows: []string{"csrc/kernels"}},
	{path: "csrc/kernels"},

	{path: "internal/", pure: true},
	{path: "third_party/", pure: true},
}

// only are modules of others that one room alone may import.
var only = map[string]string{
	"github.com/ollama/ollama":       "csrc/core",
	"github.com/urfave/cli":          "cli",
	"github.com/schollz/progressbar": "cli/report",
}

// pkg is what the go command says about a package.
type pkg struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

// problems are the ways in which packages break the table.
func problems(all []pkg) []string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, p := range all {
		path := strings.TrimPrefix(p.ImportPath, module+"/")
		here, ok := find(path)
		if !ok {
			add("%s is in no room: add it to the table of internal/architecture", path)
			continue
		}
		for _, i := range p.Imports {
			if to, ours := strings.CutPrefix(i, module+"/"); ours {
				if there, ok := find(to); !ok || !slices.Contains(here.knows, name(there, to)) {
					add("%s may not import %s", path, to)
				}
			}
		}
		for _, i := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			to, ours := strings.CutPrefix(i, module+"/")
			if there, ok := find(to); ours && ok && here.pure && !there.pure {
				add("%s builds without a C compiler, and %s, which it or its test imports, does not", path, to)
			}
			for theirs, by := range only {
				if strings.HasPrefix(i, theirs) && path != by {
					add("%s may not import %s: only %s does", path, theirs, by)
				}
			}
		}
	}
	return out
}

// find is the room of a package.
func find(path string) (room, bool) {
	for _, r := range rooms {
		if path == r.path || strings.HasSuffix(r.path, "/") && strings.HasPrefix(path, r.path) {
			return r, true
		}
	}
	return room{}, false
}

// name is how a room's list of known rooms names a package: a folder's packages
// one by one.
func name(r room, path string) string {
	if strings.HasSuffix(r.path, "/") {
		return path
	}
	return r.path
}

// systems are the builds whose imports count: files for one system, or for
// builds without cgo, import what others do not.
var systems = [][]string{
	{"GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=1"},
	{"GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0"},
	{"GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=1"},
	{"GOOS=darwin", "GOARCH=arm64", "CGO_ENABLED=1"},
}

// list asks the go command for the module's packages. Nothing is compiled.
func list(t *testing.T, system []string) []pkg {
	t.Helper()
	c := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	c.Dir = filepath.Join("..", "..")
	c.Env = append(os.Environ(), system...)
	c.Stderr = os.Stderr
	out, err := c.Output()
	require.NoError(t, err)
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		err := d.Decode(&p)
		if err == io.EOF {
			return all
		}
		require.NoError(t, err)
		all = append(all, p)
	}
}

func TestImportsFollowTheRooms(t *testing.T) {
	used := map[string]bool{}
	for _, system := range systems {
		all := list(t, system)
		require.Greater(t, len(all), 20)
		require.Empty(t, problems(all), system)
		for _, p := range all {
			here, _ := find(strings.TrimPrefix(p.ImportPath, module+"/"))
			for _, i := range p.Imports {
				used[here.path+" → "+strings.TrimPrefix(i, module+"/")] = true
			}
			used[here.path] = true
		}
	}
	// The table says nothing that is not so.
	for _, r := range rooms {
		require.True(t, used[r.path], "%s is in the table and has no package", r.path)
		for _, k := range r.knows {
			require.True(t, used[r.path+" → "+k], "the table lets %s import %s, which it does not", r.path, k)
		}
	}
}

func TestTheTableRunsDown(t *testing.T) {
	for i, r := range rooms {
		for _, k := range r.knows {
			there, ok := find(k)
			require.True(t, ok, k)
			at := slices.IndexFunc(rooms, func(o room) bool { return o.path == there.path })
			require.Greater(t, at, i, "%s may import %s, which is further up", r.path, k)
			require.True(t, !r.pure || there.pure, "%s is pure and may import %s, which is not", r.path, k)
		}
	}
}

func TestWhatBreaksTheTableIsSeen(t *testing.T) {
	for _, c := range []struct{ from, to, problem string }{
		{"sampler", "sd", "sampler may not import sd"},
		{"sampler", "cgo", "sampler may not import cgo"},
		{"convert", "cgo", "convert may not import cgo"},
		{"convert/family", "convert/read", "convert/family may not import convert/read"},
		{"convert/read", "convert/write", "convert/read may not import convert/write"},
		{"cgo", "convert/dtype", "cgo may not import convert/dtype"},
		{"csrc", "cgo", "csrc may not import cgo"},
		{"sd", "cli", "sd may not import cli"},
		{"internal/mmap", "internal/guard", "internal/mmap may not import internal/guard"},
	} {
		got := problems([]pkg{{ImportPath: module + "/" + c.from, Imports: []string{"fmt", module + "/" + c.to}}})
		require.Contains(t, got, c.problem)
	}
	require.Equal(t, []string{"nowhere is in no room: add it to the table of internal/architecture"},
		problems([]pkg{{ImportPath: module + "/nowhere"}}))
	require.Len(t, problems([]pkg{{ImportPath: module + "/convert", XTestImports: []string{module + "/sd"}}}), 1)
	require.Equal(t, []string{"sd may not import github.com/ollama/ollama: only csrc/core does"},
		problems([]pkg{{ImportPath: module + "/sd", Imports: []string{"github.com/ollama/ollama/ml/backend/ggml/ggml/src"}}}))
	require.Empty(t, problems([]pkg{{ImportPath: module + "/sd", Imports: []string{"fmt", module + "/sd/pipeline"}}}))
}

// The page that contributors read names each room.
func TestTheRoomsAreDocumented(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "architecture.md"))
	require.NoError(t, err)
	for _, r := range rooms {
		require.Contains(t, string(page), "`"+r.path+"`")
	}
}
