package hub

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// hub plays a model hub and the server of files that it redirects to.
type hub struct {
	*httptest.Server
	files *httptest.Server

	content  []byte
	etag     string // of the server of files
	sum      string // that the hub tells
	size     int64
	cut      atomic.Int64 // replies break off after so many bytes; 0 is never
	fails    atomic.Int64 // replies with status 503
	requests atomic.Int64
	gated    string // the token that it asks for
	ranges   []string
	seen     []string // headers Authorization that reached the server of files
	wrong    func(w http.ResponseWriter, r *http.Request) bool
}

func hexOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func newHub(t *testing.T) *hub {
	h := &hub{content: make([]byte, 3<<20+17), etag: `"v1"`}
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(h.content)
	h.sum, h.size = hexOf(h.content), int64(len(h.content))
	h.files = httptest.NewServer(http.HandlerFunc(h.file))
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.requests.Add(1)
		if h.wrong != nil && h.wrong(w, r) {
			return
		}
		switch {
		case h.gated != "" && r.Header.Get("Authorization") != "Bearer "+h.gated:
			w.WriteHeader(http.StatusUnauthorized)
		case h.fails.Add(-1) >= 0:
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusServiceUnavailable)
		case !strings.HasPrefix(r.URL.Path, "/a/b/resolve/"):
			w.WriteHeader(http.StatusNotFound)
		default:
			w.Header().Set("X-Linked-Etag", `"`+h.sum+`"`)
			w.Header().Set("X-Linked-Size", fmt.Sprint(h.size))
			http.Redirect(w, r, strings.Replace(h.files.URL, "127.0.0.1", "localhost", 1)+"/blob?signed=1", http.StatusFound)
		}
	}))
	t.Cleanup(func() { h.Close(); h.files.Close() })
	return h
}

// file answers with the file, or a part of it, or breaks off.
func (h *hub) file(w http.ResponseWriter, r *http.Request) {
	h.ranges, h.seen = append(h.ranges, r.Header.Get("Range")), append(h.seen, r.Header.Get("Authorization"))
	w.Header().Set("ETag", h.etag)
	w.Header().Set("Content-Type", "application/octet-stream")
	if n := h.cut.Load(); n > 0 {
		w = &cutting{w, n}
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(h.content))
}

// cutting breaks a reply off.
type cutting struct {
	http.ResponseWriter
	left int64
}

