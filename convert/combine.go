package convert

import (
	"fmt"
	"slices"
	"strings"
)

// Sources are the files that a model is put together from. Model, if there is
// one, gives all that the others do not; they are files of one part each, in
// any layout and format that [Load] knows.
type Sources struct {
	Model string
	UNet  string
	VAE   string
	ClipL string // text encoder of SD 1.x, first one of SDXL; OpenCLIP ViT-H for SD 2.x
	ClipG string // second text encoder of SDXL, first one of its refiner
}

// LoadSources opens a model of Stable Diffusion's families that is put
// together from several files.
func LoadSources(s Sources) (*Model, error) {
	m := &Model{Path: s.Model}
	err := m.combine(s)
	if err == nil {
		err = m.detect()
	}
	if err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

func (m *Model) combine(s Sources) error {
	var all []raw
	if s.Model != "" {
		base, err := Load(s.Model)
		if err != nil {
			return err
		}
		m.maps, m.closers = base.maps, base.closers
		if !isDiffusion(base.Arch) {
			return fmt.Errorf("%s: %s: parts can be put into a model of Stable Diffusion only", s.Model, base.What)
		}
		m.Format, m.Metadata = base.Format, base.Metadata
		if len(base.Merges) > 0 { // which Load took out of the metadata
			m.Metadata[keyMerges] = strings.Join(base.Merges, "\n")
		}
		if s.ClipL == "" && s.ClipG == "" {
			m.Metadata[keyTextFinal] = fmt.Sprint(base.Text.FinalLayer)
		}
		for _, t := range base.Tensors {
			all = append(all, raw{t, t.Type.String()})
		}
	}
	two := s.ClipG != "" || slices.ContainsFunc(all, func(t raw) bool { return strings.HasPrefix(t.Name, text2Prefix) })
	first, second := TextPrefix, text2Prefix
	switch {
	case two && s.ClipL == "" && !slices.ContainsFunc(all, func(t raw) bool { return strings.HasPrefix(t.Name, text1Prefix) }):
		second = text1Prefix // the refiner
	case two:
		first = text1Prefix
	}
	for _, part := range []struct{ path, arch, prefix string }{
		{s.UNet, UNet, UNetPrefix}, {s.VAE, VAE, VAEPrefix}, {s.ClipL, CLIP, first}, {s.ClipG, CLIP, second},
	} {
		if part.path == "" {
			continue
		}
		tensors, err := m.part(part.path, part.arch, part.prefix)
		if err != nil {
			return fmt.Errorf("%s: %w", part.path, err)
		}
		all = slices.DeleteFunc(all, func(t raw) bool { return strings.HasPrefix(t.Name, part.prefix) })
		all = append(all, tensors...)
	}
	metadata := m.Metadata
	if metadata == nil {
		metadata = map[string]string{}
	}
	m.Metadata = metadata
	return m.take(all)
}

// part reads a file of one part and gives its tensors their original names.
func (m *Model) part(path, arch, prefix string) ([]raw, error) {
	one := &Model{Path: path}
	err := one.openFile()
	m.maps, m.closers = append(m.maps, one.maps...), append(m.closers, one.closers...)
	if m.Format == "" {
		m.Format = one.Format
	}
	if err != nil {
		return nil, trimPath(err)
	}
	all := make([]raw, len(one.Tensors))
	for i, t := range one.Tensors {
		all[i] = raw{t, t.Type.String()}
	}
	if isDiffusion(one.Arch) { // a whole model, of which one part is taken
		own := map[string][]string{UNet: {UNetPrefix}, VAE: {VAEPrefix}, CLIP: {prefix, TextPrefix, text1Prefix}}[arch]
		for _, p := range own {
			if some := cutPrefix(all, p, prefix); len(some) > 0 {
				return some, nil
			}
		}
	}
	if one.Arch != arch {
		return nil, fmt.Errorf("%s; %s is wanted", one.What, map[string]string{UNet: "a UNet of latent diffusion", VAE: "an autoencoder", CLIP: "a CLIP text encoder"}[arch])
	}
	rename := renamerOf(arch, prefix, all)
	out := all[:0]
	for _, t := range all {
		name, ok := rename(t.Name)
		if !ok {
			return nil, fmt.Errorf("tensor %q is no part of %s", t.Name, one.What)
		}
		t.Name = name
		out = append(out, t)
	}
	return out, nil
}

// cutPrefix selects the tensors with a prefix, and replaces it.
func cutPrefix(all []raw, from, to string) (some []raw) {
	for _, t := range all {
		if rest, ok := strings.CutPrefix(t.Name, from); ok {
			t.Name = to + rest
			some = append(some, t)
		}
	}
	return some
}

// renamerOf finds out in which layout a part's file is.
func renamerOf(arch, prefix string, all []raw) func(string) (string, bool) {
	has := func(piece string) bool {
		return slices.ContainsFunc(all, func(t raw) bool { return strings.Contains(t.Name, piece) })
	}
	switch {
	case arch == UNet && has("down_blocks."):
		return unetNames(all)
	case arch == VAE && has("up_blocks."):
		return vaeNames(all)
	case arch == CLIP && has("resblocks."):
		open := strings.TrimSuffix(prefix, "transformer.") + "model."
		return func(name string) (string, bool) { return open + strings.TrimPrefix(name, open), true }
	case arch == CLIP:
		return func(name string) (string, bool) {
			for _, p := range []string{TextPrefix, text1Prefix, text2Prefix} {
				name = strings.TrimPrefix(name, p)
			}
			return prefix + name, true
		}
	}
	return func(name string) (string, bool) { return prefix + strings.TrimPrefix(name, prefix), true }
}
