//go:build unix

package server

import (
	"bytes"
	"strings"
	"testing"

	"github.com/disintegration/imaging"
	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/server/fake"
	"github.com/sdgo/sdgo/server/wire"
)

var guideFiles = map[string]string{"guided.safetensors": "pixel/guided.safetensors", "classifiers/seen.safetensors": "pixel/classifier.safetensors"}

// Classifiers of the folder and guides with their pictures reach the worker, and what they
// cost counts.
func TestGuides(t *testing.T) {
	d := describe(t, withFolder(folderOf(t, guideFiles)))
	small, smallFile := photo(t, 16, 16)
	big, bigFile := photo(t, 64, 64)
	mask := imaging.AdjustSaturation(big, -100)
	var file bytes.Buffer
	require.NoError(t, picture.Encode(&file, mask, picture.Options{}))
	maskFile := base64Of(file.Bytes())
	float := request.Float
	seen := extra(wire.RoleClassifier, "seen.safetensors")
	for name, c := range map[string]struct {
		own    object // request's fields
		images []any
		want   request.Request
		roles  []wire.Model
	}{
		"a classifier": {own: object{"classifier": "SEEN.safetensors", "classifier_scale": 2.5, "classifier_class": "3"}, roles: []wire.Model{seen},
			want: request.Request{Classifier: "seen", ClassifierScale: float(2.5), ClassifierClass: "3"}},
		"a colour": {own: object{"guide": "colour=#20ff80"}, want: request.Request{Guides: []request.Guide{{Kind: request.GuideColour, Colour: "#20ff80"}}}},
		"pictures": {own: object{"guide": []object{{"kind": "colour", "colour": "#20ff80"}, {"kind": "lowres"}, {"kind": "mask"}}, "guide_method": "mpgd:scale=0.5"},
			images: []any{nil, smallFile, object{"image": maskFile, "of": "data:image/png;base64," + bigFile}},
			want: request.Request{GuideMethod: "mpgd", GuideOptions: map[string]float64{"scale": 0.5}, Guides: []request.Guide{
				{Kind: request.GuideColour, Colour: "#20ff80"}, {Kind: request.GuideLowres, Image: small}, {Kind: request.GuideMask, Image: mask, Of: big}}}},
		"a guide that is a classifier": {own: object{"guide": "lowres=,classifier=seen,class=2", "guide_method": "lgd:samples=3"}, images: []any{smallFile}, roles: []wire.Model{seen},
			want: request.Request{GuideMethod: "lgd", GuideOptions: map[string]float64{"samples": 3}, Guides: []request.Guide{
				{Kind: request.GuideLowres, Image: small}, {Kind: request.GuideClassifier, Classifier: "seen", Class: "2"}}}},
	} {
		c.want.Class, c.want.Seed, c.want.Steps, c.want.Width, c.want.Height, c.want.Sampler, c.want.Guidance = "1", 3, 4, 64, 64, "euler", float(1)
		q, err := c.want.Resolve(request.Defaults{Side: 64, Align: 8})
		require.NoError(t, err, name)
		expected := fake.Picture(q, c.roles...)
		for key, v := range (object{"class": "1", "seed": 3, "steps": 4, "width": 64, "height": 64, "sampler": "euler", "cfg_scale": 1}) {
			c.own[key] = v
		}
		job := d.order(string(mustJSON(t, object{"model": "guided", "request": c.own, "guide_images": c.images})))
		require.Equal(t, "done", job["status"], job)
		drawn, parameters := decode(t, base64Of(d.call(200, "GET", job["pictures"].([]any)[0].(object)["url"].(string), nil)))
		require.Equal(t, expected.Pix, drawn.Pix, name)
		if len(c.want.Guides) > 0 {
			require.Contains(t, parameters, "Guide: ", name)
			continue
		}
		require.Contains(t, parameters, "Classifier: seen, Classifier scale: 2.5, Classifier class: 3", name)
	}
	j := d.Service().Queue.Jobs()
	for _, one := range j { // what has ended keeps no picture
		for _, g := range one.Spec.Tasks[0].Request.Guides {
			require.Nil(t, g.Image)
			require.Nil(t, g.Of)
		}
	}
}

