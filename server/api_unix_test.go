//go:build unix

package server

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/server/fake"
	"github.com/sdgo/sdgo/server/gallery"
)

// described is a server whose own interface is held to its description.
type described struct {
	*fixture
	document *openapi3.T
	router   routers.Router
	seen     map[string]bool // operations
}

func describe(t *testing.T, change func(*Config)) *described {
	d := &described{fixture: start(t, change), seen: map[string]bool{}}
	_, text := d.fixture.do("GET", "/api/v1/openapi.json", nil)
	var err error
	d.document, err = openapi3.NewLoader().LoadFromData(text)
	require.NoError(t, err)
	require.NoError(t, d.document.Validate(t.Context()))
	d.router, err = gorillamux.NewRouter(d.document)
	require.NoError(t, err)
	return d
}

// call sends a request and checks it, if it is a right one, and its reply.
func (d *described) call(status int, method, path string, body any, headers ...string) []byte {
	d.Helper()
	reply, out := d.fixture.do(method, path, body, headers...)
	require.Equal(d, status, reply.StatusCode, "%s", out)
	r, err := http.NewRequestWithContext(d.Context(), method, path, nil)
	require.NoError(d, err)
	route, params, err := d.router.FindRoute(r)
	require.NoError(d, err, "%s %s is in openapi.json", method, path)
	d.seen[route.Operation.OperationID] = true
	in := &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route, Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, MultiError: true}}
	if text, ok := body.(string); ok && status < 300 {
		r.Body, r.Header = io.NopCloser(strings.NewReader(text)), http.Header{"Content-Type": {"application/json"}}
		require.NoError(d, openapi3filter.ValidateRequest(d.Context(), in), "%s", text)
	}
	check := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: status, Header: reply.Header, Options: &openapi3filter.Options{IncludeResponseStatus: true}}
	if strings.HasPrefix(reply.Header.Get("Content-Type"), "application/json") {
		check.SetBodyBytes(out)
	} else {
		check.Options.ExcludeResponseBody = true
	}
	require.NoError(d, openapi3filter.ValidateResponse(d.Context(), check), "%s %s: %s", method, path, out)
	return out
}

func (d *described) get(status int, method, path string, body any, headers ...string) object {
	d.Helper()
	var v object
	require.NoError(d, json.Unmarshal(d.call(status, method, path, body, headers...), &v))
	return v
}

// order makes a job and waits for its end.
func (d *described) order(body string) object {
	d.Helper()
	job := d.get(202, "POST", "/api/v1/jobs", body)
	require.Eventually(d, func() bool {
		job = d.get(200, "GET", job["poll_url"].(string), nil)
		return slices.Contains([]any{"done", "failed", "cancelled"}, job["status"])
	}, 20*time.Second, time.Millisecond)
	return job
}

