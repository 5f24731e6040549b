//go:build unix

package server

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/server/gallery"
	"github.com/sdgo/sdgo/server/inputs"
	"github.com/sdgo/sdgo/server/queue"
)

const (
	keyOfAnna   = "0123456789abcdef"
	keyOfBob    = "fedcba9876543210"
	bearerAnna  = "Bearer " + keyOfAnna
	bearerBob   = "Bearer " + keyOfBob
	foreignPage = "https://attacker.example"
)

func withKeys(c *Config) { c.Security.Keys = []string{"anna=" + keyOfAnna, "bob=" + keyOfBob} }

// routesOf are a method and a path for each route.
func routesOf(s *Server) (all [][2]string) {
	for _, pattern := range s.Patterns() {
		method, path, ok := strings.Cut(pattern, " ")
		if !ok {
			method, path = http.MethodPost, pattern+"nothing"
		}
		path = strings.NewReplacer("{id}", strings.Repeat("0", 32), "{$}", "").Replace(path)
		all = append(all, [2]string{method, path})
	}
	return append(all, [2]string{"GET", "/nothing"}, [2]string{"BREW", "/sdapi/v1/txt2img"}, [2]string{"HEAD", "/api/v1/pictures"}, [2]string{"OPTIONS", "/api/v1/jobs"})
}

// No route answers without a user or a key, but for those that say nothing.
func TestEveryRouteNeedsAuthentication(t *testing.T) {
	f := start(t, func(c *Config) {
		withKeys(c)
		c.Security.Users = []string{"carl:pass:word"}
	})
	require.Greater(t, len(routesOf(f.Server)), 60)
	basic := func(text string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(text)) }
	for _, r := range routesOf(f.Server) {
		public := r[1] == healthPath || r[1] == readyPath
		for _, header := range []string{"", "Basic ", "Bearer ", "Bearer x", bearerAnna + "x", bearerAnna[:len(bearerAnna)-1], "Bearer anna=" + keyOfAnna, "Basic %%%",
			basic("carl:"), basic("carl:pass"), basic(":"), basic("carl:pass:words"), basic("anna:" + keyOfAnna), keyOfAnna, "Digest " + keyOfAnna} {
			reply, _ := f.do(r[0], r[1], nil, "Authorization", header)
			if public && r[0] == "GET" {
				require.Equal(t, http.StatusOK, reply.StatusCode, r)
				continue
			}
			require.Equal(t, http.StatusUnauthorized, reply.StatusCode, "%v with %q", r, header)
			require.Contains(t, reply.Header.Get("WWW-Authenticate"), "Basic")
		}
	}
	for _, header := range []string{bearerAnna, "bearer " + keyOfBob, basic("carl:pass:word")} {
		reply, _ := f.do("GET", "/api/v1/status", nil, "Authorization", header)
		require.Equal(t, http.StatusOK, reply.StatusCode, header)
	}
	require.NotContains(t, f.log.String(), keyOfAnna)
	// Secrets are in no reply.
	for _, path := range []string{"/sdapi/v1/cmd-flags", "/sdapi/v1/options", "/api/v1/capabilities", "/api/v1/status"} {
		_, out := f.do("GET", path, nil, "Authorization", bearerAnna)
		require.NotContains(t, string(out), keyOfAnna, path)
		require.NotContains(t, string(out), "pass:word", path)
	}
}

// Without users and keys, an empty header of a client is no wrong one.
func TestEmptyAuthorization(t *testing.T) {
	f := start(t, nil)
	for _, header := range []string{"", "Basic ", "Basic " + base64.StdEncoding.EncodeToString([]byte(":")), "Bearer none"} {
		reply, _ := f.do("GET", "/sdapi/v1/options", nil, "Authorization", header)
		require.Equal(t, http.StatusOK, reply.StatusCode, header)
	}
}