// What is wrong with guides is said by name, before anything is drawn.
func TestGuideMistakes(t *testing.T) {
	d := describe(t, func(c *Config) {
		withFolder(folderOf(t, guideFiles))(c)
		c.Service.Limits.Work = 1e7
	})
	_, file := photo(t, 16, 16)
	for body, want := range map[string]string{
		`{"request": {"class": "1", "classifier": "nobody"}}`:                                                                           `classifier \"nobody\" not found; there are: seen`,
		`{"request": {"class": "1", "classifier": "/etc/passwd"}}`:                                                                      `not found; there are: seen`,
		`{"request": {"class": "1", "classifier": "guided"}}`:                                                                           `not found; there are: seen`,
		`{"request": {"class": "1", "classifier_scale": 2}}`:                                                                            "must name the classifier",
		`{"request": {"class": "1", "classifier": "seen", "classifier_scale": -1}}`:                                                     "must be 0 to 10000",
		`{"request": {"class": "1", "guide": [{"kind": "classifier", "classifier": "no", "class": "1"}]}}`:                              `not found; there are: seen`,
		`{"request": {"class": "1", "guide": "lowres=/etc/passwd"}}`:                                                                    "send the pictures as guide_images",
		`{"request": {"class": "1", "guide": "mask=,of=../a.png"}}`:                                                                     "send the pictures as guide_images",
		`{"request": {"class": "1", "guide": "lowres="}}`:                                                                               "must be given to the guide lowres",
		`{"request": {"class": "1", "guide": "colour=#ff0000"}, "guide_images": ["` + file + `"]}`:                                      "is nothing that the guide colour takes",
		`{"request": {"class": "1", "guide": "mask="}, "guide_images": ["` + file + `"]}`:                                               "has no transparent pixels",
		`{"request": {"class": "1", "guide": "lowres="}, "guide_images": ["` + file + `", null]}`:                                       "got 2 for 1",
		`{"request": {"class": "1", "guide": "lowres="}, "guide_images": "` + file + `"}`:                                               "must be a list",
		`{"request": {"class": "1", "guide": "lowres="}, "guide_images": ["?"]}`:                                                        "guide 1: ",
		`{"request": {"class": "1", "guide": "lowres="}, "guide_images": [7]}`:                                                          "must be a text",
		`{"request": {"class": "1", "guide": "lowres="}, "guide_images": [{"picture": "` + file + `"}]}`:                                "there are image and of",
		`{"request": {"class": "1", "guide": "colour=#ff0000", "guide_method": "magic"}}`:                                               "magic",
		`{"request": {"class": "1", "guide_method": "mpgd"}}`:                                                                           "must be what GuideMethod and GuideOptions are about",
		`{"request": {"class": "1", "guide": [{"kind": "classifier", "classifier": "seen", "class": "1"}], "guide_method": "moments"}}`: "moments does not take classifiers",
		// 64 x 64 pixels, 20 steps: what the guidance takes of them is bounded, too.
		`{"request": {"class": "1", "width": 64, "height": 64, "guide": "colour=#ff0000", "guide_method": "lgd:samples=1000"}}`:    "too much for one request",
		`{"request": {"class": "1", "width": 64, "height": 64, "guide": "colour=#ff0000", "guide_method": "mpgd:recurrence=100"}}`: "too much for one request",
		`{"request": {"class": "1", "guide": [` + strings.Repeat(`{"kind":"lowres"},`, 16) + `{"kind":"lowres"}]}}`:                "must be at most 16 guides, got 17",
	} {
		reply, out := d.do("POST", "/api/v1/jobs", `{"model": "guided", `+body[1:])
		require.Contains(t, []int{400, 404}, reply.StatusCode, "%s: %s", body, out)
		require.Contains(t, string(out), want, body)
		require.NotContains(t, string(out), "safetensors", body)
	}
	require.Empty(t, d.Service().Queue.Jobs())
	all := d.object(200, "GET", "/api/v1/capabilities", nil)
	require.Len(t, all["guides"], 4)
	require.Len(t, all["guide_methods"], 6)
}
