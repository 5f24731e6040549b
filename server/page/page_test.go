package page

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// routes are those of the page.
func routes(t *testing.T) *http.ServeMux {
	m := http.NewServeMux()
	require.NoError(t, Register(m))
	return m
}

func get(m *http.ServeMux, path string, headers ...string) *http.Response {
	r := httptest.NewRequest("GET", path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	m.ServeHTTP(w, r)
	return w.Result()
}

func TestRegister(t *testing.T) {
	m := routes(t)
	for path, kind := range map[string]string{
		"/": "text/html; charset=utf-8", "/js/main.js": "text/javascript; charset=utf-8", "/style/base.css": "text/css; charset=utf-8", "/icon.svg": "image/svg+xml",
	} {
		reply := get(m, path)
		require.Equal(t, 200, reply.StatusCode, path)
		require.Equal(t, kind, reply.Header.Get("Content-Type"))
		require.Equal(t, 304, get(m, path, "If-None-Match", reply.Header.Get("ETag")).StatusCode, path)
	}
	for _, path := range []string{"/index.html", "/js/", "/js/main.js/", "/bundle/index.html", "/page.go"} {
		require.Equal(t, 404, get(m, path).StatusCode, path)
	}
}

var (
	imports = regexp.MustCompile(`(?m)(?:from|import)\s*\(?"([^"]+)"`)
	links   = regexp.MustCompile(`(?:src|href)="([^"]+)"`)
	inline  = regexp.MustCompile(`<script>|<style|\sstyle=|\son\w+=|javascript:`)
	unsafe  = regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser`)
	outside = regexp.MustCompile(`(?:https?:)?//[\w-]+\.[\w.]+`)
)

// namespace is no address that is fetched.
const namespace = "http://www.w3.org/2000/svg"

// Everything that the page loads is in the bundle; nothing is inline, which the server's
// policy forbids, comes from elsewhere, or becomes HTML of a text.
func TestTheBundleIsWhole(t *testing.T) {
	m := routes(t)
	files := 0
	require.NoError(t, fs.WalkDir(bundle, "bundle", func(name string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		if d.IsDir() {
			return nil
		}
		files++
		data, err := bundle.ReadFile(name)
		require.NoError(t, err)
		text := strings.ReplaceAll(string(data), namespace, "")
		require.NotRegexp(t, outside, text, name)
		require.NotRegexp(t, unsafe, text, name)
		at := "/" + strings.TrimPrefix(name, "bundle/")
		switch path.Ext(name) {
		case ".html":
			require.NotRegexp(t, inline, text, name)
			for _, l := range links.FindAllStringSubmatch(text, -1) {
				if strings.HasPrefix(l[1], "/") && !strings.HasPrefix(l[1], "/api/") {
					require.Equal(t, 200, get(m, l[1]).StatusCode, "%s loads %s", name, l[1])
				}
			}
		case ".js":
			for _, i := range imports.FindAllStringSubmatch(text, -1) {
				require.Equal(t, 200, get(m, path.Join(path.Dir(at), i[1])).StatusCode, "%s imports %s", name, i[1])
			}
		}
		return nil
	}))
	require.Greater(t, files, 30)
}
