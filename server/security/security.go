// Package security decides which requests reach the server's interfaces: for which host
// they are, from which page they come, whose they are, and how large they may be.
package security

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
)

// Config says who may do what. Its zero value serves this machine alone, without
// authentication.
type Config struct {
	Users   []string // "name:password", of Basic authentication
	Keys    []string // of Bearer authentication; "name=key" gives one a name
	Hosts   []string // further names that requests may be for
	Origins []string // pages of other origins that may use the server, such as https://example.com
	Listen  string   // the address that the server listens on
	MaxBody int64    // bytes of a request; 0 means 64 MiB

	// Public are paths that need no authentication: they tell nothing.
	Public []string

	Log *slog.Logger
}

// Guard checks requests.
type Guard struct {
	config   Config
	users    []credential
	keys     []credential
	loopback bool
	names    []string // of hosts, in lower case
	origins  *http.CrossOriginProtection
}

// credential is a name and the digest of its secret.
type credential struct {
	name   string
	digest [sha256.Size]byte
}

// MaxBody is the default bound of a request's body, in bytes.
const MaxBody = 64 << 20

// New makes a guard.
func New(c Config) (*Guard, error) {
	if c.MaxBody == 0 {
		c.MaxBody = MaxBody
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	g := &Guard{config: c, loopback: Loopback(c.Listen), origins: http.NewCrossOriginProtection()}
	for _, u := range c.Users {
		name, password, ok := strings.Cut(u, ":")
		if !ok || name == "" || password == "" {
			return nil, errors.New("a user must be NAME:PASSWORD")
		}
		g.users = append(g.users, credential{name, sha256.Sum256([]byte(name + ":" + password))})
	}
	for i, k := range c.Keys {
		name, key, ok := strings.Cut(k, "=")
		if !ok {
			name, key = fmt.Sprintf("key%d", i+1), k
		}
		if len(key) < 8 || name == "" {
			return nil, errors.New("an API key must have at least 8 characters")
		}
		g.keys = append(g.keys, credential{name, sha256.Sum256([]byte(key))})
	}
	for _, o := range c.Origins {
		u, err := url.Parse(o)
		if err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" || o == "*" {
			return nil, fmt.Errorf("an origin must be such as https://example.com, without a path, got %.80q", o)
		}
		if err := g.origins.AddTrustedOrigin(o); err != nil {
			return nil, fmt.Errorf("origin %.80q: %w", o, err)
		}
	}
	for _, h := range c.Hosts {
		g.names = append(g.names, strings.ToLower(h))
	}
	if own, err := os.Hostname(); err == nil {
		g.names = append(g.names, strings.ToLower(own))
	}
	return g, nil
}

// Authenticates reports whether requests need a user or a key.
func (g *Guard) Authenticates() bool { return len(g.users)+len(g.keys) > 0 }

// Loopback reports whether an address to listen on is only reached from this machine.
func Loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		host = listen
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && a.Unmap().IsLoopback()
}

// clientKey is the key of a client's name in a context.
type clientKey struct{}

// Client is whose a request is: a user's or a key's name, else the address that it comes
// from.
func Client(ctx context.Context) string {
	name, _ := ctx.Value(clientKey{}).(string)
	return name
}

// WithClient is a context with a client's name.
func WithClient(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, clientKey{}, name)
}

// Wrap returns a handler that passes on requests that are allowed.
func (g *Guard) Wrap(next http.Handler) http.Handler {
	checked := g.authenticated(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer g.recover(w, r)
		headers(w.Header())
		if !g.host(r.Host) {
			refuse(w, r, http.StatusForbidden, "this name of the server is not allowed; --host-name allows one")
			return
		}
		if g.cors(w, r) {
			return
		}
		if err := g.origins.Check(r); err != nil {
			refuse(w, r, http.StatusForbidden, "requests from pages of another origin are not allowed")
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, g.config.MaxBody)
		checked.ServeHTTP(w, r)
	})
}

// recover keeps a panic of one request from the others, and its text from the client.
func (g *Guard) recover(w http.ResponseWriter, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler {
		panic(v)
	}
	g.config.Log.Error("a request panicked", "route", r.Pattern, "panic", fmt.Sprint(v))
	refuse(w, r, http.StatusInternalServerError, "an error of the server; its log says more")
}

