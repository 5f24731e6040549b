package sd

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A file that becomes shorter under an open model is an error of the next call.
func TestShorterWhileOpen(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // it does not let anybody
	}
	data, err := os.ReadFile(filepath.Join(netsFolder, "sd1.safetensors"))
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "short.safetensors")
	for _, o := range []Options{{}, {Type: "q8_0"}, {Kernels: "ggml", Threads: 1}} {
		require.NoError(t, os.WriteFile(path, data, 0o600))
		m, err := Open(path, o)
		require.NoError(t, err)
		defer m.Close()
		require.NoError(t, os.Truncate(path, int64(len(data)/3)))
		_, err = m.Generate(context.Background(), Request{Prompt: "a", Steps: 1, Width: 16, Height: 16})
		require.ErrorContains(t, err, "short.safetensors: the file became shorter, or could not be read, while it was in use", "%+v", o)
	}
}

// A model that is dropped without Close harms nobody: its networks are freed, and
// so are the copies of its weights and, as Linux can tell, the map of its file.
func TestModelsDroppedWithoutClose(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(netsFolder, "sd1.safetensors"))
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "dropped.safetensors")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	use := func(o Options) {
		m, err := Open(path, o)
		require.NoError(t, err)
		_, err = m.Generate(context.Background(), Request{Prompt: "a", Steps: 1, Width: 16, Height: 16})
		require.NoError(t, err)
	}
	mapped := func() bool {
		maps, _ := os.ReadFile("/proc/self/maps")
		return strings.Contains(string(maps), "dropped.safetensors")
	}
	for _, o := range []Options{{Type: "q8_0"}, {}, {Type: "f32", Kernels: "ggml", Threads: 1}} {
		use(o)
	}
	for range 100 {
		runtime.GC()
		if !mapped() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	require.Fail(t, "the file is still mapped")
}