// Every reply has the headers that keep pages of others away; nothing of an origin is
// reflected that is not listed.
func TestOriginsAndHosts(t *testing.T) {
	f := start(t, func(c *Config) {
		c.Security.Origins = []string{"https://page.example"}
		c.Security.Hosts = []string{"pictures.example"}
	})
	for _, r := range routesOf(f.Server) {
		reply, _ := f.do(r[0], r[1], nil, "Origin", foreignPage, "Sec-Fetch-Site", "cross-site")
		h := reply.Header
		require.Empty(t, h.Get("Access-Control-Allow-Origin"), r)
		require.Empty(t, h.Get("Access-Control-Allow-Credentials"), r)
		require.Equal(t, "nosniff", h.Get("X-Content-Type-Options"), r)
		require.Equal(t, "no-referrer", h.Get("Referrer-Policy"), r)
		require.Equal(t, "same-origin", h.Get("Cross-Origin-Resource-Policy"), r)
		require.Contains(t, h.Get("Content-Security-Policy"), "default-src 'none'; script-src 'self'", r)
		require.Contains(t, h.Get("Content-Security-Policy"), "frame-ancestors 'none'", r)
		if r[0] != "GET" && r[0] != "HEAD" && r[0] != "OPTIONS" {
			require.Equal(t, http.StatusForbidden, reply.StatusCode, "%v: a page of another origin", r)
		}
		// A name of the attacker's that resolves to this machine.
		reply, _ = f.do(r[0], r[1], nil, "Host", "attacker.example:7860")
		require.Equal(t, http.StatusForbidden, reply.StatusCode, r)
	}
	// An old browser sends the origin alone.
	reply, _ := f.do("POST", "/sdapi/v1/interrupt", "{}", "Origin", foreignPage, "Content-Type", "text/plain")
	require.Equal(t, http.StatusForbidden, reply.StatusCode)
	for host, status := range map[string]int{"localhost": 200, "LOCALHOST:1": 200, "127.0.0.1:80": 200, "127.9.9.9": 200, "[::1]:7860": 200, "192.168.1.5": 200, "10.1.2.3:1": 200, "sdgo.localhost": 200,
		"desk.local": 200, "box.internal": 200, "pictures.example": 200, "PICTURES.example.:7860": 200, "8.8.8.8": 403, "localhost.attacker.example": 403, "127.0.0.1.nip.io": 403, "2130706433": 403, "": 200} {
		if host == "" {
			continue // net/http sends the address
		}
		reply, out := f.do("GET", "/api/v1/status", nil, "Host", host)
		require.Equal(t, status, reply.StatusCode, "%s: %s", host, out)
	}
	// The listed origin may.
	reply, _ = f.do("OPTIONS", "/sdapi/v1/txt2img", nil, "Origin", "https://page.example", "Access-Control-Request-Method", "POST")
	require.Equal(t, http.StatusNoContent, reply.StatusCode)
	require.Equal(t, "https://page.example", reply.Header.Get("Access-Control-Allow-Origin"))
	reply, _ = f.do("POST", "/sdapi/v1/interrupt", nil, "Origin", "https://page.example", "Sec-Fetch-Site", "cross-site")
	require.Equal(t, http.StatusOK, reply.StatusCode)
	require.Empty(t, reply.Header.Get("Access-Control-Allow-Credentials"))
	for _, origin := range []string{"https://page.example.attacker.example", "http://page.example", "null", "https://page.example:444"} {
		reply, _ = f.do("POST", "/sdapi/v1/interrupt", nil, "Origin", origin, "Sec-Fetch-Site", "cross-site")
		require.Equal(t, http.StatusForbidden, reply.StatusCode, origin)
	}
	// SillyTavern's question whether OpenAI's interface is there.
	reply, _ = f.do("OPTIONS", "/v1/images/generations", nil)
	require.Equal(t, http.StatusNoContent, reply.StatusCode)
}

func TestPublicAddressNeedsAuthentication(t *testing.T) {
	f := start(t, nil)
	for listen, refused := range map[string]bool{"0.0.0.0:1": true, ":7860": true, "[::]:1": true, "192.168.0.1:1": true, "example.com:1": true, "127.0.0.1:1": false, "localhost:1": false, "[::1]:1": false} {
		c := f.config
		c.Listen = listen
		_, err := New(c)
		require.Equal(t, refused, err != nil, listen)
		withKeys(&c)
		_, err = New(c)
		require.NoError(t, err, listen)
		c.Security.Keys, c.Insecure = nil, true
		_, err = New(c)
		require.NoError(t, err, listen)
	}
}

