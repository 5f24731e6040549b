//go:build unix

package read

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/internal/fixture"
)

// Whatever a folder's files are links to, none is read without an end.
func TestFolderOfDevices(t *testing.T) {
	for name, want := range map[string]string{
		"tokenizer/merges.txt":                                "merges.txt must be a regular file of at most",
		"unet/config.json":                                    "unet/config.json: config.json must be a regular file of at most",
		"unet/diffusion_pytorch_model.safetensors":            "unet: diffusion_pytorch_model.safetensors: not a regular file",
		"unet/diffusion_pytorch_model.safetensors.index.json": "must be a regular file of at most 8388608 bytes, got 0",
	} {
		dir, _ := fixture.Folder(t, nil)
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.Remove(path); err != nil {
			require.NoError(t, os.Remove(filepath.Join(dir, "unet", "diffusion_pytorch_model.safetensors")))
		}
		require.NoError(t, os.Symlink("/dev/zero", path))
		_, err := Load(dir)
		require.ErrorContains(t, err, want)
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o666))
	_, err := Load(pipe)
	require.ErrorContains(t, err, "not a regular file")
}