// Everything of the server's own interface, as openapi.json says it.
func TestOwnInterface(t *testing.T) {
	folder, err := gallery.Open(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { folder.Close() })
	d := describe(t, func(c *Config) { c.Service.Gallery = folder })
	capabilities := d.get(200, "GET", "/api/v1/capabilities", nil)
	d.schemaOfRequests(capabilities)
	require.Equal(t, []any{}, d.get(200, "GET", "/api/v1/jobs", nil)["jobs"])
	require.Len(t, d.get(200, "GET", "/api/v1/models", nil)["models"], 5)
	d.call(200, "POST", "/api/v1/models/refresh", nil)
	d.call(202, "POST", "/api/v1/models/load", `{"model": "sd2"}`)
	require.Eventually(t, func() bool {
		out := d.call(200, "GET", "/api/v1/models", nil)
		return bytes.Contains(out, []byte(`"state":"loaded"`))
	}, 10*time.Second, 5*time.Millisecond)
	d.call(200, "GET", "/api/v1/status", nil)
	d.call(200, "POST", "/api/v1/models/unload", `{"model": "sd2"}`)
	d.call(404, "POST", "/api/v1/models/load", `{"model": "nothing"}`)
	d.call(400, "POST", "/api/v1/models/unload", `{}`)
	require.Contains(t, string(d.call(400, "POST", "/api/v1/jobs", `{"request": {"prompt": "a fox", "lora": "style:0.5"}}`)), "the server has none")

	job := d.order(`{"request": {"prompt": "a fox", "count": 2, "seed": 18446744073709551613, "width": 64, "height": 64, "steps": 4, "hires": [{"scale": 1.5}]}, "output": {"format": "jpg", "quality": 80}, "key": "mine"}`)
	require.Equal(t, "done", job["status"], job)
	require.Len(t, job["pictures"], 2)
	one := job["pictures"].([]any)[1].(object)
	out := d.call(200, "GET", "/api/v1/jobs/mine", nil)
	require.Contains(t, string(out), `"seed":18446744073709551614`)
	require.Equal(t, "jpeg", one["format"])
	file := d.call(200, "GET", one["url"].(string), nil)
	img, format, err := image.Decode(bytes.NewReader(file))
	require.NoError(t, err)
	require.Equal(t, "jpeg", format)
	require.Equal(t, image.Rect(0, 0, 64, 64), img.Bounds())
	facts, err := picture.ReadFacts(bytes.NewReader(file))
	require.NoError(t, err)
	require.Equal(t, one["parameters"], facts.Texts[0].Value)
	small, format, err := image.Decode(bytes.NewReader(d.call(200, "GET", one["thumbnail_url"].(string), nil)))
	require.NoError(t, err)
	require.Equal(t, "jpeg", format)
	require.LessOrEqual(t, small.Bounds().Dx(), 256)
	parameters := d.get(200, "GET", one["url"].(string)+"/parameters", nil)
	require.Equal(t, parameters, d.get(200, "POST", "/api/v1/parameters", file))
	text, err := json.Marshal(object{"text": one["parameters"]})
	require.NoError(t, err)
	require.Equal(t, parameters["request"], d.get(200, "POST", "/api/v1/parameters", string(text))["request"])
	// The model has a tokenizer of its own, which knows letters alone.
	require.Equal(t, object{"tokens": 4.0, "chunks": 1.0, "chunk": 75.0}, d.get(200, "POST", "/api/v1/tokens", `{"text": "a fox", "model": "sd2"}`))
	d.call(200, "POST", "/api/v1/tokens", `{"text": null}`)
	d.call(400, "POST", "/api/v1/tokens", `{"prompt": "a fox"}`)
	d.call(404, "POST", "/api/v1/tokens", `{"text": "a fox", "model": "nothing"}`)
	d.call(409, "POST", "/api/v1/jobs", `{"key": "mine"}`)
	d.call(400, "POST", "/api/v1/parameters", pngOf(t, 8, 8, nil))
	d.call(409, "POST", "/api/v1/jobs/mine/cancel", nil)
	d.call(409, "POST", "/api/v1/jobs/mine/skip", nil)
	d.call(404, "GET", "/api/v1/jobs/mine/preview", nil)
	d.call(404, "GET", "/api/v1/jobs/nothing", nil)

	// The gallery, a page at a time; it has them after the job is forgotten, too.
	require.Eventually(t, func() bool { return len(folder.List()) == 2 }, 5*time.Second, time.Millisecond)
	page := d.get(200, "GET", "/api/v1/pictures?limit=1", nil)
	require.Len(t, page["pictures"], 1)
	rest := d.get(200, "GET", page["next"].(string), nil)
	require.Len(t, rest["pictures"], 1)
	require.Nil(t, rest["next"])
	d.call(400, "GET", "/api/v1/pictures?limit=0", nil)
	d.call(404, "GET", "/api/v1/pictures?after="+strings.Repeat("0", 32), nil)
	d.call(204, "DELETE", one["url"].(string), nil)
	d.call(404, "DELETE", one["url"].(string), nil)
	d.call(404, "GET", one["url"].(string), nil)

	// Pictures that jobs begin with.
	up := d.get(201, "POST", "/api/v1/uploads", pngOf(t, 64, 64, nil))
	mask := d.get(201, "POST", "/api/v1/uploads", pngOf(t, 64, 64, color.White))
	job = d.order(fmt.Sprintf(`{"image": "id:%s", "mask": "id:%s", "request": {"strength": 0.5, "mask_fill": "noise", "steps": 2}}`, up["id"], mask["id"]))
	require.Equal(t, "done", job["status"], job)
	require.Contains(t, job["pictures"].([]any)[0].(object)["parameters"], "Denoising strength: 0.5, Masked content: noise")
	job = d.order(fmt.Sprintf(`{"image": "id:%s", "upscale": {"model": "x4", "scale": 3}}`, up["id"]))
	require.Equal(t, "upscale", job["kind"])
	require.Equal(t, 192.0, job["pictures"].([]any)[0].(object)["width"])
	edges := d.call(200, "POST", "/api/v1/preprocess", fmt.Sprintf(`{"image": "id:%s", "preprocessor": "canny"}`, up["id"]))
	img, _, err = image.Decode(bytes.NewReader(edges))
	require.NoError(t, err)
	require.Equal(t, image.Rect(0, 0, 64, 64), img.Bounds())
	d.call(400, "POST", "/api/v1/uploads", []byte("no picture"))
	for _, id := range []string{"getJob", "watchJob", "previewJob", "cancelJob", "skipPicture"} {
		d.seen[id] = true // of TestJobsAreWatched
	}
	for path, item := range d.document.Paths.Map() {
		for method, op := range item.Operations() {
			require.True(t, d.seen[op.OperationID] || op.OperationID == "openapi", "%s %s is tested", method, path)
			require.Contains(t, d.Patterns(), method+" "+path)
		}
	}
	for _, pattern := range d.Patterns() {
		if method, path, _ := strings.Cut(pattern, " "); strings.HasPrefix(path, "/api/v1/") {
			item := d.document.Paths.Find(path)
			require.NotNil(t, item, "%s is in openapi.json", pattern)
			require.NotNil(t, item.GetOperation(method), "%s is in openapi.json", pattern)
		}
	}
}

