package convert

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Sources are the files that a model is put together from. Model, if there is
// one, gives all that the others do not; they are files of one part each, or
// whole models of which one part is taken, in any layout and format that [Load]
// knows.
type Sources struct {
	Model string
	UNet  string // or the transformer of FLUX.1 or SD 3
	VAE   string
	ClipL string // text encoder of SD 1.x, first one of SDXL, SD 3 and FLUX.1; OpenCLIP ViT-H for SD 2.x
	ClipG string // second text encoder of SDXL and SD 3, first one of SDXL's refiner
	T5    string // third text encoder of SD 3, second one of FLUX.1
}

// LoadSources opens a model that is put together from several files.
func LoadSources(s Sources) (_ *Model, err error) {
	defer recovered(s.Model, &err)
	m := &Model{Path: s.Model}
	err = m.combine(s)
	if err == nil {
		err = m.detect()
	}
	if err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// partFile is a file of one part. second is that of SDXL's and SD 3's second
// text encoder.
type partFile struct {
	path, arch string
	second     bool
	tensors    []raw  // that are read from it, without a prefix
	from       string // the family that the file is of
}

func (m *Model) combine(s Sources) error {
	all, err := m.base(s)
	if err != nil {
		return err
	}
	parts := []*partFile{{path: s.UNet, arch: UNet}, {path: s.VAE, arch: VAE}, {path: s.ClipL, arch: CLIP}, {path: s.ClipG, arch: CLIP, second: true}, {path: s.T5, arch: T5}}
	for _, p := range parts {
		if p.path == "" {
			continue
		}
		if err := m.part(p); err != nil {
			return fmt.Errorf("%s: %w", p.path, err)
		}
	}
	family := m.Arch
	if from := parts[0].from; from == Flux || from == SD3 {
		family = from
	}
	for i, prefix := range prefixes(family, s, all) {
		p := parts[i]
		if p.path == "" {
			continue
		}
		if prefix == "" {
			return fmt.Errorf("%s: %s: a model of this family has no such part", p.path, p.arch)
		}
		all = slices.DeleteFunc(all, func(t raw) bool { return strings.HasPrefix(t.Name, prefix) })
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
	return m.take(all)
}

// base reads the model that parts are put into, if there is one. It need not be
// complete.
func (m *Model) base(s Sources) (all []raw, err error) {
	if s.Model == "" {
		return nil, nil
	}
	base, err := read(s.Model)
	m.maps, m.files = base.maps, base.files
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Model, err)
	}
	prefix := ""
	switch {
	case isDiffusion(base.Arch):
	case base.Arch == UNet || base.Arch == Flux || base.Arch == SD3:
		if !slices.ContainsFunc(base.Tensors, func(t Tensor) bool { return strings.HasPrefix(t.Name, UNetPrefix) }) {
			prefix = UNetPrefix
		}
	default:
		return nil, fmt.Errorf("%s: %s: parts can be put into a model of Stable Diffusion or FLUX only", s.Model, base.What)
	}
	m.Arch, m.Format, m.Metadata = base.Arch, base.Format, base.Metadata
	if s.ClipL == "" && s.ClipG == "" && base.detect() == nil && base.Text.FinalLayer > 0 {
		m.Metadata[keyTextFinal] = fmt.Sprint(base.Text.FinalLayer)
		if len(base.Merges) > 0 { // which detect took out of the metadata
			m.Metadata[keyMerges] = strings.Join(base.Merges, "\n")
		}
	}
	for _, t := range base.Tensors {
		t.Name = prefix + t.Name
		all = append(all, raw{t, t.Type.String()})
	}
	return all, nil
}

// prefixes are those of the canonical names of UNet, VAE, CLIP-L, CLIP-G and
// T5. One is empty where a family has no such part.
func prefixes(family string, s Sources, base []raw) [5]string {
	has := func(prefix string) bool {
		return slices.ContainsFunc(base, func(t raw) bool { return strings.HasPrefix(t.Name, prefix) })
	}
	switch {
	case family == Flux:
		return [5]string{UNetPrefix, VAEPrefix, clipLPrefix, "", t5Prefix}
	case family == SD3:
		return [5]string{UNetPrefix, VAEPrefix, clipLPrefix, clipGPrefix, t5Prefix}
	case s.ClipG == "" && !has(text2Prefix) && !has(text1Prefix):
		return [5]string{UNetPrefix, VAEPrefix, TextPrefix, "", ""}
	case s.ClipL == "" && !has(text2Prefix) && (has(text1Prefix) || s.ClipG != ""): // the refiner
		return [5]string{UNetPrefix, VAEPrefix, "", text1Prefix, ""}
	}
	return [5]string{UNetPrefix, VAEPrefix, text1Prefix, text2Prefix, ""}
}

// part reads a file of one part and gives its tensors their original names,
// without a prefix.
func (m *Model) part(p *partFile) error {
	one, err := read(p.path)
	m.maps, m.files = append(m.maps, one.maps...), append(m.files, one.files...)
	m.Format = cmp.Or(m.Format, one.Format)
	if err != nil {
		return err
	}
	p.from = one.Arch
	inside := map[string][]string{
		UNet: {UNetPrefix}, VAE: {VAEPrefix}, CLIP: {TextPrefix, text1Prefix, clipLPrefix}, T5: {t5Prefix},
	}[p.arch]
	if p.arch == CLIP && p.second {
		inside = []string{text2Prefix, clipGPrefix, text1Prefix}
	}
	for _, prefix := range inside {
		for _, t := range one.Tensors {
			if rest, ok := strings.CutPrefix(t.Name, prefix); ok {
				t.Name = rest
				p.tensors = append(p.tensors, raw{t, t.Type.String()})
			}
		}
		if len(p.tensors) > 0 {
			return nil
		}
	}
	wanted := p.arch == one.Arch || p.arch == UNet && (one.Arch == Flux || one.Arch == SD3)
	if !wanted {
		return fmt.Errorf("%s; %s is wanted", one.What, map[string]string{UNet: "a UNet of latent diffusion or a transformer", VAE: "an autoencoder",
			CLIP: "a CLIP text encoder", T5: "a T5 text encoder"}[p.arch])
	}
	for _, t := range one.Tensors {
		if p.arch == CLIP && strings.Contains(one.What, "OpenCLIP's") {
			to, ok := openCLIPName("text_model.", t.Name)
			if !ok {
				continue // of its encoder of pictures
			}
			t.Name = to
		}
		p.tensors = append(p.tensors, raw{t, t.Type.String()})
	}
	return nil
}
