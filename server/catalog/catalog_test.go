package catalog

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const nets, upscale, taesd = "../../testdata/nets/", "../../testdata/upscale/", "../../testdata/taesd/"

func copyTo(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Dir(to), 0o755))
	require.NoError(t, os.WriteFile(to, data, 0o644))
}

func names(all []Entry) (out []string) {
	for _, e := range all {
		out = append(out, e.Name)
	}
	return out
}

func TestFolder(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	copyTo(t, nets+"sd1.safetensors", dir+"/Stable-diffusion/Dream.safetensors")
	copyTo(t, nets+"sd2.safetensors", dir+"/Stable-diffusion/dreamer.safetensors")
	copyTo(t, nets+"sd1.safetensors", dir+"/other/Dream.safetensors")
	copyTo(t, upscale+"x4.pth", dir+"/ESRGAN/x4.pth")
	copyTo(t, taesd+"tiny.safetensors", dir+"/tiny.safetensors")
	copyTo(t, nets+"sd1.safetensors", outside+"/secret.safetensors")
	require.NoError(t, os.WriteFile(dir+"/broken.safetensors", []byte("xxx"), 0o644))
	require.NoError(t, os.WriteFile(dir+"/notes.txt", []byte("xxx"), 0o644))
	require.NoError(t, os.Symlink(outside+"/secret.safetensors", dir+"/link.safetensors"))
	require.NoError(t, os.Symlink(outside, dir+"/folder"))
	builtin := Entry{Name: "noto", File: "noto.gguf", Kind: Checkpoint, Hash: "00112233445566"}
	c, err := New(Config{Folder: dir, Files: []string{nets + "sd2.safetensors", nets + "sd1-diffusers"}, Builtin: []Entry{builtin}})
	require.NoError(t, err)
	require.Equal(t, []string{"noto", "sd2", "sd1-diffusers", "Stable-diffusion/Dream", "dreamer", "other/Dream"}, names(c.Entries(Checkpoint)))
	require.Equal(t, []string{"x4"}, names(c.Entries(Upscaler)))
	require.Equal(t, 4, c.Entries(Upscaler)[0].Scale)
	require.Equal(t, []string{"tiny"}, names(c.Entries(TAESD)))
	other := c.Entries(Other)
	require.Equal(t, []string{"broken"}, names(other))
	require.NotContains(t, other[0].Why, dir)

	for name, want := range map[string]string{"NOTO": "noto", "noto.gguf": "noto", "noto.gguf [0011223344]": "noto", "0011223344": "noto", "001122": "noto",
		"dreamer": "dreamer", "Stable-diffusion/dream": "Stable-diffusion/Dream", "dreamer.safetensors": "dreamer", "sd1": "sd1-diffusers"} {
		e, err := c.Lookup("model", name, Checkpoint)
		require.NoError(t, err, name)
		require.Equal(t, want, e.Name)
	}
	for _, name := range []string{"", "nothing", "../../etc/passwd", "/etc/passwd", dir + "/tiny.safetensors", "d\x00", `..\x`, "secret", "link", "x4", "tiny", "sd"} {
		_, err := c.Lookup("model", name, Checkpoint)
		var wrong *NotFoundError
		require.ErrorAs(t, err, &wrong, name)
		require.NotContains(t, err.Error(), dir+"/S")
	}

	// Files that come and go are noticed.
	copyTo(t, nets+"sd1.safetensors", dir+"/new.safetensors")
	require.NoError(t, os.Remove(dir+"/Stable-diffusion/dreamer.safetensors"))
	require.NoError(t, c.Scan())
	require.Equal(t, []string{"noto", "sd2", "sd1-diffusers", "Stable-diffusion/Dream", "new", "other/Dream"}, names(c.Entries(Checkpoint)))

	e, err := c.Lookup("model", "new", Checkpoint)
	require.NoError(t, err)
	data, err := os.ReadFile(e.Path)
	require.NoError(t, err)
	sum := sha256.Sum256(data)
	c.Hash(e)
	require.Eventually(t, func() bool {
		e, err = c.Lookup("model", "new", Checkpoint)
		return err == nil && e.Hash == hex.EncodeToString(sum[:])
	}, 10*time.Second, time.Millisecond)
	require.Equal(t, "new.safetensors ["+hex.EncodeToString(sum[:])[:10]+"]", e.Title())
}

func TestNamedFilesMustBeModels(t *testing.T) {
	_, err := New(Config{Files: []string{"missing.safetensors"}})
	require.Error(t, err)
	_, err = New(Config{Folder: "missing"})
	require.Error(t, err)
}
