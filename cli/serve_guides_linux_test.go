package cli

import (
	"bytes"
	"encoding/base64"
	"image"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/picture"
)

// own draws by the server's own interface.
func (s *served) own(order map[string]any) ([]uint8, string) {
	s.Helper()
	job := s.post("/api/v1/jobs", order)
	require.Eventually(s, func() bool {
		job = s.read(http.Get(s.url + job["poll_url"].(string)))
		return job["ended"] != nil
	}, time.Minute, 10*time.Millisecond)
	require.Equal(s, "done", job["status"], job)
	one := job["pictures"].([]any)[0].(map[string]any)
	reply, err := http.Get(s.url + one["url"].(string))
	require.NoError(s, err)
	defer reply.Body.Close()
	img, err := picture.Read(reply.Body)
	require.NoError(s, err)
	return img.Pix, one["parameters"].(string)
}

// guided is what one picture is guided by: on the command line, and in a request.
type guided struct {
	args    []string
	request map[string]any
	images  []any
}

// Pictures that classifiers and guides guide are those of the command line, to the bit,
// whoever draws beside them.
func TestServedGuides(t *testing.T) {
	folder := t.TempDir()
	for name, from := range map[string]string{"guided.safetensors": pixelModels + "guided.safetensors", "two/seen.safetensors": pixelModels + "classifier.safetensors",
		"one/seen.safetensors": pixelModels + "classifier.safetensors", "tiny.safetensors": sd1Tiny} {
		data, err := os.ReadFile(from)
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(folder, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), data, 0o600))
	}
	files := t.TempDir()
	low, whole, hole := image.NewNRGBA(image.Rect(0, 0, 4, 4)), image.NewNRGBA(image.Rect(0, 0, 16, 16)), image.NewNRGBA(image.Rect(0, 0, 16, 16))
	for _, img := range []*image.NRGBA{low, whole, hole} {
		for i := range img.Pix {
			if img.Pix[i] = uint8(255 - i*i%251); i%4 == 3 {
				img.Pix[i] = 255
				if img == hole && i%64 > 30 {
					img.Pix[i] = 0
				}
			}
		}
	}
	path, text := map[string]string{}, map[string]string{}
	for name, img := range map[string]image.Image{"low": low, "whole": whole, "hole": hole} {
		path[name] = writePNG(t, files, name+".png", img)
		data, err := os.ReadFile(path[name])
		require.NoError(t, err)
		text[name] = base64.StdEncoding.EncodeToString(data)
	}
	seen := filepath.Join(folder, "two/seen.safetensors")
	all := map[string]guided{
		"nothing":      {},
		"a classifier": {[]string{"--classifier", seen, "--classifier-class", "3", "--classifier-scale", "4"}, map[string]any{"classifier": "two/seen", "classifier_class": "3", "classifier_scale": 4}, nil},
		"a colour":     {[]string{"--guide", "colour=#20ff80"}, map[string]any{"guide": "colour=#20ff80"}, nil},
		"a smaller picture": {[]string{"--guide", "lowres=" + path["low"], "--guide-method", "mpgd:scale=0.5"},
			map[string]any{"guide": []any{map[string]any{"kind": "lowres"}}, "guide_method": "mpgd:scale=0.5"}, []any{text["low"]}},
		"a hole": {[]string{"--guide", "mask=" + path["hole"]}, map[string]any{"guide": "mask="}, []any{text["hole"]}},
		"a mask and a picture": {[]string{"--guide", "mask=" + path["whole"] + ",of=" + path["whole"], "--guide", "colour=#20ff80"},
			map[string]any{"guide": "mask=,colour=#20ff80"}, []any{map[string]any{"image": text["whole"], "of": text["whole"]}, nil}},
		"a class": {[]string{"--guide", "classifier=" + seen + ",class=2", "--guide-method", "lgd:samples=2"},
			map[string]any{"guide": []any{map[string]any{"kind": "classifier", "classifier": "one/seen", "class": "2"}}, "guide_method": "lgd:samples=2"}, nil},
	}
	want := map[string][]uint8{}
	for name, one := range all {
		want[name], _ = drawnBy(t, append([]string{"sample", "-m", filepath.Join(folder, "guided.safetensors"), "--class", "1", "-W", "16", "-H", "16"}, one.args...)...)
	}
	for name := range all {
		require.True(t, name == "nothing" || !bytes.Equal(want["nothing"], want[name]), name)
	}
	coloured, _ := drawnBy(t, "txt2img", "-m", filepath.Join(folder, "tiny.safetensors"), "-p", "a fox", "-W", "64", "-H", "64", "--guide", "colour=#3060c0")

	s := serve(t, nil, "--models", folder, "--batch-size", "8")
	var waiting sync.WaitGroup
	for range 2 {
		for name, one := range all {
			waiting.Go(func() {
				q := map[string]any{"class": "1", "seed": 1, "steps": 2, "width": 16, "height": 16}
				for k, v := range one.request {
					q[k] = v
				}
				got, said := s.own(map[string]any{"model": "guided", "request": q, "guide_images": one.images})
				if !bytes.Equal(want[name], got) {
					t.Errorf("%s: another picture than the command line's: %s", name, said)
				}
			})
		}
	}
	waiting.Wait()
	got, said := s.own(map[string]any{"model": "tiny", "request": map[string]any{"prompt": "a fox", "seed": 1, "steps": 2, "width": 64, "height": 64, "guide": "colour=#3060c0"}})
	require.Equal(t, coloured, got)
	require.Contains(t, said, "Guide: colour=#3060c0, Guide method: moments")

	// What does not go with the model is said without a path.
	job := s.post("/api/v1/jobs", map[string]any{"model": "tiny", "request": map[string]any{"prompt": "a fox", "steps": 1, "width": 64, "height": 64, "classifier": "one/seen", "classifier_class": "1"}})
	require.Eventually(t, func() bool {
		job = s.read(http.Get(s.url + job["poll_url"].(string)))
		return job["ended"] != nil
	}, time.Minute, 10*time.Millisecond)
	failure := job["error"].(map[string]any)
	require.Equal(t, "classifier", failure["param"])
	require.NotContains(t, failure["message"], folder)
}