// One client sees, cancels and deletes nothing of another's.
func TestClientsAreApart(t *testing.T) {
	folder, err := gallery.Open(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { folder.Close() })
	f := start(t, func(c *Config) {
		withKeys(c)
		c.Service.Gallery = folder
	})
	job := f.object(202, "POST", "/api/v1/jobs", `{"key": "mine", "request": {"prompt": "!slow", "steps": 50}}`, "Authorization", bearerAnna)
	for _, r := range [][2]string{{"GET", job["poll_url"].(string)}, {"GET", job["events_url"].(string)}, {"POST", job["poll_url"].(string) + "/cancel"}, {"POST", job["poll_url"].(string) + "/skip"},
		{"GET", "/api/v1/jobs/mine"}} {
		reply, _ := f.do(r[0], r[1], nil, "Authorization", bearerBob)
		require.Equal(t, http.StatusNotFound, reply.StatusCode, r)
	}
	require.Empty(t, f.object(200, "GET", "/api/v1/jobs", nil, "Authorization", bearerBob)["jobs"])
	f.do("POST", "/sdapi/v1/interrupt", nil, "Authorization", bearerBob)
	require.Equal(t, 0.0, f.object(200, "GET", "/sdapi/v1/progress", nil, "Authorization", bearerBob)["progress"])
	require.NotContains(t, []any{"cancelled", "failed"}, f.object(200, "GET", "/api/v1/jobs/mine", nil, "Authorization", bearerAnna)["status"])
	f.object(200, "POST", "/api/v1/jobs/mine/cancel", nil, "Authorization", bearerAnna)

	f.object(200, "POST", "/sdapi/v1/txt2img", `{"steps": 2, "width": 64, "height": 64}`, "Authorization", bearerAnna)
	require.Eventually(t, func() bool { return len(folder.List()) == 1 }, 5*time.Second, time.Millisecond)
	mine := f.object(200, "GET", "/api/v1/pictures", nil, "Authorization", bearerAnna)["pictures"].([]any)
	require.Len(t, mine, 1)
	url := mine[0].(object)["url"].(string)
	require.Empty(t, f.object(200, "GET", "/api/v1/pictures", nil, "Authorization", bearerBob)["pictures"])
	reply, _ := f.do("DELETE", url, nil, "Authorization", bearerBob)
	require.Equal(t, http.StatusNotFound, reply.StatusCode)
	reply, _ = f.do("DELETE", url, nil, "Authorization", bearerAnna)
	require.Equal(t, http.StatusNoContent, reply.StatusCode)
	reply, _ = f.do("GET", url, nil, "Authorization", bearerAnna)
	require.Equal(t, http.StatusNotFound, reply.StatusCode)
	require.Empty(t, folder.List())
}

// Names lead to nothing but what was found in the folder of models, and paths to
// nothing but routes.
func TestTraversal(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret.safetensors")
	require.NoError(t, os.WriteFile(secret, []byte("secret"), 0o600))
	f := start(t, nil)
	for _, name := range []string{secret, "../testdata/nets/sd1.safetensors", "..", ".", "/", `..\sd2`, "sd2\x00", "./sd2.safetensors", "%2e%2e/sd2", "sd2/../sd2", "file:///etc/passwd", strings.Repeat("../", 40) + "etc/passwd", "C:\\x"} {
		for body, path := range map[string]any{"/sdapi/v1/txt2img": object{"override_settings": object{"sd_model_checkpoint": name}}, "/v1/images/generations": object{"prompt": "x", "model": name},
			"/api/v1/jobs": object{"model": name}, "/sdapi/v1/options": object{"sd_model_checkpoint": name}, "/api/v1/models/load": object{"model": name}} {
			reply, out := f.do("POST", body, path)
			require.Contains(t, []int{400, 404}, reply.StatusCode, "%s %q: %s", body, name, out)
			require.NotContains(t, strings.ReplaceAll(string(out), name, ""), "testdata", "%q", name)
		}
		reply, out := f.do("POST", "/api/v1/jobs", object{"request": object{"refiner": name}})
		require.Contains(t, []int{400, 404}, reply.StatusCode, "%q: %s", name, out)
		reply, _ = f.do("POST", "/api/v1/jobs", object{"request": object{"taesd": name}})
		require.Contains(t, []int{400, 404}, reply.StatusCode, "%q", name)
	}
	for _, body := range []object{{"request": object{"input": secret}}, {"request": object{"mask": secret}}, {"image": secret}, {"image": "file://" + secret}, {"image": "id:../" + secret}} {
		reply, out := f.do("POST", "/api/v1/jobs", body)
		require.Equal(t, 400, reply.StatusCode, "%v: %s", body, out)
	}
	// Paths are sent as they are.
	for _, path := range []string{"/../../etc/passwd", "/api/v1/pictures/..%2f..%2fetc%2fpasswd", "/api/v1/pictures/../../x", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/index.html/../../x", "/api/v1/pictures/%00"} {
		c, err := net.Dial("tcp", strings.TrimPrefix(f.web.URL, "http://"))
		require.NoError(t, err)
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path)
		out, err := io.ReadAll(c)
		require.NoError(t, err)
		require.NotContains(t, string(out), "root:", path)
		require.Regexp(t, `^HTTP/1.1 (301|307|400|404) `, string(out), path)
		c.Close()
	}
}

