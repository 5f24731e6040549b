//go:build unix

package server

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"image"
	"image/color"
	"image/png"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/server/catalog"
	"github.com/sdgo/sdgo/server/fake"
	"github.com/sdgo/sdgo/server/pool"
)

func TestMain(m *testing.M) { fake.Main(m.Run) }

// fixture is a server with the models fake-a (the default) and sd2, and an upscaler x4,
// whose workers are fake.
type fixture struct {
	testing.TB
	*Server
	web *httptest.Server
	log *fake.Log
}

func start(t testing.TB, change func(*Config)) *fixture {
	t.Helper()
	environ, program, err := fake.Command()
	require.NoError(t, err)
	builtin := catalog.Entry{Name: "fake-a", File: "fake-a.gguf", Kind: catalog.Checkpoint, NativeSize: 64, Hash: strings.Repeat("ab", 32), Bytes: 1 << 20}
	all, err := catalog.New(catalog.Config{Builtin: []catalog.Entry{builtin}, Files: []string{"../testdata/nets/sd2.safetensors", "../testdata/upscale/x4.pth", "../testdata/taesd/tiny.safetensors", "../testdata/xl/base-diffusers/vae"}})
	require.NoError(t, err)
	f := &fixture{TB: t, log: &fake.Log{}}
	c := Config{Listen: "127.0.0.1:0", Log: slog.New(slog.NewTextHandler(f.log, nil))}
	c.Service.Catalog = all
	c.Service.Version = "0.0"
	c.Service.Filters = []string{"latent", "latent-antialiased", "latent-bicubic", "latent-bicubic-antialiased", "latent-nearest", "latent-nearest-exact", "nearest", "bicubic", "lanczos"}
	c.Service.Grace = 100 * time.Millisecond
	c.Pool.Start = pool.Command(environ, program)
	if change != nil {
		change(&c)
	}
	f.Server, err = New(c)
	require.NoError(t, err)
	f.web = httptest.NewServer(f.Handler())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		f.web.CloseClientConnections()
		for _, j := range f.Service().Queue.Jobs() {
			f.Service().Queue.Cancel(j)
		}
		f.Close(ctx)
		f.web.Close()
	})
	return f
}

// do sends a request; a body that is no text is sent as JSON.
func (f *fixture) do(method, path string, body any, headers ...string) (*http.Response, []byte) {
	f.Helper()
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		in = strings.NewReader(b)
	case []byte:
		in = bytes.NewReader(b)
	default:
		text, err := json.Marshal(b)
		require.NoError(f, err)
		in = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(f.Context(), method, f.web.URL+path, in)
	require.NoError(f, err)
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
			continue
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	reply, err := http.DefaultClient.Do(r)
	require.NoError(f, err)
	defer reply.Body.Close()
	out, err := io.ReadAll(reply.Body)
	require.NoError(f, err)
	return reply, out
}

// object is a JSON reply with a status.
func (f *fixture) object(status int, method, path string, body any, headers ...string) map[string]any {
	f.Helper()
	reply, out := f.do(method, path, body, headers...)
	require.Equal(f, status, reply.StatusCode, "%s", out)
	var v map[string]any
	require.NoError(f, json.Unmarshal(out, &v), "%s", out)
	return v
}

type object = map[string]any

// pngOf is a picture's file; with a transparent or white box in its middle.
func pngOf(t testing.TB, width, height int, box color.Color) []byte {
	t.Helper()
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			img.SetNRGBA(x, y, color.NRGBA{uint8(x), uint8(y), 0, 255})
			if box != nil && x >= width/4 && x < width*3/4 && y >= height/4 && y < height*3/4 {
				img.Set(x, y, box)
			}
		}
	}
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, img))
	return b.Bytes()
}

func base64Of(data []byte) string { return base64.StdEncoding.EncodeToString(data) }

// decode decodes a picture in base64.
func decode(t testing.TB, text any) (*image.NRGBA, string) {
	t.Helper()
	img, parameters, err := fake.Decode(text.(string))
	require.NoError(t, err)
	return img, parameters
}