// schemaOfRequests checks that the description has the fields of requests, and the list
// of capabilities, too.
func (d *described) schemaOfRequests(capabilities object) {
	d.Helper()
	listed := map[string]bool{}
	for _, f := range capabilities["fields"].([]any) {
		listed[f.(object)["key"].(string)] = true
	}
	properties := d.document.Components.Schemas["Request"].Value.Properties
	passes := d.document.Components.Schemas["HiresPass"].Value.Properties
	known := map[string]bool{"sampler_options": true, "guidance_options": true}
	for _, f := range job.Fields() {
		known[f.Key] = true
		if f.Path == "ImageFile" || f.Path == "MaskFile" {
			require.NotContains(d, properties, f.Key)
			continue
		}
		require.Contains(d, properties, f.Key)
		require.True(d, listed[f.Key] || f.Path == "PreviewEvery", f.Key)
		if f.PassKey != "" {
			require.Contains(d, passes, f.PassKey)
		}
	}
	for key := range properties {
		require.True(d, known[key], "%s is a field", key)
	}
}

// What is wrong with an order is told field by field.
func TestWrongOrders(t *testing.T) {
	d := describe(t, nil)
	for body, want := range map[string]string{
		`{"request": {"steps": 0, "width": 7, "nonsense": 1}}`:     `"field":"steps"`,
		`{"request": {"steps": "30"}}`:                             `"field":"steps"`,
		`{"nonsense": 1}`:                                          `nonsense: unknown field; there are model, vae, request`,
		`{"priority": 101}`:                                        `must be a whole number from -100 to 100`,
		`{"output": {"format": "avif"}}`:                           `format: must be`,
		`{"output": {"quality": 0}}`:                               `must be 1 to 100, got 0`,
		`{"output": {"size": 0}}`:                                  `size: unknown field`,
		`{"key": ""}`:                                              `must be a text of 1 to 128 bytes`,
		`{"image": 5}`:                                             `must be a text`,
		`{"image": "id:0"}`:                                        `no upload and no picture`,
		`{"upscale": {"model": "x4"}}`:                             `upscale needs an image`,
		`{"upscale": {"scale": 2}}`:                                `must name an upscaler`,
		`{"upscale": {"model": "x4", "scale": 17}}`:                `at most 16`,
		`{"upscale": {"model": "x4", "width": 17}}`:                `a scale, or a width and a height`,
		`{"previews": 1}`:                                          `must be true or false`,
		`{"request": {"prompt": "x"}, "request": {"prompt": "y"}}`: `twice`,
		`[]`:                                   `object`,
		`{`:                                    `JSON`,
		`{"request": []}`:                      `object`,
		`{"request": {"input": "a.png"}}`:      `send the pictures as image and mask`,
		`{"request": {"sampler": "nonsense"}}`: `"field":"sampler"`,
		`{"request": {"seed": 18446744073709551615, "count": 2}}`:          `"field":"seed"`,
		`{"request": {"width": 4104, "height": 4104}}`:                     `"param":"width"`,
		`{"request": {"hires": [{"scale": 2}, {"steps": 0}]}}`:             `hires`,
		`{"request": {"sampler": "euler", "sampler_options": {"eta": 1}}}`: `eta`,
	} {
		require.Contains(t, string(d.call(400, "POST", "/api/v1/jobs", body)), want, body)
	}
	require.Contains(t, string(d.call(404, "POST", "/api/v1/jobs", `{"request": {"hires": [{"upscaler": "nothing"}]}}`)), "not found")
	d.call(404, "POST", "/api/v1/jobs", `{"model": "nothing"}`)
	d.call(404, "POST", "/api/v1/jobs", `{"model": "x4"}`)
	// One that its worker refuses has the field, too.
	job := d.order(`{"request": {"negative": "<lora:x:1>"}}`)
	require.Equal(t, "failed", job["status"])
	require.Equal(t, "negative", job["error"].(object)["param"])
	require.Equal(t, "invalid_request", job["error"].(object)["code"])
}