func (c *cutting) Write(p []byte) (int, error) {
	if c.left -= int64(len(p)); c.left < 0 {
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return c.ResponseWriter.Write(p)
}

func (h *hub) fetch(t *testing.T, folder string, f File, change func(*Options)) (Result, error) {
	o := Options{Hub: h.URL, Pause: time.Millisecond}
	if change != nil {
		change(&o)
	}
	if f.URL == "" {
		f.URL, f.Name = h.URL+"/a/b/resolve/main/x.gguf", "x.gguf"
	}
	return Fetch(t.Context(), f, folder, o)
}

// left are the files in a folder.
func left(t *testing.T, folder string) (names []string) {
	all, err := os.ReadDir(folder)
	require.NoError(t, err)
	for _, e := range all {
		names = append(names, e.Name())
	}
	return names
}

func TestFetch(t *testing.T) {
	h, folder := newHub(t), filepath.Join(t.TempDir(), "new", "models")
	var steps []int64
	r, err := h.fetch(t, folder, File{}, func(o *Options) {
		o.Progress = func(done, total int64) { require.Equal(t, h.size, total); steps = append(steps, done) }
		o.Token = "secret"
	})
	require.NoError(t, err)
	require.Equal(t, Result{Path: filepath.Join(folder, "x.gguf"), Bytes: h.size, SHA256: h.sum, Checked: true}, r)
	data, err := os.ReadFile(r.Path)
	require.NoError(t, err)
	require.Equal(t, h.content, data)
	require.Equal(t, h.size, steps[len(steps)-1])
	require.IsIncreasing(t, steps)
	require.Equal(t, []string{"x.gguf"}, left(t, folder))
	require.Equal(t, []string{""}, h.seen, "the token is the hub's alone")

	// What is there is not fetched again.
	_, err = h.fetch(t, folder, File{}, nil)
	require.ErrorIs(t, err, ErrExists)
	f := File{URL: h.URL + "/a/b/resolve/main/x.gguf", Name: "x.gguf", SHA256: h.sum}
	r, err = h.fetch(t, folder, f, nil)
	require.NoError(t, err)
	require.True(t, r.Already)
	f.SHA256 = hexOf(nil)
	_, err = h.fetch(t, folder, f, nil)
	require.ErrorIs(t, err, ErrExists)
	require.ErrorContains(t, err, "another SHA-256")
	before := h.requests.Load()
	_, err = h.fetch(t, folder, File{}, func(o *Options) { o.Force = true })
	require.NoError(t, err)
	require.Equal(t, before+1, h.requests.Load())
}

// A broken connection goes on where it was, at once and in the next call.
func TestResume(t *testing.T) {
	h, folder := newHub(t), t.TempDir()
	h.cut.Store(1 << 20)
	r, err := h.fetch(t, folder, File{}, nil)
	require.NoError(t, err)
	require.Equal(t, h.sum, r.SHA256)
	require.Greater(t, len(h.ranges), 2)
	require.Empty(t, h.ranges[0])
	require.Regexp(t, `^bytes=\d+-$`, h.ranges[1])

	folder = t.TempDir()
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	f := File{URL: h.URL + "/a/b/resolve/main/x.gguf", Name: "x.gguf"}
	_, err = Fetch(ctx, f, folder, Options{Hub: h.URL, Pause: time.Millisecond, Progress: func(done, _ int64) {
		if done > 1<<20 {
			cancel(stopped)
		}
	}})
	require.ErrorIs(t, err, stopped)
	require.Equal(t, []string{"x.gguf.part", "x.gguf.part.json"}, left(t, folder))
	h.cut.Store(0)
	r, err = h.fetch(t, folder, File{}, nil)
	require.NoError(t, err)
	require.Greater(t, r.Resumed, int64(1<<20))
	require.Equal(t, h.sum, r.SHA256)

	// A part that is complete is only checked.
	require.NoError(t, os.Rename(r.Path, r.Path+".part"))
	require.NoError(t, os.WriteFile(r.Path+".part.json", []byte(`{"url": "`+f.URL+`", "etag": "\"v1\""}`), 0o600))
	h.cut.Store(1)
	r, err = h.fetch(t, folder, File{}, nil)
	require.NoError(t, err)
	require.Equal(t, h.size, r.Resumed)

	// One whose file has changed on the server begins anew.
	require.NoError(t, os.WriteFile(r.Path+".part", []byte("other bytes"), 0o600))
	require.NoError(t, os.WriteFile(r.Path+".part.json", []byte(`{"url": "`+f.URL+`", "etag": "\"v0\""}`), 0o600))
	require.NoError(t, os.Remove(r.Path))
	h.cut.Store(0)
	r, err = h.fetch(t, folder, File{}, nil)
	require.NoError(t, err)
	require.Zero(t, r.Resumed)
	require.Equal(t, h.sum, r.SHA256)

	// So does one that is damaged, after its hash was found wrong.
	require.NoError(t, os.Remove(r.Path))
	require.NoError(t, os.WriteFile(r.Path+".part", []byte("damaged"), 0o600))
	require.NoError(t, os.WriteFile(r.Path+".part.json", []byte(`{"url": "`+f.URL+`", "etag": "\"v1\""}`), 0o600))
	_, err = h.fetch(t, folder, File{}, nil)
	require.ErrorContains(t, err, "what was fetched is deleted")
	require.Empty(t, left(t, folder))
	_, err = h.fetch(t, folder, File{}, nil)
	require.NoError(t, err)
}

func TestFailures(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*hub)
		file   func(*File)
		option func(*Options)
		want   string
		kept   bool // the part
	}{
		"a wrong hash in the table":   {file: func(f *File) { f.SHA256 = hexOf([]byte("x")) }, want: "and the hub's is"},
		"a wrong hash of the hub":     {change: func(h *hub) { h.sum = hexOf([]byte("x")) }, want: "must be " + hexOf([]byte("x"))},
		"no hash of the hub":          {change: func(h *hub) { h.sum = "abc" }, file: func(f *File) { f.SHA256 = hexOf([]byte("x")) }, want: "what was fetched is deleted"},
		"a wrong size in the table":   {file: func(f *File) { f.Bytes = 5 }, want: "must have 5 bytes"},
		"a wrong size of the hub":     {change: func(h *hub) { h.size = 5 }, want: "the hub says that the file has 5 bytes"},
		"gated, no token":             {change: func(h *hub) { h.gated = "t" }, want: "HF_TOKEN"},
		"gated, a wrong token":        {change: func(h *hub) { h.gated = "t" }, option: func(o *Options) { o.Token = "x" }, want: "refuses the token"},
		"no such file":                {file: func(f *File) { f.URL = strings.Replace(f.URL, "/a/b/", "/a/c/", 1) }, want: "there is no such file"},
		"always busy":                 {change: func(h *hub) { h.fails.Store(100) }, want: "cannot answer now (status 503) (tried 5 times"},
		"a web page":                  {change: func(h *hub) { h.wrong = page }, want: "is a web page"},
		"a pointer":                   {change: func(h *hub) { h.content = []byte(lfs); h.sum, h.size = "", int64(len(lfs)) }, want: "Git LFS pointer"},
		"nothing":                     {change: func(h *hub) { h.content, h.sum, h.size = nil, "", 0 }, want: "is empty"},
		"unencrypted elsewhere":       {change: func(h *hub) { h.wrong = elsewhere }, want: "must be an https address"},
		"redirects without end":       {change: func(h *hub) { h.wrong = round }, want: "redirects"},
		"more than it said":           {change: func(h *hub) { h.wrong = more }, want: "more than the file's 3 bytes"},
		"another part than asked":     {change: func(h *hub) { h.cut.Store(1 << 20); h.wrong = otherPart(h) }, want: "tried 5 times"},
		"hangs":                       {change: func(h *hub) { h.wrong = hangs }, option: func(o *Options) { o.Stall, o.Tries = 50*time.Millisecond, 2 }, want: "nothing came for 50ms", kept: true},
		"breaks without progress":     {change: func(h *hub) { h.cut.Store(1) }, want: "the connection broke", kept: true},
		"a name with folders":         {file: func(f *File) { f.Name = "../x.gguf" }, want: "no folders"},
		"a name that is no model's":   {file: func(f *File) { f.Name = "x.exe" }, want: "must end with"},
		"a name for another system":   {file: func(f *File) { f.Name = "c:x.gguf" }, want: "no folders"},
		"a name that would be hidden": {file: func(f *File) { f.Name = ".gguf" }, want: "must end with"},
	} {
		t.Run(name, func(t *testing.T) {
			h, folder := newHub(t), t.TempDir()
			f := File{URL: h.URL + "/a/b/resolve/main/x.gguf", Name: "x.gguf"}
			if c.change != nil {
				c.change(h)
			}
			if c.file != nil {
				c.file(&f)
			}
			_, err := h.fetch(t, folder, f, c.option)
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, left(t, folder), "x.gguf")
		})
	}
	// It goes better the next time.
	h, folder := newHub(t), t.TempDir()
	h.fails.Store(3)
	_, err := h.fetch(t, folder, File{}, nil)
	require.NoError(t, err)
	// With the right token.
	h.gated = "right"
	_, err = h.fetch(t, t.TempDir(), File{}, func(o *Options) { o.Token = "right" })
	require.NoError(t, err)
	// The token is for no other host.
	other := newHub(t)
	other.gated = "right"
	_, err = h.fetch(t, t.TempDir(), File{URL: other.URL + "/a/b/resolve/main/x.gguf", Name: "x.gguf"}, func(o *Options) { o.Token = "right" })
	require.ErrorContains(t, err, "status 401")
}

