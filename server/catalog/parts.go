package catalog

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/convert"
)

// Parts are files of networks that a model's own file lacks, or that are in place of its
// own; "" is none.
type Parts struct{ VAE, CLIPL, CLIPG, T5, T5Tokenizer, LLM, LLMVision string }

// part is a place in a model for a file of its own.
type part struct {
	key    string // in a file of parts, as the flag that names it
	what   string
	kind   Kind
	family string // of text encoders
	of     func(p *Parts) *string
}

// places are the parts, in the order in which they are looked for.
func places() []part {
	return []part{
		{"clip_l", "its text encoder CLIP-L", Text, convert.CLIP, func(p *Parts) *string { return &p.CLIPL }},
		{"clip_g", "its text encoder CLIP-G", Text, convert.CLIP, func(p *Parts) *string { return &p.CLIPG }},
		{"t5xxl", "its text encoder T5", Text, convert.T5, func(p *Parts) *string { return &p.T5 }},
		{"t5_tokenizer", "T5's vocabulary (tokenizer.json or spiece.model)", Vocabulary, "", func(p *Parts) *string { return &p.T5Tokenizer }},
		{"llm", "its text encoder, a Qwen", Text, convert.Qwen, func(p *Parts) *string { return &p.LLM }},
		{"llm_vision", "the vision tower of its text encoder", Text, convert.QwenVision, func(p *Parts) *string { return &p.LLMVision }},
		{"vae", "its autoencoder", VAE, "", func(p *Parts) *string { return &p.VAE }},
	}
}

// Files are the paths of all parts that there are.
func (p Parts) Files() (all []string) {
	for _, place := range places() {
		if file := *place.of(&p); file != "" {
			all = append(all, file)
		}
	}
	return all
}

// Names are the files' names without folders, by the keys of the parts; nil of none.
func (p Parts) Names() (all map[string]string) {
	for _, place := range places() {
		if file := *place.of(&p); file != "" {
			if all == nil {
				all = map[string]string{}
			}
			all[place.key] = filepath.Base(file)
		}
	}
	return all
}

func (p Parts) components(model string) convert.Components {
	return convert.Components{Model: model, VAE: p.VAE, CLIPL: p.CLIPL, CLIPG: p.CLIPG, T5: p.T5, T5Tokenizer: p.T5Tokenizer, LLM: p.LLM, LLMVision: p.LLMVision}
}

// lacking are the keys of the parts without which a model cannot draw.
func lacking(m *convert.Model) (keys []string) {
	need := func(key string, is bool) {
		if is {
			keys = append(keys, key)
		}
	}
	switch c := m.Config.(type) {
	case *convert.ZImageConfig:
		need("llm", c.LLM == nil)
		need("vae", c.VAE == nil)
	case *convert.QwenImageConfig:
		need("llm", c.LLM == nil)
		need("llm_vision", c.Edit != "" && c.LLM != nil && c.Vision == nil)
		need("vae", c.VAE == nil)
	case *convert.Flux2Config:
		need("llm", c.LLM == nil)
		need("vae", c.VAE == nil)
	case *convert.FluxModel:
		need("clip_l", c.Transformer.Pooled > 0 && c.CLIP.Layers == 0)
		need("t5xxl", c.T5.Layers == 0)
		need("t5_tokenizer", m.T5Tokenizer == nil)
		need("vae", c.VAE.EmbedDim == 0)
	case *convert.DeepFloydModel:
		need("t5xxl", c.T5.Layers == 0)
		need("t5_tokenizer", m.T5Tokenizer == nil)
	case *convert.SD3Model:
		need("clip_l", c.CLIPL.Layers == 0)
		need("clip_g", c.CLIPG.Layers == 0)
		need("t5_tokenizer", c.T5.Layers > 0 && m.T5Tokenizer == nil)
		need("vae", c.VAE.EmbedDim == 0)
	}
	return keys
}

// partsEnding is that of the file beside a model that names its parts.
const partsEnding = ".parts.json"

// maxPartsFile bounds such a file, in bytes.
const maxPartsFile = 64 << 10

