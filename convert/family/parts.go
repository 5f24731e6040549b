package family

import (
	"strings"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/model"
)

// Group is a group of tensors that are listed together.
type Group struct {
	Name     string   // "UNet"
	Prefixes []string // of its tensors' names
}

// denoiserGroups are those of most models; the denoiser has a name of its own.
func denoiserGroups(denoiser string) []Group {
	return []Group{
		{"text encoder", []string{model.TextPrefix, model.Text1Prefix, model.CLIPLPrefix}},
		{"text encoder 2", []string{model.Text2Prefix, model.CLIPGPrefix}},
		{"T5 text encoder", []string{model.T5Prefix}},
		{"vision tower", []string{model.Qwen4BPrefix + towerPrefix, model.Qwen8BPrefix + towerPrefix, model.QwenVLPrefix + towerPrefix}},
		{"Qwen text encoder", []string{model.Qwen4BPrefix, model.Qwen8BPrefix, model.QwenVLPrefix}},
		{denoiser, []string{model.UNetPrefix}},
		{"VAE encoder", []string{model.VAEPrefix + "encoder.", model.VAEPrefix + "quant_conv."}},
		{"VAE decoder", []string{model.VAEPrefix}},
	}
}

var (
	unetGroups        = denoiserGroups("UNet")
	transformerGroups = denoiserGroups("transformer")
)

// Parts lists the networks that the model has, with their sizes. What is in none
// of them is "weights".
func Parts(m *model.Model) []model.Part {
	groups := unetGroups
	if f := Lookup(m.Family); f != nil && f.Groups != nil {
		groups = f.Groups
	}
	parts := make([]model.Part, len(groups)+1)
	for i, g := range groups {
		parts[i].Name = g.Name
	}
	parts[len(groups)].Name = "weights"
	for _, t := range m.Tensors {
		if t.Name == model.ScheduleName || t.Name == lowSchedule {
			continue
		}
		p := &parts[partOf(groups, t.Name)]
		if p.Types == nil {
			p.Types = map[dtype.Type]int64{}
		}
		p.Tensors++
		p.Elements += t.Elements()
		p.Bytes += t.Size()
		p.Types[t.Type] += t.Size()
	}
	present := parts[:0]
	for _, p := range parts {
		if p.Tensors > 0 {
			present = append(present, p)
		}
	}
	return present
}

// partOf is the place of the first group that a tensor belongs to.
func partOf(groups []Group, name string) int {
	for i, g := range groups {
		for _, prefix := range g.Prefixes {
			if strings.HasPrefix(name, prefix) {
				return i
			}
		}
	}
	return len(groups)
}
