package catalog

import (
	"cmp"
	"strings"

	"github.com/sdgo/sdgo/convert"
)

// describeTransformer describes a diffusion transformer that draws from text: how it is
// usually drawn with, as its family in package sd has it, and what its file lacks.
func (e *Entry) describeTransformer(m *convert.Model) {
	e.Kind, e.Transformer, e.Align, e.Sampler, e.Schedule = Checkpoint, true, 16, "euler", "linear"
	usual := func(steps int, guidance float64) {
		e.Steps, e.Guidance = steps, cmp.Or(m.Guidance, guidance)
	}
	switch c := m.Config.(type) {
	case *convert.ZImageConfig:
		if usual(8, 1); c.Flow.Shift != 3 || c.Flow.Dynamic != nil { // not Turbo
			usual(28, 5)
		}
	case *convert.DeepFloydModel:
		steps, guidance := 0, 0.0
		e.Sampler, e.Schedule, steps, guidance = c.Usual()
		usual(steps, guidance)
		if e.Align = c.Multiple; c.LowChannels > 0 {
			e.Variant = "enlarge"
		}
	case *convert.QwenImageConfig:
		usual(50, 4)
	case *convert.Flux2Config:
		if usual(4, 1); m.Guidance > 0 && m.Guidance != 1 { // not distilled
			usual(50, m.Guidance)
		}
	case *convert.SD3Model:
		e.Schedule = "discrete"
		switch t := c.Transformer; {
		case t.Dual > 0:
			usual(40, 4.5)
		case t.Norms:
			usual(28, 3.5)
		default:
			usual(28, 7)
		}
	case *convert.FluxModel:
		switch t := c.Transformer; {
		case t.Pooled == 0:
			usual(35, 5)
		case t.Channels == 6*t.OutChannels:
			e.Variant = "inpaint"
			usual(50, 30)
		case c.Kontext:
			usual(28, 2.5)
		case t.Guidance:
			usual(28, 3.5)
		default:
			usual(4, 1)
		}
	}
	e.lacks = strings.Join(lacking(m), " ")
}
