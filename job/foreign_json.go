package job

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// isFooocus reports whether parameters are Fooocus's JSON.
func isFooocus(text string, _ map[string]string) bool {
	if !strings.HasPrefix(strings.TrimLeftFunc(text, unicode.IsSpace), "{") {
		return false
	}
	o, err := parseObject(text)
	return err == nil && o["prompt"] != nil && (o["sampler"] != nil || o["metadata_scheme"] != nil || o["base_model"] != nil)
}

// twoNumbers are a size as Python writes a pair, or as others do: "(768, 1280)".
var twoNumbers = regexp.MustCompile(`^\D*(\d{1,9})\D+(\d{1,9})\D*$`)

// readFooocus reads the JSON of Fooocus (its module meta_parser).
func readFooocus(d *foreign, text string, _ map[string]string) {
	o := d.object("parameters", text)
	if o == nil {
		return
	}
	d.setAll(o, keyOf{"Prompt", "prompt"}, keyOf{"NegativePrompt", "negative_prompt"}, keyOf{"Steps", "steps"}, keyOf{"Guidance", "guidance_scale"},
		keyOf{"Seed", "seed"}, keyOf{"ClipSkip", "clip_skip"})
	d.samplerAndSchedule(o, "sampler", "scheduler")
	if value, ok := o.take("resolution"); ok {
		if m := twoNumbers.FindStringSubmatch(value); m == nil || !d.size("resolution", m[1], m[2]) {
			d.refuse("resolution", value, "must be a width and a height")
		}
	}
	if refiner, _ := o.take("refiner_model"); refiner != "" && refiner != "None" {
		if d.set("Refiner", "refiner_model", refiner) {
			d.setAll(o, keyOf{"RefinerAt", "refiner_switch"})
		}
	} else {
		delete(o, "refiner_switch") // of no refiner
	}
	d.names(o, "base_model", "base_model_hash")
	delete(o, "version")
	delete(o, "metadata_scheme")
	d.rest(o)
}

func (d *foreign) names(o object, model, hash string) {
	if name, ok := o.take(model); ok {
		d.model(model, name)
	}
	if value, ok := o.take(hash); ok {
		d.modelHash(hash, value)
	}
}

// size sets both sides, or neither.
func (d *foreign) size(key, width, height string) bool {
	before := len(d.said.Unread)
	if d.set("Width", key, width) && d.set("Height", key, height) {
		return true
	}
	d.said.Unread = d.said.Unread[:before]
	d.said.Params.Width, d.said.Params.Height = 0, 0
	return false
}

// sides sets the size of two members.
func (d *foreign) sides(o object) {
	width, ok1 := o.take("width")
	height, ok2 := o.take("height")
	if (ok1 || ok2) && !d.size("width", width, height) {
		d.refuse("width, height", width+", "+height, "must be a width and a height")
	}
}

func (d *foreign) samplerAndSchedule(o object, sampler, schedule string) {
	if name, ok := o.take(sampler); ok {
		d.setSampler(sampler, name)
	}
	if name, ok := o.take(schedule); ok && name != "" {
		d.setSchedule(schedule, name)
	}
}

// readInvoke reads the metadata of InvokeAI 3 and later.
func readInvoke(d *foreign, text string, _ map[string]string) {
	o := d.object("invokeai_metadata", text)
	if o == nil {
		return
	}
	d.setAll(o, keyOf{"Prompt", "positive_prompt"}, keyOf{"NegativePrompt", "negative_prompt"}, keyOf{"Steps", "steps"}, keyOf{"Guidance", "cfg_scale"}, keyOf{"Seed", "seed"})
	d.samplerAndSchedule(o, "scheduler", "")
	d.sides(o)
	if mode, _ := o.take("generation_mode"); strings.Contains(mode, "img2img") || strings.Contains(mode, "inpaint") || strings.Contains(mode, "outpaint") {
		d.setAll(o, keyOf{"Strength", "strength"})
		d.refuse("generation_mode", mode, "the picture to begin with is not in the file")
	}
	if device, _ := o.take("rand_device"); device == "cpu" {
		d.set("RNG", "rand_device", "torch")
	}
	if m := o.inner("model"); m != nil {
		for _, key := range []string{"model_name", "name"} {
			if name, ok := m.take(key); ok {
				d.model(key, name)
			}
		}
		if hash, ok := m.take("hash"); ok {
			d.modelHash("hash", hash)
		}
	}
	if skip, ok := o.take("clip_skip"); ok && skip != "0" { // layers that are left out
		if n, err := strconv.Atoi(skip); err != nil || n < 0 || n > maxClipSkip {
			d.refuse("clip_skip", skip, "must be a number of layers")
		} else {
			d.set("ClipSkip", "clip_skip", plainInt(n+1))
		}
	}
	delete(o, "app_version")
	d.compel()
	d.rest(o)
}

