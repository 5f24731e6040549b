package security

import (
	"encoding/base64"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestConfig(t *testing.T) {
	for name, c := range map[string]Config{
		"no password":   {Users: []string{"anna"}},
		"empty":         {Users: []string{"anna:"}},
		"no name":       {Users: []string{":secret"}},
		"short":         {Keys: []string{"1234567"}},
		"short, named":  {Keys: []string{"anna=1234567"}},
		"all origins":   {Origins: []string{"*"}},
		"a path":        {Origins: []string{"https://a.example/x"}},
		"no scheme":     {Origins: []string{"a.example"}},
		"null":          {Origins: []string{"null"}},
		"a wildcard":    {Origins: []string{"https://"}},
		"control bytes": {Origins: []string{"https://a\x00"}},
	} {
		_, err := New(c)
		require.Error(t, err, name)
	}
	_, err := New(Config{Users: []string{"anna:se:cret"}, Keys: []string{"12345678", "bob=12345678"}, Origins: []string{"https://a.example:8443"}, Hosts: []string{"A.example"}})
	require.NoError(t, err)
}

func TestSecrets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	require.NoError(t, os.WriteFile(path, []byte("# keys\n\n  one=12345678 \r\ntwo\n"), 0o600))
	all, err := Secrets(path)
	require.NoError(t, err)
	require.Equal(t, []string{"one=12345678", "two"}, all)
	require.NoError(t, os.WriteFile(path, []byte("# none\n"), 0o600))
	_, err = Secrets(path)
	require.ErrorContains(t, err, "no secrets")
	_, err = Secrets(path + "x")
	require.Error(t, err)
}

// Who a request is of depends on nothing but its secret.
func TestClients(t *testing.T) {
	g, err := New(Config{Users: []string{"anna:one", "bob:two:three"}, Keys: []string{"carl=0123456789", "abcdefgh"}})
	require.NoError(t, err)
	basic := func(text string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(text)) }
	for header, want := range map[string]string{basic("anna:one"): "user anna", basic("bob:two:three"): "user bob", "Bearer 0123456789": "key carl", "bearer  abcdefgh ": "key key2"} {
		name, ok := g.check(header)
		require.True(t, ok, header)
		require.Equal(t, want, name)
	}
	for _, header := range []string{"", "Basic", basic("anna:two"), basic("anna"), basic("bob:two"), basic("Anna:one"), "Bearer", "Bearer anna:one", "Bearer carl=0123456789", "Basic 0123456789", "Token abcdefgh"} {
		_, ok := g.check(header)
		require.False(t, ok, header)
	}
	open, err := New(Config{})
	require.NoError(t, err)
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "http://localhost/", nil)
	r.RemoteAddr = "192.0.2.1:5"
	open.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { require.Equal(t, "ip 192.0.2.1", Client(r.Context())) })).ServeHTTP(w, r)
	require.Equal(t, 200, w.Code)
}

// A panic of one request is none of the others', and its text is for the log.
func TestPanics(t *testing.T) {
	g, err := New(Config{Listen: "127.0.0.1:1"})
	require.NoError(t, err)
	for _, path := range []string{"/sdapi/v1/x", "/v1/x", "/api/v1/x"} {
		w := httptest.NewRecorder()
		g.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("secret") })).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://localhost"+path, nil))
		require.Equal(t, 500, w.Code)
		require.NotContains(t, w.Body.String(), "secret")
	}
}

// Secrets are compared by crypto/subtle alone, and all of them: no comparison ends early.
func TestSecretsAreComparedInConstantTime(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "security.go", nil, 0)
	require.NoError(t, err)
	calls, leaves := 0, 0
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Name.Name != "check" {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if n.Sel.Name == "ConstantTimeCompare" {
					calls++
				}
				require.NotContains(t, []string{"Equal", "Compare", "EqualFold"}, n.Sel.Name)
			case *ast.RangeStmt:
				ast.Inspect(n.Body, func(n ast.Node) bool {
					switch n.(type) {
					case *ast.ReturnStmt, *ast.BranchStmt:
						leaves++
					}
					return true
				})
			}
			return true
		})
	}
	require.Equal(t, 1, calls)
	require.Zero(t, leaves, "the loop over secrets ends early")
}
