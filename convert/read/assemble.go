package read

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/convert/family"
	"github.com/sdgo/sdgo/convert/model"
)

// Components are the files that a model is put together from. Model, if there is
// one, gives all that the others do not. The others are files of one component
// each, or whole models of which that component is taken, in any layout and
// format that [Load] reads.
type Components struct {
	Model       string
	UNet        string // or the transformer of FLUX.1 or SD 3
	VAE         string
	CLIPL       string // text encoder of SD 1.x, the first one of SDXL, SD 3 and FLUX.1; OpenCLIP ViT-H for SD 2.x
	CLIPG       string // second text encoder of SDXL and SD 3, the only one of SDXL's refiner
	T5          string // third text encoder of SD 3, second one of FLUX.1
	T5Tokenizer string // its vocabulary: tokenizer.json or spiece.model
	LLM         string // Qwen3, the text encoder of Z-Image and FLUX.2 klein, or Qwen2.5-VL, that of Qwen-Image
	LLMVision   string // the vision tower of Qwen2.5-VL, where LLM has none: llama.cpp's mmproj
}

// Assemble opens a model that is put together from several files.
func Assemble(c Components) (_ *model.Model, err error) {
	defer model.Recovered(c.Model, &err)
	return assembled(&model.Model{Path: c.Model}, c, func() (*model.Model, error) { return loadBase(c.Model, c) })
}

// OpenAssembled is [Assemble] for a model that is to be run. Without components beside
// the model it is [Open].
func OpenAssembled(c Components) (_ *model.Model, err error) {
	if c == (Components{Model: c.Model}) {
		return Open(c.Model)
	}
	defer model.Recovered(c.Model, &err)
	m, err := assembled(&model.Model{Path: c.Model}, c, func() (*model.Model, error) { return loadBase(c.Model, c) })
	return prepared(m, 0, err)
}

// OpenBytesAssembled is [OpenAssembled] for a model that is in memory, as for
// [OpenBytes]; the components are in files.
func OpenBytesAssembled(data []byte, c Components) (_ *model.Model, err error) {
	if c == (Components{Model: c.Model}) {
		return OpenBytes(c.Model, data)
	}
	defer model.Recovered(c.Model, &err)
	m, err := assembled(&model.Model{Path: c.Model}, c, func() (*model.Model, error) {
		base := &model.Model{Path: c.Model}
		return base, readBytes(base, data)
	})
	return prepared(m, len(data), err)
}

// assembled puts a model together and reads its configuration, or closes it. base reads
// the model that components are put into.
func assembled(m *model.Model, c Components, base func() (*model.Model, error)) (*model.Model, error) {
	err := assemble(m, c, base)
	if err == nil && c.T5Tokenizer != "" {
		err = readT5Tokenizer(m, c.T5Tokenizer)
	}
	if err == nil {
		if err = family.Configure(m); err != nil {
			err = fmt.Errorf("%s: %w", strings.Join(c.paths(), " with "), err)
		}
	}
	if err == nil && c.T5Tokenizer != "" && m.T5Tokenizer == nil {
		err = fmt.Errorf("%s: %s: a model of this family has no T5, whose vocabulary this is", c.T5Tokenizer, m.Description)
	}
	if changed := m.Intact(); changed != nil { // what else is wrong may come of it
		err = changed
	}
	if err != nil {
		m.Close()
		return nil, err
	}
	m.WarnOfUnknown()
	return m, nil
}

// paths are the files, the model's first.
func (c Components) paths() (all []string) {
	for _, path := range []string{c.Model, c.UNet, c.VAE, c.CLIPL, c.CLIPG, c.T5, c.LLM, c.LLMVision} {
		if path != "" {
			all = append(all, path)
		}
	}
	return all
}

// component is a file that takes a place in the model.
type component struct {
	path    string
	role    family.Role
	inside  []string // prefixes that the tensors have in whole models
	place   func(family.Slots) string
	tensors []model.Stored // without a prefix
	from    *family.Family // that the file is of

	said     map[string]string // the file's metadata
	marks    []model.Tensor
	schedule []model.Stored // alphas_cumprod, if it has it
}

func (c Components) list() []*component {
	return []*component{
		{path: c.UNet, role: family.Denoiser, inside: []string{model.UNetPrefix}, place: func(s family.Slots) string { return s.Denoiser }},
		{path: c.VAE, role: family.Autoencoder, inside: []string{model.VAEPrefix}, place: func(s family.Slots) string { return s.Autoencoder }},
		{path: c.CLIPL, role: family.CLIPText, inside: []string{model.TextPrefix, model.Text1Prefix, model.CLIPLPrefix},
			place: func(s family.Slots) string { return s.CLIPL }},
		{path: c.CLIPG, role: family.CLIPText, inside: []string{model.Text2Prefix, model.CLIPGPrefix, model.Text1Prefix},
			place: func(s family.Slots) string { return s.CLIPG }},
		{path: c.T5, role: family.T5Text, inside: []string{model.T5Prefix}, place: func(s family.Slots) string { return s.T5 }},
		{path: c.LLM, role: family.LLMText, inside: []string{model.Qwen4BPrefix, model.Qwen8BPrefix, model.QwenVLPrefix, "text_encoders.llm."}, place: func(s family.Slots) string { return s.LLM }},
		{path: c.LLMVision, role: family.LLMVision, inside: []string{model.QwenVLPrefix + "visual.", "model.visual.", "visual."}, place: func(s family.Slots) string { return s.LLMVision }},
	}
}

