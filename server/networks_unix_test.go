//go:build unix

package server

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/server/catalog"
	"github.com/sdgo/sdgo/server/fake"
	"github.com/sdgo/sdgo/server/wire"
)

// folderOf is a folder with copies of files of testdata.
func folderOf(t *testing.T, files map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	for name, from := range files {
		data, err := os.ReadFile(filepath.Join("../testdata", from))
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(folder, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), data, 0o600))
	}
	return folder
}

// withFolder starts a server with a folder of models.
func withFolder(folder string) func(c *Config) {
	return func(c *Config) {
		all, err := catalog.New(catalog.Config{Folder: folder, Builtin: c.Service.Catalog.Entries(catalog.Checkpoint)[:1]})
		if err != nil {
			panic(err)
		}
		c.Service.Catalog = all
	}
}

var adapterFiles = map[string]string{
	"Lora/style.safetensors": "adapters/kohya.safetensors", "Lora/one/ink.safetensors": "adapters/locon.safetensors", "Lora/two/ink.safetensors": "adapters/loha.safetensors",
	"list.pt": "adapters/cloneofsimo-list.pt", "embeddings/shiny.pt": "adapters/words-a1111.pt", "embeddings/large.safetensors": "adapters/words-xl.safetensors",
}

// extra is a file as the engine is told of it.
func extra(role, file string) wire.Model { return wire.Model{Role: role, Path: file} }

// Adapters and textual inversions of the folder, in prompts of all interfaces: what a
// prompt names reaches the worker, and what is not there is refused by name.
func TestAdapters(t *testing.T) {
	folder := folderOf(t, adapterFiles)
	d := describe(t, withFolder(folder))
	guidance := 7.0
	want := func(text string, r request.Request, extras ...wire.Model) []uint8 {
		r.Prompt, r.Seed, r.Steps, r.Width, r.Height, r.Sampler = text, 3, 4, 64, 64, "euler"
		if r.Guidance = &guidance; text == "" {
			r.Guidance = nil
		}
		q, err := r.Resolve(request.Defaults{Side: 64, Align: 8})
		require.NoError(t, err)
		return fake.Picture(q, extras...).Pix
	}
	style, shiny, list := extra(wire.RoleLoRA, "style.safetensors"), extra(wire.RoleEmbedding, "shiny.pt"), extra(wire.RoleLoRA, "list.pt")
	for text, extras := range map[string][]wire.Model{
		"a fox": nil, "a fox <lora:style:0.5>": {style}, "<lyco:STYLE> a (Shiny:1.2) fox": {style, shiny}, "a fox <lora:style:1> <lora:list:unet=0.3>": {style, list},
		"shinybright": nil, "<lora:Lora/two/ink:1>": {extra(wire.RoleLoRA, "ink.safetensors")}, "shiny, shiny": {shiny},
	} {
		body := object{"prompt": text, "seed": 3, "steps": 4, "cfg_scale": 7, "width": 64, "height": 64, "size": "64x64", "sampler_name": "Euler", "sampler": "euler"}
		img, parameters := decode(t, d.object(200, "POST", "/sdapi/v1/txt2img", body)["images"].([]any)[0])
		require.Equal(t, want(text, request.Request{}, extras...), img.Pix, text)
		require.Contains(t, parameters, text, "the prompt is as it was sent")
		img, _ = decode(t, d.object(200, "POST", "/v1/images/generations", body)["data"].([]any)[0].(object)["b64_json"])
		require.Equal(t, want(text, request.Request{}, extras...), img.Pix, text)
		order, err := json.Marshal(object{"request": object{"prompt": text, "seed": 3, "steps": 4, "cfg_scale": 7, "width": 64, "height": 64, "sampler": "euler"}})
		require.NoError(t, err)
		job := d.order(string(order))
		require.Equal(t, "done", job["status"], job)
	}
	job := d.order(`{"request": {"prompt": "a fox", "lora": "STYLE:0.25", "seed": 3, "steps": 4, "width": 64, "height": 64, "cfg_scale": 7, "sampler": "euler"}}`)
	require.Equal(t, "done", job["status"], job)
	file := d.call(200, "GET", job["pictures"].([]any)[0].(object)["url"].(string), nil)
	img, parameters := decode(t, base64Of(file))
	require.Equal(t, want("a fox", request.Request{Adapters: []request.Adapter{{Name: "style", Strength: request.Float(0.25)}}}, style), img.Pix)
	require.Contains(t, parameters, "style:0.25")

	for text, problem := range map[string]string{
		"<lora:nothing:1>": "nothing", "<lora:../Lora/style:1>": "not found", "<lora:/etc/passwd:1>": "not found", "<lora:ink:1>": "Lora/one/ink, Lora/two/ink", "<lora:sty:1>": "not found",
		"<hypernet:style:1>": "extra networks", "<lora::1>": "not found", "<lora:shiny:1>": "not found", "<lora:style.safetensors.x>": "not found",
	} {
		body := object{"prompt": text}
		require.Contains(t, fmt.Sprint(d.object(422, "POST", "/sdapi/v1/txt2img", body)), problem, text)
		e := d.object(400, "POST", "/v1/images/generations", body)["error"].(object)
		require.Equal(t, "prompt", e["param"])
		require.Contains(t, e["message"], problem, text)
		order := fmt.Sprintf(`{"request": {"prompt": %q}}`, text)
		require.Contains(t, string(d.call(400, "POST", "/api/v1/jobs", order)), problem, text)
	}
	require.Contains(t, string(d.call(400, "POST", "/api/v1/jobs", `{"request": {"lora": [{"name": "nothing"}]}}`)), `"param":"lora"`)
}