const lfs = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"

func page(w http.ResponseWriter, _ *http.Request) bool {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprint(w, "<html>")
	return true
}

func elsewhere(w http.ResponseWriter, r *http.Request) bool {
	http.Redirect(w, r, "http://files.example/x", http.StatusFound)
	return true
}

func round(w http.ResponseWriter, r *http.Request) bool {
	http.Redirect(w, r, r.URL.Path+"x", http.StatusFound)
	return true
}

// more has a length in its description that is not its own.
func more(w http.ResponseWriter, _ *http.Request) bool {
	w.Header().Set("X-Linked-Size", "3")
	for range 100 {
		fmt.Fprint(w, "abcdef")
		_ = http.NewResponseController(w).Flush()
	}
	return true
}

// otherPart answers requests for parts with their beginning.
func otherPart(h *hub) func(w http.ResponseWriter, r *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Range") == "" {
			return false
		}
		w.Header().Set("ETag", h.etag)
		w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-9/%d", h.size))
		w.WriteHeader(http.StatusPartialContent)
		fmt.Fprint(w, "0123456789")
		return true
	}
}

func hangs(w http.ResponseWriter, r *http.Request) bool {
	w.Header().Set("Content-Length", "100")
	fmt.Fprint(w, "abc")
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
	return true
}

