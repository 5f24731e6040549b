package job

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/request"
)

// Lists, in which the last value holds for the networks after it, and an empty place is
// the default; objects say the same.
func TestControls(t *testing.T) {
	float := request.Float
	for _, c := range []struct {
		json string
		want []request.Control
	}{
		{`{"control": "canny.safetensors", "control_image": "edges.png"}`, []request.Control{{Name: "canny.safetensors", ImageFile: "edges.png"}}},
		{`{"control": "canny,depth", "control_image": "a\\, b.png,c.png", "control_weight": "0.5", "control_end": ",0.8", "control_mode": "prompt,guess"}`,
			[]request.Control{{Name: "canny", ImageFile: "a, b.png", Weight: float(0.5), Mode: request.ControlPrompt},
				{Name: "depth", ImageFile: "c.png", Weight: float(0.5), End: float(0.8), Mode: request.ControlGuess}}},
		{`{"control": [{"name": "canny", "image": "edges.png", "weight": 0.5, "start": 0.1, "end": 0.8, "mode": "control"}, {"name": "tile"}]}`,
			[]request.Control{{Name: "canny", ImageFile: "edges.png", Weight: float(0.5), Start: float(0.1), End: float(0.8), Mode: request.ControlNetwork}, {Name: "tile"}}},
		{`{"control": [], "prompt": "a"}`, nil},
		{`{"control": null}`, nil},
	} {
		r, err := Decode([]byte(c.json))
		require.NoError(t, err, c.json)
		require.Equal(t, c.want, r.Controls, c.json)
		text, err := Encode(r)
		require.NoError(t, err)
		again, err := Decode(text)
		require.NoError(t, err, string(text))
		require.Equal(t, r.Controls, again.Controls, string(text))
	}
	for json, want := range map[string]string{
		`{"control_weight": "1"}`:                                                "there is no ControlNet that it could be for; control FILE names one",
		`{"control": "a", "control_weight": "1,2"}`:                              "at most one value a ControlNet, got 2 values for 1",
		`{"control": "a", "control_weight": "11"}`:                               "must be 0 to 10, got 11",
		`{"control": "a", "control_start": "nan"}`:                               "must be",
		`{"control": "a", "control_mode": "x"}`:                                  "must be balanced, prompt, control or guess",
		`{"control": "a,,b"}`:                                                    "must be the name of a ControlNet",
		`{"control": "` + strings.Repeat("a,", 16) + `a"}`:                       "must be at most 16 ControlNets, got 17",
		`{"control": [{"image": "a.png"}]}`:                                      "ControlNet 1: must have a name",
		`{"control": [{"name": "a", "wait": 1}]}`:                                "wait: unknown field",
		`{"control": [{"name": "a", "weight": "1"}]}`:                            "weight: must be a number",
		`{"control": [1]}`:                                                       "ControlNet 1: must be an object",
		`{"control": [` + strings.Repeat(`{"name":"a"},`, 16) + `{"name":"a"}]}`: "must be at most 16 ControlNets, got 17",
	} {
		_, err := Decode([]byte(json))
		require.ErrorContains(t, err, want, json)
	}
}

// AUTOMATIC1111's extension's parameters, as they are read and written.
func TestControlsInPictures(t *testing.T) {
	const text = "a fox\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512, Model: m, " +
		`ControlNet 0: "Module: none, Model: control_v11p_sd15_canny [d14c016b], Weight: 0.8, Resize Mode: Crop and Resize, Processor Res: 512, ` +
		`Guidance Start: 0.1, Guidance End: 0.9, Pixel Perfect: False, Control Mode: My prompt is more important", ` +
		`ControlNet 1: "Module: canny, Model: other [1], Weight: 1.0", ControlNet 2: "Module: depth_midas, Model: third [1]", Version: 1.9.0`
	p, unread, err := ReadText(text)
	require.NoError(t, err)
	require.Equal(t, []request.Control{{Name: "control_v11p_sd15_canny", Weight: request.Float(0.8), Start: request.Float(0.1), End: request.Float(0.9), Mode: request.ControlPrompt},
		{Name: "other", Preprocess: "canny", Weight: request.Float(1)}}, p.Controls)
	require.Len(t, unread, 1)
	require.Contains(t, unread[0].String(), `preprocessor "depth_midas" needs a network of its own`)

	q, err := request.Request{Prompt: "a", Controls: []request.Control{{Name: "folder/canny.safetensors", Image: nil, ImageFile: `C:\in\edges.png`}, {Name: "b", Mode: request.ControlGuess, ImageFile: "x"}}}.Resolve(defaults)
	require.Error(t, err) // the pictures are not there
	written := Text(q.Params("m", 1), "1")
	require.Contains(t, written, `ControlNet 0: "Module: none, Model: canny.safetensors, Image: edges.png, Weight: 1, Guidance Start: 0, Guidance End: 1, Control Mode: Balanced"`)
	p, unread, err = ReadText(written)
	require.NoError(t, err)
	require.Empty(t, unread)
	require.Len(t, p.Controls, 2)
	require.Equal(t, "edges.png", p.Controls[0].ImageFile)
	require.Equal(t, request.ControlGuess, p.Controls[1].Mode)

	// Preprocessors have its names where it has the same numbers.
	for ours, module := range map[string]string{"canny": "canny", "lineart": `lineart_standard`, "blur": "blur_gaussian", "canny:low=50:high=90": `"canny:low=50:high=90"`} {
		text := controlsText(Field{}, &request.Request{Controls: []request.Control{{Name: "n", Preprocess: ours}}})[0].value
		require.Contains(t, text, "Module: "+module)
		c, err := readControl(text)
		require.NoError(t, err)
		require.Equal(t, ours, c.Preprocess)
	}
}
