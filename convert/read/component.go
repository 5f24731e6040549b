package read

import (
	"maps"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/convert/family"
	"github.com/sdgo/sdgo/convert/model"
)

// listen keeps what a component's file says about itself: its metadata and marks,
// or the configuration beside the one network of a folder.
func (p *component) listen(m, one *model.Model) error {
	p.said, p.marks = maps.Clone(one.Metadata), one.Marks
	if i := one.Index(model.ScheduleName); i >= 0 {
		t := one.Tensors[i]
		p.schedule = append(p.schedule, model.Stored{Tensor: t, DType: t.Type.String()})
	}
	m.Warnings = append(m.Warnings, one.Warnings...)
	if one.Format != "diffusers" {
		return nil
	}
	_, _, err := networkConfig(p.path) // what it says, reading has noted; here it must be right
	return err
}

// speak puts what the component's file says in place of what the model says that it
// is put into: the denoiser of how it was trained, the autoencoder of its latents.
// One that says nothing leaves all as it is.
func (p *component) speak(m *model.Model, all []model.Stored) []model.Stored {
	about := family.SaidBy(p.role)
	said := map[string]string{}
	for key, value := range p.said {
		if about(key) {
			said[key] = value
		}
	}
	train := p.role == family.Denoiser && (len(p.marks) > 0 || len(p.schedule) > 0 || family.SaysProcess(said))
	if train {
		all = slices.DeleteFunc(all, func(t model.Stored) bool { return t.Name == model.ScheduleName || family.IsMark(t.Name) })
		maps.DeleteFunc(m.Metadata, func(key, _ string) bool { return family.IsProcess(key) })
		for _, t := range p.marks {
			all = append(all, model.Stored{Tensor: t, DType: t.Type.String()})
		}
		all = append(all, p.schedule...)
	}
	for key, value := range p.said { // titles, trigger words
		if p.role == family.Denoiser && family.IsForeign(key) && m.Metadata[key] == "" {
			m.Metadata[key] = value
		}
	}
	if network := family.OwnKeys(p.role); hasPrefix(said, network) {
		maps.DeleteFunc(m.Metadata, func(key, _ string) bool { return strings.HasPrefix(key, network) })
	}
	maps.Copy(m.Metadata, said)
	return all
}

func hasPrefix(said map[string]string, prefix string) bool {
	for key := range said {
		if prefix != "" && strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}