// headers are those of every reply.
func headers(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// host reports whether a request may be for a host. Pages of other origins can make
// their names resolve to this machine (DNS rebinding), but then they are in the header.
func (g *Guard) host(hostport string) bool {
	if !g.loopback && len(g.config.Hosts) == 0 {
		return true // authentication keeps others out
	}
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if a, err := netip.ParseAddr(host); err == nil {
		a = a.Unmap().WithZone("")
		return a.IsLoopback() || a.IsPrivate() || a.IsUnspecified() || ownAddress(a)
	}
	if host == "localhost" || slices.Contains(g.names, host) {
		return true
	}
	for _, ending := range []string{".localhost", ".local", ".internal"} {
		if strings.HasSuffix(host, ending) {
			return true
		}
	}
	return false
}

// ownAddress reports whether an address is one of this machine's.
func ownAddress(a netip.Addr) bool {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, one := range all {
		if p, err := netip.ParsePrefix(one.String()); err == nil && p.Addr().Unmap() == a {
			return true
		}
	}
	return false
}

// cors lets pages of the listed origins use the server, and answers their preflights.
// Nothing is reflected that is not listed, and no cookies or passwords are sent along.
func (g *Guard) cors(w http.ResponseWriter, r *http.Request) (answered bool) {
	origin := r.Header.Get("Origin")
	if len(g.config.Origins) > 0 {
		w.Header().Add("Vary", "Origin")
	}
	if origin == "" || !slices.Contains(g.config.Origins, origin) {
		return false
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", "Retry-After")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET, POST, DELETE")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Last-Event-ID")
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
	return true
}

// authenticated lets requests of users and keys pass.
func (g *Guard) authenticated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		client, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			client = r.RemoteAddr
		}
		client = "ip " + client
		if g.Authenticates() && !(slices.Contains(g.config.Public, r.URL.Path) && r.Method == http.MethodGet) {
			name, ok := g.check(r.Header.Get("Authorization"))
			if !ok {
				w.Header().Set("WWW-Authenticate", `Basic realm="sdgo", charset="UTF-8"`)
				refuse(w, r, http.StatusUnauthorized, "Incorrect username or password")
				return
			}
			client = name
		}
		next.ServeHTTP(w, r.WithContext(WithClient(r.Context(), client)))
	})
}

// check finds whose a header Authorization is. All secrets are compared, in a time that
// does not depend on them.
func (g *Guard) check(header string) (client string, ok bool) {
	scheme, value, _ := strings.Cut(header, " ")
	value = strings.TrimSpace(value)
	var given []byte
	var among []credential
	kind := "user "
	switch strings.ToLower(scheme) {
	case "basic":
		text, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			return "", false
		}
		given, among = text, g.users
	case "bearer":
		given, among, kind = []byte(value), g.keys, "key "
	default:
		return "", false
	}
	digest := sha256.Sum256(given)
	for _, c := range among {
		if subtle.ConstantTimeCompare(digest[:], c.digest[:]) == 1 {
			client, ok = kind+c.name, true
		}
	}
	return client, ok
}

// refuse answers in the words of the interface that the request is for.
func refuse(w http.ResponseWriter, r *http.Request, status int, message string) {
	var body any = map[string]any{"error": http.StatusText(status), "detail": message, "body": "", "errors": ""}
	switch {
	case strings.HasPrefix(r.URL.Path, "/v1/"):
		kind := map[int]string{401: "authentication_error", 403: "permission_error"}[status]
		if kind == "" {
			kind = "server_error"
		}
		body = map[string]any{"error": map[string]any{"message": message, "type": kind, "param": nil, "code": nil}}
	case strings.HasPrefix(r.URL.Path, "/api/"):
		body = map[string]any{"error": map[string]any{"code": strings.ReplaceAll(strings.ToLower(http.StatusText(status)), " ", "_"), "message": message}}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// Secrets reads lines of a file: users or keys. Empty lines and those that begin with #
// don't count.
func Secrets(path string) (all []string, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			all = append(all, line)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: no secrets; there must be one a line", path)
	}
	return all, nil
}