func assemble(m *model.Model, c Components, base func() (*model.Model, error)) error {
	all, whole, err := readBase(m, c, base)
	if err != nil {
		return err
	}
	components := slices.DeleteFunc(c.list(), func(p *component) bool { return p.path == "" })
	for _, p := range components {
		if err := p.read(m); err != nil {
			return fmt.Errorf("%s: %w", p.path, err)
		}
		if p.role == family.Denoiser && p.from.Slots != nil {
			whole = p.from
		}
	}
	slots := family.SlotsOf(whole, family.Given{CLIPL: c.CLIPL != "", CLIPG: c.CLIPG != "", Tensors: all})
	for _, p := range components {
		prefix := p.place(slots)
		if prefix == "" {
			return fmt.Errorf("%s: %s: a model of this family has no such component", p.path, p.role)
		}
		all = slices.DeleteFunc(all, func(t model.Stored) bool { return strings.HasPrefix(t.Name, family.Place(prefix)) })
		for _, t := range p.tensors {
			t.Name = prefix + t.Name
			all = append(all, t)
		}
	}
	if m.Metadata == nil {
		m.Metadata = map[string]string{}
	}
	if len(all) == 0 {
		return errors.New("no file to put a model together from")
	}
	for _, p := range components {
		all = p.speak(m, all)
	}
	return addFile(m, all)
}

// readBase reads the model that components are put into, if there is one. It need
// not be complete.
func readBase(m *model.Model, c Components, load func() (*model.Model, error)) (all []model.Stored, f *family.Family, err error) {
	if c.Model == "" {
		return nil, nil, nil
	}
	base, err := load()
	m.AddFiles(base.Files()...)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", c.Model, err)
	}
	f = family.Lookup(base.Family)
	if f.Slots == nil {
		return nil, nil, fmt.Errorf("%s: %s; expected a whole model or %s to put components into", c.Model, base.Description, family.Denoiser)
	}
	prefix := ""
	if f.Role == family.Denoiser && !slices.ContainsFunc(base.Tensors, func(t model.Tensor) bool { return strings.HasPrefix(t.Name, model.UNetPrefix) }) {
		prefix = model.UNetPrefix
	}
	m.Format, m.Metadata, m.Values = base.Format, base.Metadata, base.Values
	if c.CLIPL == "" && c.CLIPG == "" {
		m.Ignored = append(m.Ignored, base.Ignored...) // some tell whose text encoder it is
		if family.Configure(base) == nil {
			carry(m, base)
		}
	}
	m.Warnings = append(m.Warnings, base.Warnings...)
	for _, t := range base.Tensors {
		if t.Name != model.ScheduleName {
			t.Name = prefix + t.Name
		}
		all = append(all, model.Stored{Tensor: t, DType: t.Type.String()})
	}
	for _, t := range base.Marks {
		all = append(all, model.Stored{Tensor: t, DType: t.Type.String()})
	}
	return all, f, nil
}

// carry puts into the metadata what was read off the whole base, and could not be
// read off its networks alone.
func carry(m, base *model.Model) {
	c, ok := base.Config.(interface {
		Carry(metadata map[string]string)
	})
	if !ok {
		return
	}
	c.Carry(m.Metadata)
	if len(base.Merges) > 0 { // which reading the configuration took out of the metadata
		m.Metadata[model.KeyMerges] = strings.Join(base.Merges, "\n")
	}
	if base.T5Tokenizer != nil {
		m.Metadata[model.KeyT5Tokenizer] = family.T5TokenizerText(base.T5Tokenizer)
	}
}

// read reads a component's file and gives its tensors their original names,
// without a prefix.
func (p *component) read(m *model.Model) error {
	one, err := load(p.path)
	m.AddFiles(one.Files()...)
	m.Format = cmp.Or(m.Format, one.Format)
	if err != nil {
		return err
	}
	p.from = family.Lookup(one.Family)
	if err := p.listen(m, one); err != nil {
		return err
	}
	for _, prefix := range p.inside {
		for _, t := range one.Tensors {
			if rest, ok := strings.CutPrefix(t.Name, prefix); ok {
				t.Name = rest
				p.tensors = append(p.tensors, model.Stored{Tensor: t, DType: t.Type.String()})
			}
		}
		if len(p.tensors) > 0 {
			if p.role == family.CLIPText {
				m.Ignored = append(m.Ignored, one.Ignored...) // some tell how many layers are used
			}
			return nil
		}
	}
	if p.role != p.from.Role {
		instead := ""
		if p.role == family.Autoencoder && one.Family == family.TAESD {
			instead = "; --taesd takes a tiny one"
		}
		return fmt.Errorf("%s; expected %s%s", one.Description, p.role, instead)
	}
	for _, t := range one.Tensors {
		p.tensors = append(p.tensors, model.Stored{Tensor: t, DType: t.Type.String()})
	}
	if p.from.PartName != nil {
		p.rename(p.from.PartName(p.tensors))
	}
	return nil
}

// rename gives the tensors the names that they have in a whole model, and drops
// those that are no part of it, such as OpenCLIP's image encoder.
func (p *component) rename(name func(string) (string, bool)) {
	kept := p.tensors[:0]
	for _, t := range p.tensors {
		if to, ok := name(t.Name); ok {
			t.Name = to
			kept = append(kept, t)
		}
	}
	p.tensors = kept
}
