// Package page is what a browser gets from the server: the files of the folder bundle,
// which are part of the program. Nothing is loaded from elsewhere.
package page

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed bundle
var bundle embed.FS

// Router takes handlers by patterns of http.ServeMux.
type Router interface {
	HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request))
}

// index is the file of the address /.
const index = "index.html"

// Register adds a route for each file of the bundle, and / for its index. There is no
// route for what is not in it, so that no request names a file.
func Register(r Router) error {
	return fs.WalkDir(bundle, "bundle", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := bundle.ReadFile(name)
		if err != nil {
			return err
		}
		route := strings.TrimPrefix(name, "bundle/")
		if route == index {
			r.HandleFunc("GET /{$}", serve(index, data))
			return nil
		}
		r.HandleFunc("GET /"+route, serve(route, data))
		return nil
	})
}

// kindOf is a file's type, which must not depend on the system.
func kindOf(name string) string {
	kinds := map[string]string{".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
		".svg": "image/svg+xml", ".png": "image/png", ".ico": "image/vnd.microsoft.icon", ".woff2": "font/woff2", ".json": "application/json",
		".webmanifest": "application/manifest+json"}
	return cmp.Or(kinds[path.Ext(name)], "application/octet-stream")
}

// serve answers with a file. Browsers ask each time whether it has changed.
func serve(name string, data []byte) func(http.ResponseWriter, *http.Request) {
	sum := sha256.Sum256(data)
	tag := `"` + hex.EncodeToString(sum[:8]) + `"`
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", tag)
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("Content-Type", kindOf(name))
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}
}