// What the interfaces say of adapters, and that files which come, go and change are
// noticed.
func TestListsOfAdapters(t *testing.T) {
	folder := folderOf(t, adapterFiles)
	d := describe(t, withFolder(folder))
	kinds := map[string]any{}
	for _, one := range d.get(200, "GET", "/api/v1/models", nil)["models"].([]any) {
		m := one.(object)
		kinds[m["name"].(string)] = m["kind"]
		if m["name"] == "shiny" {
			require.Equal(t, 3.0, m["vectors"])
		}
		if m["name"] == "style" {
			require.Contains(t, m["description"], "rank")
			require.NotContains(t, m, "state", "no worker opens it by itself")
		}
	}
	require.Equal(t, map[string]any{"fake-a": "checkpoint", "style": "lora", "Lora/one/ink": "lora", "Lora/two/ink": "lora", "list": "lora", "shiny": "embedding", "large": "embedding"}, kinds)

	_, text := d.do("GET", "/sdapi/v1/loras", nil)
	var loras []struct {
		Name, Alias, Path string
		Metadata          map[string]any
	}
	require.NoError(t, json.Unmarshal(text, &loras))
	require.Len(t, loras, 4)
	require.NotContains(t, string(text), folder)
	for _, one := range loras {
		require.NotNil(t, one.Metadata)
		require.Equal(t, filepath.Base(one.Path), one.Path)
		require.NotEmpty(t, one.Alias)
	}
	all := d.object(200, "GET", "/sdapi/v1/embeddings", nil)
	require.Len(t, all["skipped"], 2, "the fake model has no text encoder")
	require.Equal(t, object{"step": nil, "sd_checkpoint": nil, "sd_checkpoint_name": nil, "shape": 64.0, "vectors": 3.0}, all["skipped"].(object)["shiny"])

	require.NoError(t, os.Remove(filepath.Join(folder, "Lora/style.safetensors")))
	require.NoError(t, os.Rename(filepath.Join(folder, "embeddings/shiny.pt"), filepath.Join(folder, "embeddings/glossy.pt")))
	reply, _ := d.do("POST", "/sdapi/v1/refresh-loras", nil)
	require.Equal(t, 200, reply.StatusCode)
	require.Contains(t, string(d.call(400, "POST", "/api/v1/jobs", `{"request": {"prompt": "<lora:style:1>"}}`)), "not found")
	require.Contains(t, d.object(200, "GET", "/sdapi/v1/embeddings", nil)["skipped"], "glossy")

	// A file that changed is another one for the worker.
	before := d.Service().Catalog.Entries(catalog.LoRA)[0]
	require.NoError(t, os.Chtimes(before.Path, time.Now(), before.Modified.Add(time.Hour)))
	require.NoError(t, d.Service().Catalog.Scan())
	j := func() wire.Model {
		job := d.order(`{"request": {"prompt": "<lora:` + before.Name + `:1>"}}`)
		found, ok := d.Service().Queue.Find("", job["id"].(string))
		require.True(t, ok)
		return found.Spec.Tasks[0].Attach[0]
	}()
	require.Equal(t, before.Modified.Add(time.Hour).UnixNano(), j.Modified)
}