// Picture URLs reach no address of this machine or its networks: by name, by number, by
// redirect.
func TestFetchingOverHTTP(t *testing.T) {
	inside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		t.Error("a request reached this machine")
		_, _ = w.Write(pngOf(t, 8, 8, nil))
	}))
	defer inside.Close()
	port := inside.URL[strings.LastIndexByte(inside.URL, ':'):]
	on := start(t, func(c *Config) { c.Service.Inputs.Web = inputs.NewFetcher(nil) })
	off := start(t, nil)
	for _, url := range []string{inside.URL, "http://localhost" + port, "http://[::1]" + port, "http://[::ffff:127.0.0.1]" + port, "http://0.0.0.0" + port, "http://127.1" + port, "http://2130706433" + port,
		"http://localhost.localdomain" + port, "http://169.254.169.254/latest/meta-data", "http://user:secret@127.0.0.1" + port, "https://127.0.0.1" + port} {
		for _, path := range []string{"/sdapi/v1/img2img", "/sdapi/v1/png-info", "/sdapi/v1/extra-single-image"} {
			body := object{"init_images": []string{url}, "image": url, "steps": 2}
			reply, out := on.do("POST", path, body)
			require.Contains(t, []int{400, 422}, reply.StatusCode, "%s %s: %s", path, url, out)
			require.NotContains(t, string(out), "refused", "nothing of what is there")
			_, out = off.do("POST", path, body)
			require.Contains(t, string(out), "turned off")
		}
	}
}