// partsFile reads which files a model's parts are: names by the keys of parts. The error
// has no path.
func partsFile(model string) (map[string]string, error) {
	f, err := os.Open(strings.TrimSuffix(model, filepath.Ext(model)) + partsEnding)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		defer f.Close()
		var data []byte
		if data, err = io.ReadAll(io.LimitReader(f, maxPartsFile+1)); err == nil && len(data) > maxPartsFile {
			err = fmt.Errorf("must be at most %d bytes", maxPartsFile)
		}
		names := map[string]string{}
		if err == nil && json.Unmarshal(data, &names) != nil {
			err = errors.New(`must be a JSON object such as {"vae": "ae.safetensors"}`)
		}
		if err == nil {
			return names, nil
		}
	}
	var path *os.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return nil, err
}

// complete finds the parts of the models that lack some. One that is not complete cannot be
// opened, and says why.
func (c *Catalog) complete(all []Entry) {
	for i := range all {
		e := &all[i]
		if e.Kind != Checkpoint || e.Path == "" || strings.HasPrefix(e.Path, "builtin:") {
			continue
		}
		if err := c.match(e, all); err != nil {
			e.Kind, e.Why, e.Parts = Incomplete, err.Error(), Parts{}
		}
	}
}

// match finds a model's parts: those that a file beside it names, and for those that it
// lacks then, the only files that fit.
func (c *Catalog) match(e *Entry, all []Entry) error {
	beside := strings.TrimSuffix(e.File, filepath.Ext(e.File)) + partsEnding
	names, err := partsFile(e.Path)
	if err != nil {
		return fmt.Errorf("%s: %w", beside, err)
	}
	for key := range names {
		if !slices.ContainsFunc(places(), func(p part) bool { return p.key == key }) {
			return fmt.Errorf("%s: %.80q is no part of a model; there are clip_l, clip_g, t5xxl, t5_tokenizer, llm, llm_vision and vae", beside, key)
		}
	}
	for _, p := range places() {
		name, ok := names[p.key]
		if !ok {
			continue
		}
		found := slices.DeleteFunc(candidates(p, all), func(o Entry) bool { return !called(o, name) })
		if len(found) != 1 {
			return fmt.Errorf("%s: %s: must name one of the files in the models folder that may be %s, got %.80q, which is %d of them; there are: %s",
				beside, p.key, p.what, name, len(found), strings.Join(namesOf(candidates(p, all)), ", "))
		}
		*p.of(&e.Parts) = found[0].Path
	}
	needs := strings.Fields(e.lacks)
	if len(names) > 0 {
		var ok bool
		if needs, ok = c.lacksWith(e, e.Parts, all); !ok {
			return fmt.Errorf("%s: the model does not go with these parts: %s", beside, strings.Join(baseNames(e.Parts.Files()), ", "))
		}
	}
	return c.fill(e, needs, all, beside)
}

// fill finds the parts that a model still lacks.
func (c *Catalog) fill(e *Entry, needs []string, all []Entry, beside string) error {
	var lacks, open []string
	for _, keys := range together(needs) {
		fitting := c.combinations(e, keys, all)
		for at, key := range keys {
			p := places()[slices.IndexFunc(places(), func(p part) bool { return p.key == key })]
			var files []Entry
			for _, one := range fitting {
				if !slices.ContainsFunc(files, func(o Entry) bool { return o.Path == one[at].Path }) {
					files = append(files, one[at])
				}
			}
			switch len(files) {
			case 0:
				lacks = append(lacks, p.what)
			case 1:
				*p.of(&e.Parts) = files[0].Path
			default:
				open = append(open, fmt.Sprintf("%s may be %s", p.what, strings.Join(namesOf(files), " or ")))
			}
		}
	}
	var why []string
	if len(lacks) > 0 {
		why = append(why, "it lacks "+strings.Join(lacks, " and ")+", for which no file in the models folder fits")
	}
	if len(open) > 0 {
		why = append(why, strings.Join(open, ", ")+`: name one in `+beside+`, as in {"vae": "ae.safetensors"}`)
	}
	if len(why) > 0 {
		return errors.New(strings.Join(why, "; "))
	}
	if e.Parts == (Parts{}) {
		return nil
	}
	left, ok := c.lacksWith(e, e.Parts, all)
	if more := slices.DeleteFunc(slices.Clone(left), func(key string) bool { return partOf(&e.Parts, key) != "" }); ok && len(more) > 0 {
		return c.fill(e, more, all, beside) // what its parts lack
	}
	if !ok || len(left) > 0 {
		return fmt.Errorf("its parts do not go together: %s", strings.Join(baseNames(e.Parts.Files()), ", "))
	}
	for _, o := range all {
		if slices.Contains(e.Parts.Files(), o.Path) {
			e.Bytes += o.Bytes
		}
	}
	return nil
}

