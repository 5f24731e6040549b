package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A model is fetched from what plays the hub, is listed, and is found by its name.
func TestPull(t *testing.T) {
	data, err := os.ReadFile(tinyModel(t))
	require.NoError(t, err)
	gated := true
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case gated && r.Header.Get("Authorization") != "Bearer hf_secret":
			w.WriteHeader(http.StatusForbidden)
		case r.URL.Path == "/a/b/resolve/v1/tiny2.gguf":
			http.ServeFile(w, r, tinyModel(t))
		case r.URL.Path == "/a/b/resolve/main/text.gguf":
			fmt.Fprint(w, "hello")
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer web.Close()
	folder := filepath.Join(t.TempDir(), "models")
	t.Setenv("SDGO_MODELS", folder)
	t.Setenv("HF_ENDPOINT", web.URL)
	o := sdgo(t, "pull", "a/b/tiny2.gguf@v1")
	require.Equal(t, ExitFailure, o.code)
	require.Contains(t, o.errors, "HF_TOKEN")
	t.Setenv("HF_TOKEN", "hf_secret")
	o = sdgo(t, "pull", "a/b/tiny2.gguf@v1")
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Equal(t, filepath.Join(folder, "tiny2.gguf")+"\n", o.out)
	require.Contains(t, o.errors, "fetched ")
	require.Contains(t, o.errors, "no SHA-256 was known before")
	require.NotContains(t, o.errors, "hf_secret")
	got, err := os.ReadFile(filepath.Join(folder, "tiny2.gguf"))
	require.NoError(t, err)
	require.Equal(t, data, got)

	o = sdgo(t, "models")
	require.Contains(t, o.out, "tiny2")
	require.Contains(t, o.out, "checkpoint")
	var list []foundModel
	require.NoError(t, json.Unmarshal([]byte(sdgo(t, "models", "--json").out), &list))
	require.Equal(t, filepath.Join(folder, "tiny2.gguf"), list[len(list)-1].Path)
	for _, name := range []string{"tiny2", "tiny2.gguf"} {
		o = sdgo(t, "txt2img", "-q", "-m", name, "-p", "x", "-s", "1", "--steps", "1", "-W", "64", "-H", "64", "-o", filepath.Join(t.TempDir(), "out.png"))
		require.Equal(t, ExitOK, o.code, o.errors)
	}
	require.Equal(t, ExitFailure, sdgo(t, "txt2img", "-q", "-m", "tiny3", "-p", "x").code)

	// Again, with events, by force, and with a hash that it does not have.
	require.Contains(t, sdgo(t, "pull", "a/b/tiny2.gguf@v1").errors, "is there already")
	o = sdgo(t, "pull", "--force", "--json", "a/b/tiny2.gguf@v1")
	require.Equal(t, ExitOK, o.code, o.errors)
	lines := strings.Split(strings.TrimSpace(o.out), "\n")
	require.Contains(t, lines[len(lines)-1], `"event":"pulled"`)
	o = sdgo(t, "pull", "--as", "other.gguf", "--sha256", strings.Repeat("0", 64), "a/b/tiny2.gguf@v1")
	require.Equal(t, ExitFailure, o.code)
	require.Contains(t, o.errors, "SHA-256 must be "+strings.Repeat("0", 64))
	require.NoFileExists(t, filepath.Join(folder, "other.gguf"))
	o = sdgo(t, "pull", "a/b/text.gguf")
	require.Contains(t, o.errors, "is no model that can be opened")
	require.Contains(t, sdgo(t, "models").out, "other")
	require.Contains(t, sdgo(t, "pull", "a/b/none.gguf").errors, "there is no such file")
	for _, args := range [][]string{{}, {"nonsense"}, {"a/b/c.txt"}, {"--sha256", "x", "sd15"}, {"http://example.com/a.gguf"}, {"--as", "../x.gguf", "a/b/c.gguf"}, {"a/b/c.gguf", "d"}} {
		require.Equal(t, ExitUsage, sdgo(t, append([]string{"pull"}, args...)...).code, args)
	}
	o = sdgo(t, "models", "--known")
	require.Contains(t, o.out, "sdxl-refiner")
	require.Contains(t, o.out, "CreativeML Open RAIL++-M")
}
