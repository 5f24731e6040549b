package job

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/request"
)

// Guides as text, and as objects, which say the same. A picture without a file has no name.
func TestGuides(t *testing.T) {
	for _, c := range []struct {
		json string
		want []request.Guide
	}{
		{`{"guide": "colour=#ff8800, lowres=small.png"}`, []request.Guide{{Kind: request.GuideColour, Colour: "#ff8800"}, {Kind: request.GuideLowres, ImageFile: "small.png"}}},
		{`{"guide": [{"kind": "colour", "colour": "#ff8800"}, {"image": "small.png", "of": null, "kind": "lowres"}]}`,
			[]request.Guide{{Kind: request.GuideColour, Colour: "#ff8800"}, {Kind: request.GuideLowres, ImageFile: "small.png"}}},
		{`{"guide": "lowres=,mask=,mask=hole.png,of=photo.png"}`,
			[]request.Guide{{Kind: request.GuideLowres}, {Kind: request.GuideMask}, {Kind: request.GuideMask, ImageFile: "hole.png", OfFile: "photo.png"}}},
		{`{"guide": [{"kind": "lowres"}, {"kind": "mask", "image": null}]}`, []request.Guide{{Kind: request.GuideLowres}, {Kind: request.GuideMask}}},
		{`{"guide": [{"kind": "classifier", "classifier": "animals", "class": "cat, Siamese"}]}`, []request.Guide{{Kind: request.GuideClassifier, Classifier: "animals", Class: "cat, Siamese"}}},
		{`{"guide": [], "class": "1"}`, nil},
		{`{"guide": null}`, nil},
	} {
		r, err := Decode([]byte(c.json))
		require.NoError(t, err, c.json)
		require.Equal(t, c.want, r.Guides, c.json)
		text, err := Encode(r)
		require.NoError(t, err)
		again, err := Decode(text)
		require.NoError(t, err, string(text))
		require.Equal(t, r.Guides, again.Guides, string(text))
	}
	for json, want := range map[string]string{
		`{"guide": "shape=round"}`:                                                       `"shape" is no kind of guide`,
		`{"guide": "colour="}`:                                                           "must be the name of a guide's value, got an empty one",
		`{"guide": "colour=red"}`:                                                        "must be a colour such as #ff8800",
		`{"guide": "mask=a,mask=b,of=c,of=d"}`:                                           "has of twice",
		`{"guide": "` + strings.Repeat("lowres=a,", 16) + `lowres=a"}`:                   "must be at most 16 guides",
		`{"guide": [1]}`:                                                                 "guide 1: must be an object",
		`{"guide": [{"colour": "#ff8800"}]}`:                                             `guide 1: kind: must be colour, lowres, mask or classifier, got ""`,
		`{"guide": [{"kind": "colour", "colour": "red"}]}`:                               "colour: must be a colour such as #ff8800",
		`{"guide": [{"kind": "colour", "colour": "#ff8800", "image": "a.png"}]}`:         "image: is nothing that the guide colour takes",
		`{"guide": [{"kind": "lowres", "image": 1}]}`:                                    "image: must be a text",
		`{"guide": [{"kind": "lowres", "picture": "a"}]}`:                                "picture: unknown field",
		`{"guide": [{"kind": "lowres"}, {"kind": "lowres", "image": ""}]}`:               "guide 2: image: must be the name",
		`{"guide": [` + strings.Repeat(`{"kind":"lowres"},`, 16) + `{"kind":"lowres"}]}`: "must be at most 16 guides, got 17",
	} {
		_, err := Decode([]byte(json))
		require.ErrorContains(t, err, want, json)
	}
}