func TestOneAtATime(t *testing.T) {
	h, folder := newHub(t), t.TempDir()
	f, err := os.Create(filepath.Join(folder, "x.gguf.part"))
	require.NoError(t, err)
	defer f.Close()
	if !lock(f) {
		t.Skip("this system has no locks")
	}
	g, err := os.Open(f.Name())
	require.NoError(t, err)
	defer g.Close()
	if lock(g) {
		t.Skip("this system has no locks")
	}
	_, err = h.fetch(t, folder, File{}, nil)
	require.ErrorIs(t, err, ErrBusy)
}

func TestResolve(t *testing.T) {
	const hub = "https://hub.example"
	for text, want := range map[string]File{
		"SDXL":                          {URL: hub + "/stabilityai/stable-diffusion-xl-base-1.0/resolve/main/sd_xl_base_1.0.safetensors", Name: "sd_xl_base_1.0.safetensors", Bytes: 6_938_078_334, SHA256: Models()[3].SHA256},
		"a/b/c.gguf":                    {URL: hub + "/a/b/resolve/main/c.gguf", Name: "c.gguf"},
		"a/b/vae/d e.safetensors@v1/x":  {URL: hub + "/a/b/resolve/v1%2Fx/vae/d%20e.safetensors", Name: "d e.safetensors"},
		"https://x.example/y.pth?a=b":   {URL: "https://x.example/y.pth?a=b", Name: "y.pth"},
		hub + "/a/b/blob/main/c.gguf":   {URL: hub + "/a/b/resolve/main/c.gguf", Name: "c.gguf"},
		"http://127.0.0.1:1/a.gguf":     {URL: "http://127.0.0.1:1/a.gguf", Name: "a.gguf"},
		"https://x.example/blob/a.gguf": {URL: "https://x.example/blob/a.gguf", Name: "a.gguf"},
	} {
		got, err := Resolve(text, hub+"/", "")
		require.NoError(t, err, text)
		require.Equal(t, want, got)
	}
	for _, text := range []string{"", "nonsense", "a/b", "a/../c.gguf", "a/b/", "http://x.example/a.gguf", "ftp://x.example/a.gguf", "https:///a.gguf", "https://u:p@x.example/a.gguf", "https://x.example/", "https://x.example/a.zip",
		"a/b/c.txt", "a/b/c.gguf@", "https://x.example/..", "file:///etc/passwd"} {
		_, err := Resolve(text, hub, "")
		require.Error(t, err, text)
	}
	f, err := Resolve("https://x.example/download/5", hub, "mine.safetensors")
	require.NoError(t, err)
	require.Equal(t, "mine.safetensors", f.Name)
	names := map[string]bool{}
	for _, m := range Models() {
		f, err := Resolve(m.Name, hub, "")
		require.NoError(t, err)
		require.False(t, names[f.Name], f.Name)
		names[f.Name] = true
		require.NotEmpty(t, m.Licence)
		if m.SHA256 != "" {
			require.Len(t, m.SHA256, 64)
		}
	}
}

func TestFind(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{"sd_xl_base_1.0.safetensors", "mine.gguf", "x.txt"} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), nil, 0o600))
	}
	require.NoError(t, os.Mkdir(filepath.Join(folder, "dir.gguf"), 0o700))
	for name, want := range map[string]string{"sdxl": "sd_xl_base_1.0.safetensors", "mine": "mine.gguf", "mine.gguf": "mine.gguf", "sd_xl_base_1.0": "sd_xl_base_1.0.safetensors", "sd15": "", "x": "", "x.txt": "", "dir": "", "": "", ".": "", "..": "",
		"./mine.gguf": "", "../" + filepath.Base(folder) + "/mine.gguf": ""} {
		got, ok := Find(folder, name)
		require.Equal(t, want != "", ok, name)
		if ok {
			require.Equal(t, filepath.Join(folder, want), got)
		}
	}
	env := map[string]string{"HOME": "/h"}
	folder, err := Folder(func(name string) string { return env[name] })
	require.NoError(t, err)
	require.Contains(t, filepath.ToSlash(folder), "sdgo/models")
	env["SDGO_MODELS"] = "m"
	folder, err = Folder(func(name string) string { return env[name] })
	require.NoError(t, err)
	require.Equal(t, "m", folder)
	_, err = Folder(func(string) string { return "" })
	require.ErrorContains(t, err, "SDGO_MODELS")
}