// Large requests and pictures that would be large are refused before they take memory.
func TestLimitsOfRequests(t *testing.T) {
	f := start(t, func(c *Config) {
		c.Security.MaxBody = 1 << 20
		c.Service.Limits.Rate, c.Service.Limits.Burst = 0.001, 1000
		c.Queue = queue.Limits{Waiting: 3, PerClient: 2}
		withKeys(c)
	})
	auth := []string{"Authorization", bearerAnna}
	for _, path := range []string{"/sdapi/v1/txt2img", "/v1/images/generations", "/api/v1/jobs", "/api/v1/uploads", "/sdapi/v1/options", "/sdapi/v1/png-info"} {
		reply, out := f.do("POST", path, bytes.Repeat([]byte("x"), 2<<20), auth...)
		require.Equal(t, http.StatusRequestEntityTooLarge, reply.StatusCode, "%s: %s", path, out)
	}
	bomb := pngOf(t, 1, 1, nil) // whose header says 65,535 x 65,535
	copy(bomb[16:24], []byte{0, 0, 255, 255, 0, 0, 255, 255})
	for _, body := range []object{{"init_images": []string{base64Of(bomb)}}, {"init_images": []string{base64Of(pngOf(t, 8, 8, nil))}, "mask": base64Of(bomb)}} {
		reply, out := f.do("POST", "/sdapi/v1/img2img", body, auth...)
		require.Equal(t, 422, reply.StatusCode, "%s", out)
	}
	reply, _ := f.do("POST", "/api/v1/uploads", bomb, auth...)
	require.Equal(t, 400, reply.StatusCode)
	for path, body := range map[string]string{"/sdapi/v1/txt2img": `{"width": 8192, "height": 8192, "steps": 1}`, "/v1/images/generations": `{"prompt": "x", "size": "8192x8192"}`, "/api/v1/jobs": `{"request": {"width": 8192, "height": 8192}}`} {
		out := f.object(400, "POST", path, body, auth...)
		require.Contains(t, fmt.Sprint(out), "pixels", path)
	}
	for path, body := range map[string]string{"/sdapi/v1/txt2img": `{"n_iter": 65}`, "/api/v1/jobs": `{"request": {"count": 65}}`} {
		require.Contains(t, fmt.Sprint(f.object(400, "POST", path, body, auth...)), "at most 64 pictures", path)
	}
	require.Contains(t, fmt.Sprint(f.object(400, "POST", "/api/v1/jobs", `{"request": {"width": 2048, "height": 2048, "steps": 1000, "count": 64}}`, auth...)), "too much for one request")
	// The queue: one runs, two of a client wait.
	slow := `{"request": {"prompt": "!slow", "steps": 1000, "width": 64, "height": 64}}`
	f.object(202, "POST", "/api/v1/jobs", slow, auth...)
	require.Eventually(t, func() bool { return len(f.Service().Queue.Waiting()) == 0 }, 5*time.Second, time.Millisecond)
	f.object(202, "POST", "/api/v1/jobs", slow, auth...)
	f.object(202, "POST", "/api/v1/jobs", slow, auth...)
	for path, body := range map[string]string{"/sdapi/v1/txt2img": `{}`, "/v1/images/generations": `{"prompt": "x"}`, "/api/v1/jobs": `{}`} {
		reply, out := f.do("POST", path, body, auth...)
		require.Equal(t, http.StatusTooManyRequests, reply.StatusCode, "%s", out)
		require.NotEmpty(t, reply.Header.Get("Retry-After"))
	}
	bob := []string{"Authorization", bearerBob}
	f.object(202, "POST", "/api/v1/jobs", slow, bob...)
	reply, _ = f.do("POST", "/api/v1/jobs", slow, bob...)
	require.Equal(t, http.StatusTooManyRequests, reply.StatusCode, "the queue is full")
}

func TestRate(t *testing.T) {
	f := start(t, func(c *Config) { c.Service.Limits.Rate, c.Service.Limits.Burst = 0.001, 2 })
	f.object(202, "POST", "/api/v1/jobs", `{}`)
	f.object(202, "POST", "/api/v1/jobs", `{}`)
	reply, _ := f.do("POST", "/v1/images/generations", `{"prompt": "x"}`)
	require.Equal(t, http.StatusTooManyRequests, reply.StatusCode)
	require.Equal(t, "1", reply.Header.Get("Retry-After"))
}

// A reply may take longer than its request had time to come, and a client that sends its
// request drop by drop has no longer.
func TestTimesOfConnections(t *testing.T) {
	f := start(t, func(c *Config) { c.Body = 200 * time.Millisecond })
	out := f.object(200, "POST", "/sdapi/v1/txt2img", `{"prompt": "!slow", "steps": 30, "width": 64, "height": 64}`)
	require.Len(t, out["images"], 1, "600 ms of work")
	c, err := net.Dial("tcp", strings.TrimPrefix(f.web.URL, "http://"))
	require.NoError(t, err)
	defer c.Close()
	fmt.Fprint(c, "POST /sdapi/v1/txt2img HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")
	began := time.Now()
	reply, err := http.ReadResponse(bufio.NewReader(c), nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusBadRequest, reply.StatusCode)
	require.Less(t, time.Since(began), 5*time.Second)
}

// What went wrong is told without anything of the machine.
func TestNothingOfTheMachine(t *testing.T) {
	f := start(t, nil)
	here, err := os.Getwd()
	require.NoError(t, err)
	host, err := os.Hostname()
	require.NoError(t, err)
	for _, r := range routesOf(f.Server) {
		for _, body := range []string{"", "{}", "[", `{"prompt": "!crash", "steps": 3, "width": 64, "height": 64}`} {
			_, out := f.do(r[0], r[1], body)
			for _, word := range []string{here, "testdata", "/root", "/home", os.TempDir() + "/", "goroutine", ".go:", host + "/"} {
				require.NotContains(t, string(out), word, "%v %s", r, body)
			}
		}
	}
}
