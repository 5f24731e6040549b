package family

import (
	"fmt"
	"math"
	"strings"

	"github.com/sdgo/sdgo/convert/layout"
	"github.com/sdgo/sdgo/convert/model"
)

// Hyperparameters of layouts, as keys of Pixel's metadata and values in turn.
var (
	ddpmMarks = []string{"time_sines_first", "1", "time_shift", "1", "norm_eps", "1e-06", "attention_norm_eps", "1e-06", "pad_end", "1", "heads", "1",
		"qkv_by_head", "0"}

	// Of Song et al. (2021), and of EDM's SongUNet.
	songMarks = []string{"time_sines_first", "1", "time_shift", "1", "norm_eps", "1e-06", "attention_norm_eps", "1e-06",
		"skip_scale", fmt.Sprint(math.Sqrt(0.5)), "norm_min_channels", "4", "heads", "1"}
)

// pixelSays is what the names of a layout say and the shapes do not, as keys of
// Pixel's metadata.
func pixelSays(all []model.Stored) map[string]string {
	byName := make(map[string]model.Stored, len(all))
	for _, t := range all {
		byName[t.Name] = t
	}
	has := func(name string) bool { return byName[name].Name != "" }
	marks := map[string]string{}
	say := func(pairs ...string) {
		for i := 0; i < len(pairs); i += 2 {
			marks[pixelKey+pairs[i]] = pairs[i+1]
		}
	}
	switch {
	case layout.Contains(all, "input_blocks."):
		if scale := latentSays(all); scale != "" {
			marks[keyScaleFactor] = scale
		}
	case has("temb.dense.0.weight"):
		say(ddpmMarks...)
	case has("conv_in.weight") && has("time_proj.weight"): // NCSN++
		say(songMarks...)
		say("fir", "1", "process", ProcessVE)
	case has("conv_in.weight") && !scaleShifts(byName):
		say(ddpmMarks...)
	case has("conv_in.weight"):
		say("qkv_by_head", "0")
	case layout.Contains(all, "map_layer0."):
		edmMarks(all, byName, say)
	case layout.Contains(all, "all_modules."):
		scoreMarks(all, say)
	}
	return marks
}

// scaleShifts reports whether residual blocks of the diffusers library's layout are
// scaled and shifted by the time's embedding, as guided diffusion's are.
func scaleShifts(byName map[string]model.Stored) bool {
	const block = "down_blocks.0.resnets.0."
	return rows(byName[block+"time_emb_proj.weight"]) == 2*rows(byName[block+"conv1.weight"])
}

func rows(t model.Stored) int64 {
	if len(t.Shape) == 0 {
		return 0
	}
	return t.Shape[0]
}

// edmMarks are those of EDM's networks, SongUNet and DhariwalUNet.
func edmMarks(all []model.Stored, byName map[string]model.Stored, say func(pairs ...string)) {
	prefix := layout.EDMPrefix(all)
	say("process", ProcessEDM, "size", fmt.Sprint(layout.EDMSide(all)))
	if byName[prefix+"out_norm.weight"].Name != "" {
		say("norm_min_channels", "4", "qkv_by_head", "0") // DhariwalUNet
	} else {
		say(songMarks...)
	}
	for _, t := range all {
		if strings.HasSuffix(t.Name, ".resample_filter") && len(t.Shape) == 4 && t.Shape[3] == 4 {
			say("fir", "1")
		}
	}
	if label := byName[prefix+"map_label.weight"]; len(label.Shape) == 2 {
		say("classes", fmt.Sprint(label.Shape[1]), "null_class", fmt.Sprint(label.Shape[1]))
	}
}

// scoreMarks are those of score_sde's networks. Their levels of noise, if the file has
// them, end the process.
func scoreMarks(all []model.Stored, say func(pairs ...string)) {
	if layout.IsScoreDDPM(all) { // which score_sde has for its VP process
		say(ddpmMarks...)
		say("process", ProcessVP)
		return
	}
	say(songMarks...)
	if layout.Contains(all, ".Conv2d_0.") { // of filtered images
		say("fir", "1")
	}
	if !layout.Contains(all, "all_modules.0.W") {
		say("process", ProcessVP)
		return
	}
	say("process", ProcessVE, "fir", "1", "unit_range", "1", "center", "1")
	for _, t := range all {
		if !strings.HasSuffix(t.Name, "sigmas") || len(t.Shape) != 1 || t.Shape[0] < 2 || t.Shape[0] > 1<<16 || !t.Type.Float() {
			continue
		}
		values := make([]float32, t.Shape[0])
		if t.Float32(values) != nil {
			continue
		}
		low, high := values[0], values[0]
		for _, v := range values {
			low, high = min(low, v), max(high, v)
		}
		say("sigma_min", fmt.Sprint(low), "sigma_max", fmt.Sprint(high))
	}
}
