//go:build unix

package convert

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever a folder's files are links to, none is read without an end.
func TestFolderOfDevices(t *testing.T) {
	for name, want := range map[string]string{
		"tokenizer/merges.txt":                                "merges.txt: 0 bytes, a file of at most",
		"unet/config.json":                                    "unet/config.json: config.json: 0 bytes, a file of at most",
		"unet/diffusion_pytorch_model.safetensors":            "unet: diffusion_pytorch_model.safetensors: no regular file",
		"unet/diffusion_pytorch_model.safetensors.index.json": "0 bytes, a file of at most",
	} {
		dir, _ := folder(t, nil)
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
	require.ErrorContains(t, err, "no regular file")
}