// Models that draw by class, or freely: what the interfaces say of them, and how they are
// told what to draw.
func TestModelsWithoutText(t *testing.T) {
	d := describe(t, withFolder(folderOf(t, map[string]string{"cin.safetensors": "pixel/cin.safetensors", "churches.safetensors": "pixel/churches.safetensors", "guided.safetensors": "pixel/guided.safetensors",
		"upsampler.safetensors": "pixel/upsampler.safetensors", "classifier.safetensors": "pixel/classifier.safetensors", "skip.safetensors": "pixel/ncsnpp.safetensors"})))
	all := map[string]object{}
	for _, one := range d.get(200, "GET", "/api/v1/models", nil)["models"].([]any) {
		all[one.(object)["name"].(string)] = one.(object)
	}
	require.Equal(t, "text", all["fake-a"]["draws_from"])
	require.Equal(t, "class", all["cin"]["draws_from"])
	require.Equal(t, true, all["cin"]["class_optional"])
	require.Equal(t, []any{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}, all["cin"]["classes"])
	require.Equal(t, 3.0, all["cin"]["guidance"])
	require.Equal(t, "class", all["guided"]["draws_from"])
	require.NotContains(t, all["guided"], "class_optional")
	require.Equal(t, "nothing", all["churches"]["draws_from"])
	require.Equal(t, "enlarge", all["upsampler"]["variant"])
	require.Equal(t, "classifier", all["classifier"]["kind"])
	require.Len(t, all["classifier"]["classes"], 10)
	require.NotContains(t, all["classifier"], "draws_from")

	want := func(class string) []uint8 {
		r := request.Request{Class: class, Seed: 3, Steps: 4, Width: 64, Height: 64, Sampler: "euler", Guidance: request.Float(1)}
		q, err := r.Resolve(request.Defaults{Side: 64, Align: 8})
		require.NoError(t, err)
		return fake.Picture(q).Pix
	}
	// The prompt of the interfaces that have no classes is one.
	body := object{"prompt": " 3 ", "model": "guided", "override_settings": object{"sd_model_checkpoint": "guided"}, "seed": 3, "steps": 4, "cfg_scale": 1, "width": 64, "height": 64, "size": "64x64", "sampler_name": "Euler", "sampler": "euler"}
	img, _ := decode(t, d.object(200, "POST", "/sdapi/v1/txt2img", body)["images"].([]any)[0])
	require.Equal(t, want("3"), img.Pix)
	img, _ = decode(t, d.object(200, "POST", "/v1/images/generations", body)["data"].([]any)[0].(object)["b64_json"])
	require.Equal(t, want("3"), img.Pix)
	job := d.order(`{"model": "guided", "request": {"class": "3", "seed": 3, "steps": 4, "cfg_scale": 1, "width": 64, "height": 64, "sampler": "euler"}}`)
	img, _ = decode(t, base64Of(d.call(200, "GET", job["pictures"].([]any)[0].(object)["url"].(string), nil)))
	require.Equal(t, want("3"), img.Pix)

	// What a request does not say is the model's.
	d.object(200, "POST", "/sdapi/v1/txt2img", `{"prompt": "3", "override_settings": {"sd_model_checkpoint": "guided"}}`)
	r := d.Service().Queue.Jobs()[0].Spec.Tasks[0].Request
	require.Equal(t, request.Request{Class: "3", Seed: r.Seed, PreviewEvery: r.PreviewEvery}, r)
	e := d.object(422, "POST", "/sdapi/v1/txt2img", `{"prompt": "a fox", "override_settings": {"sd_model_checkpoint": "churches"}}`)
	require.Contains(t, fmt.Sprint(e), "draws freely")
	d.object(200, "POST", "/sdapi/v1/txt2img", `{"override_settings": {"sd_model_checkpoint": "churches"}}`)
	d.object(200, "POST", "/v1/images/generations", `{"prompt": " ", "model": "churches"}`)
	require.Empty(t, d.Service().Queue.Jobs()[0].Spec.Tasks[0].Request.Prompt)

	// One enlarges what another has drawn.
	job = d.order(`{"model": "guided", "request": {"class": "3", "stages": "UPSAMPLER"}}`)
	require.Equal(t, "done", job["status"], job)
	require.Equal(t, wire.RoleStage, d.Service().Queue.Jobs()[0].Spec.Tasks[0].Attach[0].Role)
	require.Contains(t, string(d.call(404, "POST", "/api/v1/jobs", `{"model": "guided", "request": {"class": "3", "stages": "nothing"}}`)), "not found")
}
