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
	Model string
	UNet  string // or the transformer of FLUX.1 or SD 3
	VAE   string
	CLIPL string // text encoder of SD 1.x, the first one of SDXL, SD 3 and FLUX.1; OpenCLIP ViT-H for SD 2.x
	CLIPG string // second text encoder of SDXL and SD 3, the only one of SDXL's refiner
	T5    string // third text encoder of SD 3, second one of FLUX.1
}

// Assemble opens a model that is put together from several files.
func Assemble(c Components) (_ *model.Model, err error) {
	defer model.Recovered(c.Model, &err)
	m := &model.Model{Path: c.Model}
	if err = assemble(m, c); err == nil {
		err = family.Configure(m)
	}
	if err != nil {
		m.Close()
		return nil, err
	}
	m.WarnOfUnknown()
	return m, nil
}

// component is a file that takes a place in the model.
type component struct {
	path    string
	role    family.Role
	inside  []string // prefixes that the tensors have in whole models
	place   func(family.Slots) string
	tensors []model.Stored // without a prefix
	from    *family.Family // that the file is of
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
	}
}

func assemble(m *model.Model, c Components) error {
	all, whole, err := readBase(m, c)
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
	slots := family.SlotsOf(whole, family.Given{CLIPL: c.CLIPL != "", CLIPG: c.CLIPG != "", Has: func(prefix string) bool {
		return slices.ContainsFunc(all, func(t model.Stored) bool { return strings.HasPrefix(t.Name, prefix) })
	}})
	for _, p := range components {
		prefix := p.place(slots)
		if prefix == "" {
			return fmt.Errorf("%s: %s: a model of this family has no such component", p.path, p.role)
		}
		all = slices.DeleteFunc(all, func(t model.Stored) bool { return strings.HasPrefix(t.Name, prefix) })
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
	return addFile(m, all)
}

// readBase reads the model that components are put into, if there is one. It need
// not be complete.
func readBase(m *model.Model, c Components) (all []model.Stored, f *family.Family, err error) {
	if c.Model == "" {
		return nil, nil, nil
	}
	base, err := load(c.Model)
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
	m.Format, m.Metadata = base.Format, base.Metadata
	if c.CLIPL == "" && c.CLIPG == "" && family.Configure(base) == nil {
		carry(m, base)
	}
	for _, t := range base.Tensors {
		t.Name = prefix + t.Name
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
	for _, prefix := range p.inside {
		for _, t := range one.Tensors {
			if rest, ok := strings.CutPrefix(t.Name, prefix); ok {
				t.Name = rest
				p.tensors = append(p.tensors, model.Stored{Tensor: t, DType: t.Type.String()})
			}
		}
		if len(p.tensors) > 0 {
			return nil
		}
	}
	if p.role != p.from.Role {
		return fmt.Errorf("%s; expected %s", one.Description, p.role)
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
