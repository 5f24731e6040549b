package inputs

import (
	"bytes"
	"encoding/base64"
	"image"
	"image/png"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func pngOf(t testing.TB, width, height int) []byte {
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, image.NewNRGBA(image.Rect(0, 0, width, height))))
	return b.Bytes()
}

func TestTexts(t *testing.T) {
	data := pngOf(t, 3, 2)
	plain := base64.StdEncoding.EncodeToString(data)
	for _, text := range []string{plain, strings.TrimRight(plain, "="), "data:image/png;base64," + plain, base64.URLEncoding.EncodeToString(data), plain[:20] + "\n" + plain[20:], "DATA:image/png;BASE64," + plain} {
		img, err := Reader{}.Text(t.Context(), text)
		require.NoError(t, err, text)
		require.Equal(t, image.Pt(3, 2), img.Rect.Size())
	}
	for text, want := range map[string]string{
		"":                      "empty",
		"%%%":                   "not base64",
		"data:image/png,abc":    "a data URL must be",
		"http://example.com/a":  "turned off",
		"HTTPS://example.com/a": "turned off",
		base64.StdEncoding.EncodeToString([]byte("BM" + strings.Repeat("x", 100))): "got BMP",
		base64.StdEncoding.EncodeToString([]byte("<svg/>")):                        "an SVG drawing",
		"file:///etc/passwd": "not base64",
	} {
		_, err := Reader{}.Text(t.Context(), text)
		require.ErrorContains(t, err, want, text)
	}
}

// The size is checked before the picture is decoded.
func TestBombs(t *testing.T) {
	_, err := Reader{MaxPixels: 100}.Data(pngOf(t, 11, 10))
	require.ErrorContains(t, err, "must have at most 100 pixels, got 11x10")
	bomb := pngOf(t, 1, 1)
	copy(bomb[16:], []byte{0, 1, 0, 0, 0, 1, 0, 0}) // 65536 x 65536
	_, err = Reader{}.Data(bomb)
	require.ErrorContains(t, err, "pixels")
}

func TestPublic(t *testing.T) {
	for _, a := range []string{"127.0.0.1", "127.8.9.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.127.255.255", "0.0.0.0", "224.0.0.1",
		"255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "fd00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "ff02::1", "2002:7f00:1::", "::7f00:1", "198.18.0.1"} {
		require.False(t, Public(netip.MustParseAddr(a)), a)
	}
	for _, a := range []string{"1.1.1.1", "93.184.216.34", "100.128.0.1", "172.32.0.1", "2606:4700::1111", "::ffff:1.1.1.1"} {
		require.True(t, Public(netip.MustParseAddr(a)), a)
	}
}

// What a name or a redirect leads to is checked when it is connected to.
func TestFetch(t *testing.T) {
	data := pngOf(t, 2, 2)
	hits := 0
	inner := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits++ }))
	defer inner.Close()
	outer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/a.png":
			require.Empty(t, r.Header.Get("Authorization"))
			w.Write(data)
		case "/inside":
			http.Redirect(w, r, inner.URL, http.StatusFound)
		case "/file":
			w.Header().Set("Location", "file:///etc/passwd")
			w.WriteHeader(http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/large":
			w.Write(make([]byte, 1000))
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer outer.Close()
	only := func(at netip.AddrPort) bool { return strings.HasSuffix(outer.URL, at.String()) }
	f := NewFetcher(only)
	f.max = 900
	got, err := Reader{Web: f}.Bytes(t.Context(), outer.URL+"/a.png")
	require.NoError(t, err)
	require.Equal(t, data, got)
	name := strings.Replace(outer.URL, "127.0.0.1", "localhost", 1)
	for address, want := range map[string]string{
		outer.URL + "/inside":  "only public addresses",
		outer.URL + "/file":    "cannot be fetched",
		outer.URL + "/loop":    "cannot be fetched",
		outer.URL + "/large":   "must be at most",
		outer.URL + "/missing": "status 404",
		inner.URL:              "only public addresses",
		strings.Replace(inner.URL, "127.0.0.1", "localhost", 1): "only public addresses",
		strings.Replace(inner.URL, "127.0.0.1", "[::1]", 1):     "only public addresses",
		"http://user:pass@example.com/":                         "without a user",
		"http:///a":                                             "with a host",
	} {
		_, err := Reader{Web: f}.Bytes(t.Context(), address)
		require.ErrorContains(t, err, want, address)
	}
	_, err = Reader{Web: NewFetcher(nil)}.Bytes(t.Context(), name+"/a.png")
	require.ErrorContains(t, err, "only public addresses")
	require.Zero(t, hits)
}

func FuzzText(f *testing.F) {
	f.Add("data:image/png;base64," + base64.StdEncoding.EncodeToString(pngOf(f, 2, 2)))
	f.Add("iVBORw0KGgo=")
	f.Fuzz(func(t *testing.T, text string) {
		img, err := Reader{MaxPixels: 1 << 16}.Text(t.Context(), text)
		require.NotEqual(t, img == nil, err == nil)
	})
}
