package job

import (
	"fmt"
	"image"
	"slices"
	"strconv"
	"strings"

	"github.com/sdgo/sdgo/sd/request"
)

// AUTOMATIC1111's layout is the prompt, a line for the negative prompt if there is one,
// and a line of settings, "Steps: 20, Sampler: Euler a". What follows is how a field is
// written there if not as its key and its value; a1111_read.go reads it back, and
// a1111_names.go has the names of what others know, too.

const (
	negativeLine = "Negative prompt: "
	versionKey   = "Version"
	ours         = "sdgo " // our versions begin with it
	modelKey     = "Model"
	modelHashKey = "Model hash"
	vaeKey       = "VAE"
	vaeHashKey   = "VAE hash"
	clipLKey     = "CLIP-L"
	clipGKey     = "CLIP-G"
	t5Key        = "T5"
	llmKey       = "LLM"
	llmVisionKey = "LLM vision"

	// promptLinesKey is how many lines the prompt has. It is written where one of them
	// looks like a negative prompt.
	promptLinesKey = "Prompt lines"

	// hiresPlace stands for all settings of hires passes, and anyPlace for those whose
	// place does not matter.
	hiresPlace, anyPlace = "Hires", ""
)

// settingsOrder is the order of settings, as pictures have had them from the beginning.
func settingsOrder() []string {
	return []string{"Steps", "Sampler", "Schedule type", "CFG scale", "Seed", "Size", "Denoising strength", "Image CFG scale",
		"Inpaint area", "Masked area padding", "Mask grow", "Mask blur", "Mask feather", "Masked content", "Canvas",
		"Variation seed", "Variation seed strength", "Towards", "Towards at", hiresPlace, decoderKey,
		modelHashKey, modelKey, vaeHashKey, vaeKey, clipLKey, clipGKey, t5Key, llmKey, llmVisionKey, "Refiner", "Refiner switch at", "Aesthetic score", "Negative aesthetic score",
		"Original size", "Target size", "Crop top left", "Clip skip", "Deep cache", anyPlace, "RNG"}
}

// passOrder is that of a hires pass's. What is not in it follows.
func passOrder() []string {
	return []string{"Hires.Strength", "Hires.Scale", "Hires.Width", "Hires.Steps", "Hires.Upscaler", "Hires.Sampler", "Hires.Schedule", "Hires.Guidance"}
}

// Text returns the parameters of a picture in AUTOMATIC1111's layout, which [ReadText]
// reads back. version is the library's. A request in it is one that is resolved.
func Text(p request.Params, version string) string {
	fields := Fields()
	settings := map[string]string{}
	var keys []string // in the table's order
	add := func(s kv) {
		settings[s.key] = s.value
		keys = append(keys, s.key)
	}
	for _, f := range fields {
		for _, s := range f.settings(&p.Request) {
			add(s)
		}
	}
	if p.ModelHash != "" {
		add(kv{modelHashKey, p.ModelHash})
	}
	for _, s := range []kv{{modelKey, p.Model}, {vaeHashKey, p.VAEHash}, {vaeKey, p.VAE}, {clipLKey, p.CLIPL}, {clipGKey, p.CLIPG}, {t5Key, p.T5}, {llmKey, p.LLM}, {llmVisionKey, p.LLMVision}} {
		if s.value != "" {
			add(s)
		}
	}
	for _, s := range []kv{{adapterHashesKey, hashesText(p.UsedAdapters)}, {wordHashesKey, hashesText(p.UsedWords)}} {
		if s.value != "" {
			add(s)
		}
	}
	if looksNegative(p.Prompt) {
		add(kv{promptLinesKey, strconv.Itoa(strings.Count(p.Prompt, "\n") + 1)})
	}
	var line settingsLine
	order, passes := settingsOrder(), passFields(fields)
	for _, key := range order {
		switch key {
		case hiresPlace:
			for i := range p.Hires {
				line.pass(passes, &p.Request, i)
			}
		case anyPlace:
			for _, k := range keys {
				if !slices.Contains(order, k) {
					line.add(k, settings[k])
				}
			}
		default:
			if value, ok := settings[key]; ok {
				line.add(key, value)
			}
		}
	}
	line.add(versionKey, ours+version)
	text := p.Prompt
	if p.NegativePrompt != "" {
		text += "\n" + negativeLine + p.NegativePrompt
	}
	return text + "\n" + line.String()
}

// settingsLine is a line of settings.
type settingsLine struct{ strings.Builder }

func (l *settingsLine) add(key, value string) {
	if l.Len() > 0 {
		l.WriteString(", ")
	}
	l.WriteString(key + ": " + quoted(value))
}

