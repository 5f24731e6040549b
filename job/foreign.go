package job

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/sd/request"
)

// Programs write how a picture was made in many ways: as a text in AUTOMATIC1111's
// layout (a1111_read.go), as JSON with keys of their own (foreign_json.go), as a graph of
// nodes (foreign_comfy.go). Whatever can be is read as a request; the rest is unread.

// Said is what a picture's file says of how it was made.
type Said struct {
	Program string // that wrote it, such as "ComfyUI"; "" if it does not say
	Params  request.Params
	HasSeed bool // whether Params has the seed that it says
	Unread  []Unread
}

// ReadFacts reads the parameters of a picture from the texts of its file: this library's,
// AUTOMATIC1111's layout, and the metadata of ComfyUI, Fooocus, InvokeAI and NovelAI. The
// error is [ErrNoParameters] if none of these is there, or says that there is too much.
func ReadFacts(f picture.Facts) (Said, error) {
	texts := map[string]string{}
	for _, t := range f.Texts {
		if _, twice := texts[t.Keyword]; !twice {
			texts[t.Keyword] = t.Value
		}
	}
	for _, r := range foreignReaders() {
		text, ok := texts[r.keyword]
		if !ok || r.is != nil && !r.is(text, texts) {
			continue
		}
		if len(text) > maxParameters {
			return Said{}, fmt.Errorf("must be at most %d bytes of parameters, got %d", maxParameters, len(text))
		}
		if r.read == nil {
			p, unread, err := ReadText(text)
			seed := p.Seed != 0 || strings.Contains(text, "Seed: 0")
			return Said{programOf(text), p, seed, unread}, err
		}
		d := newForeign(f)
		d.said.Program = r.program
		r.read(d, text, texts)
		return d.said, nil
	}
	return Said{}, ErrNoParameters
}

// foreignReader reads the text of a keyword.
type foreignReader struct {
	program, keyword string
	is               func(text string, all map[string]string) bool // nil: always
	read             func(d *foreign, text string, all map[string]string)
}

// foreignReaders are tried in this order.
func foreignReaders() []foreignReader {
	return []foreignReader{
		{"Fooocus", picture.Keyword, isFooocus, readFooocus},
		{"NovelAI", picture.Keyword, isNovelAITexts, readNovelAITexts},
		{"", picture.Keyword, nil, nil},
		{"ComfyUI", "prompt", isComfy, readComfy},
		{"InvokeAI", "invokeai_metadata", nil, readInvoke},
		{"InvokeAI", "sd-metadata", nil, readInvoke2},
		{"InvokeAI", "Dream", nil, readDream},
		{"NovelAI", "Comment", isNovelAI, readNovelAI},
	}
}

// programs are the programs whose version AUTOMATIC1111's layout names.
var programs = []struct {
	version *regexp.Regexp
	name    string
}{
	{regexp.MustCompile(`^sdgo `), "sdgo"}, {regexp.MustCompile(`^v\d`), "AUTOMATIC1111"}, {regexp.MustCompile(`^(f\d|neo)`), "Forge"},
	{regexp.MustCompile(`^stable-diffusion\.cpp`), "stable-diffusion.cpp"}, {regexp.MustCompile(`^ComfyUI`), "ComfyUI"}, {regexp.MustCompile(`^Fooocus`), "Fooocus"},
}

// programOf is the program that wrote a text in AUTOMATIC1111's layout, if it says so.
func programOf(text string) string {
	at := strings.LastIndex(text, versionKey+": ")
	if at < 0 {
		return ""
	}
	for _, p := range programs {
		if p.version.MatchString(text[at+len(versionKey+": "):]) {
			return p.name
		}
	}
	return ""
}

// foreign is what another program says, while it is being read.
type foreign struct {
	facts   picture.Facts
	fields  []Field
	said    Said
	sampler sampler.Sampler
}

func newForeign(f picture.Facts) *foreign { return &foreign{facts: f, fields: Fields()} }

// refuse notes what is not read, and why; "" of what there is no place for.
func (d *foreign) refuse(key, value, why string) {
	d.said.Unread = append(d.said.Unread, Unread{key, value, why})
}

// set sets a field of the request to a value under a key, or refuses it.
func (d *foreign) set(path, key, value string) bool {
	i := slices.IndexFunc(d.fields, func(f Field) bool { return f.Path == path })
	if err := d.fields[i].of.set(&d.said.Params.Request, value); err != nil {
		d.refuse(key, value, oneLine(err).Error())
		return false
	}
	d.said.HasSeed = d.said.HasSeed || path == "Seed"
	return true
}

// model sets the model's name, without folders and extension.
func (d *foreign) model(key, name string) {
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	for _, extension := range []string{".safetensors", ".ckpt", ".pt", ".pth", ".gguf", ".sft"} {
		name = strings.TrimSuffix(name, extension)
	}
	if len(name) > maxName {
		d.refuse(key, name, fmt.Sprintf("must be at most %d bytes", maxName))
		return
	}
	d.said.Params.Model = name
}