// compelWeights is what weighs words in InvokeAI, and is text elsewhere: "word+",
// "(some words)1.2".
var compelWeights = regexp.MustCompile(`[\pL\pN)"][+-]+(?:[\s,.)]|$)|\)\d`)

// maxClipSkip is more than any text encoder has layers.
const maxClipSkip = 1000

func (d *foreign) compel() {
	for _, text := range []string{d.said.Params.Prompt, d.said.Params.NegativePrompt} {
		if m := compelWeights.FindString(text); m != "" {
			d.refuse("weights", m, "weights such as word+ or (words)1.2 are read as text")
			return
		}
	}
}

// readInvoke2 reads the metadata of InvokeAI 2.
func readInvoke2(d *foreign, text string, all map[string]string) {
	o := d.object("sd-metadata", text)
	if o == nil {
		return
	}
	d.names(o, "model_weights", "model_hash")
	picture := o.inner("image")
	if picture == nil {
		d.refuse("sd-metadata", text, "must have an object image")
		return
	}
	var words []string
	if prompt, ok := picture.take("prompt"); ok {
		words = []string{prompt}
	} else {
		words = d.weighted(picture)
	}
	d.dreamPrompt(strings.Join(words, " "))
	d.setAll(picture, keyOf{"Steps", "steps"}, keyOf{"Guidance", "cfg_scale"}, keyOf{"Seed", "seed"})
	d.samplerAndSchedule(picture, "sampler", "")
	d.sides(picture)
	if kind, _ := picture.take("type"); kind != "" && kind != "txt2img" {
		d.setAll(picture, keyOf{"Strength", "strength"})
		d.refuse("type", kind, "the picture to begin with is not in the file")
	}
	for _, key := range []string{"model", "app_id", "app_version"} {
		delete(o, key)
	}
	d.rest(o)
	d.rest(picture)
}

// weighted takes a list of prompts with weights, one of which is all that is read
// without loss.
func (d *foreign) weighted(picture object) (words []string) {
	list, ok := listOfObjects(picture["prompt"])
	if !ok {
		return nil
	}
	delete(picture, "prompt")
	for i, o := range list {
		prompt, _ := o.take("prompt")
		words = append(words, prompt)
		if weight, ok := o.take("weight"); i > 0 || ok && weight != "1" {
			d.refuse("prompt", prompt, "one of several, or one with a weight")
		}
	}
	return words
}

// dreamCommand is the command of InvokeAI's first versions: a prompt in quotes, and flags.
var dreamCommand = regexp.MustCompile(`(?s)^"(.*?)"(\s+-.*|\s*)$`)

func readDream(d *foreign, text string, _ map[string]string) {
	m := dreamCommand.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		d.refuse("Dream", text, "must be a prompt in quotes, and flags")
		return
	}
	d.dreamPrompt(m[1])
	o := map[string]string{}
	var order []string
	for words := strings.Fields(m[2]); len(words) > 0; {
		key := words[0]
		words = words[1:]
		var values []string
		for len(words) > 0 && (len(words[0]) < 2 || words[0][0] != '-' || words[0][1] == '.' || unicode.IsDigit(rune(words[0][1]))) {
			values, words = append(values, words[0]), words[1:]
		}
		if _, twice := o[key]; !twice {
			order = append(order, key)
		}
		o[key] = strings.Join(values, " ")
	}
	if d.size("-W, -H", o["-W"], o["-H"]) {
		delete(o, "-W")
		delete(o, "-H")
	}
	for _, key := range order {
		value, left := o[key]
		path := map[string]string{"-s": "Steps", "-S": "Seed", "-C": "Guidance", "-f": "Strength"}[key]
		switch {
		case !left:
		case path != "":
			d.set(path, key, value)
		case key == "-A":
			d.setSampler(key, value)
		default:
			d.refuse(key, value, "")
		}
	}
}