// Events tell how a job goes until its end; it is cancelled and skipped, with previews.
func TestJobsAreWatched(t *testing.T) {
	d := describe(t, nil)
	job := d.get(202, "POST", "/api/v1/jobs", `{"request": {"prompt": "`+fake.Slow+`", "steps": 40, "count": 3, "width": 64, "height": 64}}`)
	reply, err := http.Get(d.web.URL + job["events_url"].(string))
	require.NoError(t, err)
	defer reply.Body.Close()
	require.Equal(t, "text/event-stream", reply.Header.Get("Content-Type"))
	lines := bufio.NewScanner(reply.Body)
	lines.Buffer(nil, 1<<20)
	schema := d.document.Components.Schemas["Job"].Value
	var last object
	next := func() bool {
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				last = nil
				require.NoError(t, json.Unmarshal([]byte(data), &last))
				require.NoError(t, schema.VisitJSON(last))
				return true
			}
		}
		return false
	}
	for next() && last["preview_url"] == nil {
	}
	require.Equal(t, "running", last["status"])
	d.call(200, "GET", last["preview_url"].(string), nil)
	d.call(200, "POST", job["poll_url"].(string)+"/skip", nil)
	for next() && last["progress"].(object)["skipped"] == nil {
	}
	require.Equal(t, 1.0, last["progress"].(object)["skipped"])
	for next() && last["progress"].(object)["step"] == nil {
	}
	require.Equal(t, "sample", last["progress"].(object)["stage"])
	require.Equal(t, "cancelled", d.get(200, "POST", job["poll_url"].(string)+"/cancel", nil)["status"])
	for next() {
	}
	require.Equal(t, "cancelled", last["status"])
	// Whoever connects again with the last version gets nothing twice.
	r, err := http.NewRequestWithContext(t.Context(), "GET", d.web.URL+job["events_url"].(string), nil)
	require.NoError(t, err)
	reply, err = http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	require.NoError(t, err)
	id, _, _ := strings.Cut(strings.TrimPrefix(string(text), "id: "), "\n")
	r.Header.Set("Last-Event-ID", id)
	again, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer again.Body.Close()
	text, err = io.ReadAll(again.Body)
	require.NoError(t, err)
	require.Empty(t, text)
}

// Pictures are those of their requests, whatever else is drawn.
func TestPicturesOfManyClients(t *testing.T) {
	d := describe(t, func(c *Config) { c.Pool.Batch = 4 })
	ids := map[string]uint64{}
	for seed := range uint64(40) {
		job := d.get(202, "POST", "/api/v1/jobs", fmt.Sprintf(`{"request": {"prompt": "x", "seed": %d, "width": 64, "height": 64, "steps": 3}}`, seed))
		ids[job["poll_url"].(string)] = seed
	}
	for url, seed := range ids {
		var job object
		require.Eventually(t, func() bool { job = d.get(200, "GET", url, nil); return job["status"] == "done" }, 20*time.Second, time.Millisecond)
		img, err := picture.Read(bytes.NewReader(d.call(200, "GET", job["pictures"].([]any)[0].(object)["url"].(string), nil)))
		require.NoError(t, err)
		require.Equal(t, fakePicture(t, request.Request{Prompt: "x", Seed: int64(seed), Steps: 3, Width: 64, Height: 64}).Pix, img.Pix)
	}
}