// pass writes a hires pass, without what it takes from the request.
func (l *settingsLine) pass(fields []Field, r *request.Request, i int) {
	h := &r.Hires[i]
	for _, f := range fields {
		value, ok := f.pass.get(h)
		switch f.Path {
		case "Hires.Strength":
			if ok && i == 0 && r.Strength == nil { // as AUTOMATIC1111 has it, which begins with no picture then
				l.add(strengthKey, value)
				continue
			}
		case "Hires.Scale":
			if h.Width != 0 || h.Height != 0 {
				continue
			}
			if !ok {
				value, ok = formatNumber(defaultScale), true
			}
		}
		if same, there := f.inherited(r); ok && !(there && same == value) {
			for _, s := range f.passSettings(r, i, value) {
				l.add(s.key, s.value)
			}
		}
	}
}

const (
	strengthKey  = "Denoising strength" // of a picture to begin with, or of the first hires pass
	defaultScale = 2                    // of a hires pass
)

// passKey is the key of a hires pass's field: AUTOMATIC1111 has a word for the first
// pass, and further ones get a number.
func (f Field) passKey(i int) string {
	if i == 0 {
		return f.A1111
	}
	return fmt.Sprintf("Hires %d%s", i+1, strings.TrimPrefix(f.A1111, "Hires"))
}

// passFields are those of hires passes, in the order of their settings. What passOrder
// does not have follows.
func passFields(all []Field) (passes []Field) {
	order := passOrder()
	rank := func(f Field) int {
		if n := slices.Index(order, f.Path); n >= 0 {
			return n
		}
		return len(order)
	}
	for _, f := range all {
		if f.List {
			passes = append(passes, f)
		}
	}
	slices.SortStableFunc(passes, func(a, b Field) int { return rank(a) - rank(b) })
	return passes
}

// inherited is what a hires pass takes from the request where it has no value of its
// own.
func (f Field) inherited(r *request.Request) (string, bool) {
	if f.from.get == nil {
		return "", false
	}
	return f.from.get(r)
}

// settings are how a field is written.
func (f Field) settings(r *request.Request) []kv {
	if f.text != nil {
		return f.text(f, r)
	}
	if f.List || f.A1111 == "" {
		return nil
	}
	if value, ok := f.of.get(r); ok {
		return []kv{{f.A1111, value}}
	}
	return nil
}

// noSetting is of what stands elsewhere.
func noSetting(Field, *request.Request) []kv { return nil }

// sizeText is the size of which AUTOMATIC1111 makes one setting.
func sizeText(f Field, r *request.Request) []kv {
	if r.Width == 0 && r.Height == 0 {
		return nil
	}
	return []kv{{f.A1111, fmt.Sprintf("%dx%d", r.Width, r.Height)}}
}

// baseName writes a file's name without its folders, which are nobody's business.
func baseName(f Field, r *request.Request) []kv {
	if name := baseOf(r, f); name != "" {
		return []kv{{f.A1111, name}}
	}
	return nil
}

func baseOf(r *request.Request, f Field) string {
	path, _ := f.of.get(r)
	path = strings.TrimRight(path, `/\`)
	return path[strings.LastIndexAny(path, `/\`)+1:]
}

const onlyMasked = "Only masked"

func inpaintArea(f Field, r *request.Request) []kv {
	if r.OnlyMasked {
		return []kv{{f.A1111, onlyMasked}}
	}
	return nil
}

// countText leaves out what a picture is: one.
func countText(f Field, r *request.Request) []kv {
	if r.Count == 0 || r.Count == 1 {
		return nil
	}
	return []kv{{f.A1111, strconv.Itoa(r.Count)}}
}

const towardsAtKey = "Towards at"

// interpolationAt writes how far it is both to another seed and to another prompt, for
// which AUTOMATIC1111 has no word.
func interpolationAt(f Field, r *request.Request) (all []kv) {
	if t := r.Interpolate; t != nil {
		if t.Seed != nil {
			all = append(all, kv{f.A1111, formatNumber(t.At)})
		}
		if t.Prompt != nil {
			all = append(all, kv{towardsAtKey, formatNumber(t.At)})
		}
	}
	return all
}

// cropText has the form of sizes.
func cropText(f Field, r *request.Request) []kv {
	if r.CropTopLeft == (image.Point{}) {
		return nil
	}
	return []kv{{f.A1111, fmt.Sprintf("%dx%d", r.CropTopLeft.X, r.CropTopLeft.Y)}}
}

const decoderKey, taesd = "VAE Decoder", "TAESD"

// taesdText says as AUTOMATIC1111 does that a tiny autoencoder decoded a picture, and
// then which.
func taesdText(f Field, r *request.Request) []kv {
	if r.TAESD == "" {
		return nil
	}
	return []kv{{decoderKey, taesd}, {f.A1111, r.TAESD}}
}

// looksNegative reports whether a line of a prompt looks like a negative prompt.
func looksNegative(prompt string) bool {
	prefix := strings.TrimSpace(negativeLine)
	return strings.HasPrefix(prompt, prefix) || strings.Contains(prompt, "\n"+prefix)
}