// unconditioned are the words in square brackets, which InvokeAI 2 keeps away from.
var unconditioned = regexp.MustCompile(`\[([^\[\]]*)\]`)

// dreamPrompt takes the negative prompt out of the prompt.
func (d *foreign) dreamPrompt(text string) {
	var negative []string
	for _, m := range unconditioned.FindAllStringSubmatch(text, -1) {
		if words := strings.Trim(m[1], " ,"); words != "" {
			negative = append(negative, words)
		}
	}
	text = unconditioned.ReplaceAllString(text, "")
	d.set("Prompt", "prompt", strings.Trim(text, " ,"))
	if len(negative) > 0 {
		d.set("NegativePrompt", "prompt", strings.Join(negative, ", "))
	}
	d.compel()
}

// isNovelAI reports whether a comment is NovelAI's JSON.
func isNovelAI(text string, all map[string]string) bool {
	if !strings.HasPrefix(strings.TrimSpace(text), "{") {
		return false
	}
	o, err := parseObject(text)
	return err == nil && (all["Software"] == "NovelAI" || o["sampler"] != nil && (o["uc"] != nil || o["scale"] != nil))
}

// isNovelAITexts reports whether parameters are an object of the texts that NovelAI's PNG
// files have, as its WebP files and hidden texts are.
func isNovelAITexts(text string, _ map[string]string) bool {
	if !strings.HasPrefix(strings.TrimSpace(text), "{") || !strings.Contains(text, `"Comment"`) {
		return false
	}
	o, err := parseObject(text)
	if err != nil {
		return false
	}
	comment, ok := o.take("Comment")
	return ok && isNovelAI(comment, map[string]string{"Software": textIn(o, "Software")})
}

func readNovelAITexts(d *foreign, text string, _ map[string]string) {
	o := d.object("parameters", text)
	if o == nil {
		return
	}
	all := map[string]string{}
	for _, key := range []string{"Description", "Software", "Source"} {
		all[key] = textIn(o, key)
	}
	readNovelAI(d, textIn(o, "Comment"), all)
}

func textIn(o object, key string) string {
	text, _ := o.take(key)
	return text
}

// readNovelAI reads the comment of NovelAI; the prompt is the description.
func readNovelAI(d *foreign, text string, all map[string]string) {
	o := d.object("Comment", text)
	if o == nil {
		return
	}
	prompt, ok := o.take("prompt")
	if !ok {
		prompt = all["Description"]
	}
	d.set("Prompt", "prompt", strings.TrimSpace(prompt))
	d.setAll(o, keyOf{"NegativePrompt", "uc"}, keyOf{"Steps", "steps"}, keyOf{"Guidance", "scale"}, keyOf{"Seed", "seed"})
	if name, ok := o.take("sampler"); ok {
		d.setSampler("sampler", strings.TrimSuffix(name, "_v3"))
	}
	if name, ok := o.take("noise_schedule"); ok && name != "" {
		d.setSchedule("noise_schedule", name)
	}
	d.sides(o)
	if d.said.Params.Width == 0 && d.facts.Width%8 == 0 && d.facts.Height%8 == 0 {
		d.size("size", plainInt(d.facts.Width), plainInt(d.facts.Height))
	}
	if kind, _ := o.take("request_type"); strings.Contains(kind, "Img2Img") {
		d.setAll(o, keyOf{"Strength", "strength"})
		d.refuse("request_type", kind, "the picture to begin with is not in the file")
	}
	source := all["Source"]
	if at := strings.LastIndexByte(source, ' '); at > 0 {
		d.model("Source", source[:at])
		d.modelHash("Source", source[at+1:])
	} else if source != "" {
		d.model("Source", source)
	}
	for _, text := range []string{d.said.Params.Prompt, d.said.Params.NegativePrompt} {
		if strings.ContainsAny(text, "{}[]") {
			d.refuse("weights", "{} []", "brackets weigh by 1.05 in NovelAI, and are read as they stand")
			break
		}
	}
	d.rest(o)
}