// partOf is the file of a part.
func partOf(p *Parts, key string) string {
	return *places()[slices.IndexFunc(places(), func(p part) bool { return p.key == key })].of(p)
}

func baseNames(paths []string) (all []string) {
	for _, p := range paths {
		all = append(all, filepath.Base(p))
	}
	return all
}

// together groups parts that are found together: of two text encoders of CLIP, which is
// which shows only beside the other.
func together(needs []string) (groups [][]string) {
	both := slices.Contains(needs, "clip_l") && slices.Contains(needs, "clip_g")
	if both {
		groups = append(groups, []string{"clip_l", "clip_g"})
	}
	for _, key := range needs {
		if !both || key != "clip_l" && key != "clip_g" {
			groups = append(groups, []string{key})
		}
	}
	return groups
}

// maxCandidates bounds the files that are tried for a part.
const maxCandidates = 64

// combinations are the files for some parts with which the model is accepted.
func (c *Catalog) combinations(e *Entry, keys []string, all []Entry) (fitting [][]Entry) {
	chosen := make([]Entry, len(keys))
	var try func(at int, parts Parts)
	try = func(at int, parts Parts) {
		if at == len(keys) {
			if c.fits(e, parts, all, keys) {
				fitting = append(fitting, slices.Clone(chosen))
			}
			return
		}
		p := places()[slices.IndexFunc(places(), func(p part) bool { return p.key == keys[at] })]
		files := candidates(p, all)
		for _, file := range files[:min(len(files), maxCandidates)] {
			if slices.ContainsFunc(chosen[:at], func(o Entry) bool { return o.Path == file.Path }) {
				continue
			}
			chosen[at] = file
			*p.of(&parts) = file.Path
			try(at+1, parts)
		}
	}
	try(0, e.Parts)
	return fitting
}

// candidates are the files that may be a part by what they are.
func candidates(p part, all []Entry) (found []Entry) {
	for _, e := range all {
		if e.Kind == p.kind && (p.family == "" || e.Family == p.family) {
			found = append(found, e)
		}
	}
	return found
}

// called reports whether a name is a file's: with its folder or without, with its ending or
// without.
func called(e Entry, name string) bool {
	name = filepath.ToSlash(name)
	for _, own := range []string{e.Name, e.File, e.at, strings.TrimSuffix(e.at, filepath.Ext(e.at)), strings.TrimSuffix(e.File, filepath.Ext(e.File))} {
		if own != "" && strings.EqualFold(own, name) {
			return true
		}
	}
	return false
}

// lacksWith are the keys of the parts that a model still lacks with some; ok is false if it
// cannot be opened with them. The answer is kept as long as the files stay what they are.
func (c *Catalog) lacksWith(e *Entry, parts Parts, all []Entry) (keys []string, ok bool) {
	known := fmt.Sprintf("%s %d", e.Path, e.Modified.UnixNano())
	for _, p := range places() {
		if file := *p.of(&parts); file != "" {
			i := slices.IndexFunc(all, func(o Entry) bool { return o.Path == file })
			known += fmt.Sprintf(" %s %s %d", p.key, file, all[i].Modified.UnixNano())
		}
	}
	if said, found := c.fitting[known]; found {
		return said.lacks, said.ok
	}
	if len(c.fitting) >= maxFiles {
		clear(c.fitting)
	}
	if m, err := convert.OpenAssembled(parts.components(e.Path)); err == nil {
		keys, ok = lacking(m), true
		if c, is := m.Config.(*convert.SD3Model); is && c.CLIPL.Layers > 0 && c.CLIPG.Layers > 0 {
			ok = c.CLIPL.Width < c.CLIPG.Width // CLIP-G is the wider one
		}
		m.Close()
	}
	c.fitting[known] = fitting{keys, ok}
	return keys, ok
}

// fitting is what a model still lacks with some parts, if it can be opened with them.
type fitting struct {
	lacks []string
	ok    bool
}

// fits reports whether a model can be opened with some parts and no longer lacks them.
func (c *Catalog) fits(e *Entry, parts Parts, all []Entry, keys []string) bool {
	left, ok := c.lacksWith(e, parts, all)
	return ok && !slices.ContainsFunc(keys, func(key string) bool { return slices.Contains(left, key) })
}