func (d *foreign) modelHash(key, hash string) {
	if len(hash) > maxName {
		d.refuse(key, hash, fmt.Sprintf("must be at most %d bytes", maxName))
		return
	}
	d.said.Params.ModelHash = hash
}

// setSampler sets the sampler, by a name that has what programs put around those of
// k-diffusion, and the schedule that the name brings.
func (d *foreign) setSampler(key, name string) {
	plain := strings.TrimPrefix(strings.TrimPrefix(strings.TrimSuffix(name, "_gpu"), "sample_"), "k_")
	bare, karras := strings.CutSuffix(plain, "_k")
	var err error
	for _, try := range []string{name, plain, bare} {
		var schedule string
		if d.sampler, schedule, err = samplerNames(try); err == nil {
			if karras && try == bare {
				schedule = "karras"
			}
			d.said.Params.Sampler, d.said.Params.Schedule = d.sampler.Name, schedule
			return
		}
	}
	_, _, err = samplerNames(name)
	d.refuse(key, name, err.Error())
}

// setSchedule sets the schedule, after the sampler.
func (d *foreign) setSchedule(key, name string) {
	if name == "native" { // NovelAI's word for the model's own
		name = "discrete"
	}
	s, err := d.sampler.LookupSchedule(name)
	if err != nil || len(name) > maxName || s.Steps > 0 { // none of them has respacing
		d.refuse(key, name, fmt.Sprintf("unknown schedule %.40q", name))
		return
	}
	d.said.Params.Schedule = s.Name
}

// object is a JSON object of which members are taken.
type object map[string]json.RawMessage

var (
	errNoObject = errors.New("must be a JSON object")

	// bareNumbers are what Python writes in JSON for numbers that it cannot have.
	bareNumbers = regexp.MustCompile(`"(?:\\.|[^\\"])*"|-?\b(?:NaN|Infinity)\b`)
)

// parseObject reads a JSON object, as Python writes it, too.
func parseObject(text string) (object, error) {
	var o object
	err := json.Unmarshal([]byte(text), &o)
	if err != nil && (strings.Contains(text, "NaN") || strings.Contains(text, "Infinity")) {
		text = bareNumbers.ReplaceAllStringFunc(text, func(s string) string {
			if s[0] == '"' {
				return s
			}
			return "null"
		})
		err = json.Unmarshal([]byte(text), &o)
	}
	if err == nil && o == nil {
		err = errNoObject
	}
	return o, err
}

// object is a JSON object that a picture says, or nil and a refusal.
func (d *foreign) object(key, text string) object {
	o, err := parseObject(text)
	if err != nil {
		d.refuse(key, text, fmt.Sprintf("must be a JSON object: %v", err))
		return nil
	}
	return o
}

// inner takes a member that is an object.
func (o object) inner(key string) object {
	inner, err := parseObject(string(o[key]))
	if err != nil {
		return nil
	}
	delete(o, key)
	return inner
}

// take takes a member that is a text, a number or a truth. null and what is empty count
// as read, and give nothing.
func (o object) take(key string) (string, bool) {
	raw, ok := o[key]
	if !ok {
		return "", false
	}
	text, ok := scalar(raw)
	if ok || isNull(raw) {
		delete(o, key)
	}
	return text, ok
}

// scalar is a JSON value as flags have it.
func scalar(raw json.RawMessage) (string, bool) {
	raw = bytes.TrimSpace(raw)
	switch {
	case len(raw) == 0 || isNull(raw) || raw[0] == '{' || raw[0] == '[':
		return "", false
	case raw[0] == '"':
		var text string
		err := json.Unmarshal(raw, &text)
		return text, err == nil
	}
	return plainNumber(string(raw)), true
}

// plainNumber is a number without the fraction of a whole one: 8.0 is 8.
func plainNumber(text string) string {
	if whole, zeros, ok := strings.Cut(text, "."); ok && zeros != "" && strings.Trim(zeros, "0") == "" {
		return whole
	}
	return text
}

// pair is a field and the key that another program has for it.
type keyOf struct{ path, key string }

// setAll sets fields to the members of an object that have a value.
func (d *foreign) setAll(o object, all ...keyOf) {
	for _, k := range all {
		if value, ok := o.take(k.key); ok && (value != "" || k.path == "Prompt" || k.path == "NegativePrompt") {
			if k.path != "NegativePrompt" || value != "" {
				d.set(k.path, k.key, value)
			}
		}
	}
}

// rest notes all members that were not taken.
func (d *foreign) rest(o object) {
	for _, key := range slices.Sorted(maps.Keys(o)) {
		if raw := string(o[key]); raw != "null" && raw != `""` && raw != "[]" && raw != "{}" {
			value, ok := scalar(o[key])
			if !ok {
				value = raw
			}
			d.refuse(key, value, "")
		}
	}
}

func plainInt(n int) string { return strconv.Itoa(n) }

// listOfObjects is a JSON list of objects.
func listOfObjects(raw json.RawMessage) ([]object, bool) {
	var list []object
	if json.Unmarshal(raw, &list) != nil {
		return nil, false
	}
	for i := range list {
		if list[i] == nil {
			list[i] = object{}
		}
	}
	return list, true
}
