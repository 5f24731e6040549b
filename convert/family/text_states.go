package family

import (
	"fmt"

	"github.com/sdgo/sdgo/convert/model"
)

// TextStates are the hidden states of a text encoder: what a UNet gets of one text.
const TextStates = "text_states"

var textStates = &Family{
	Name:  TextStates,
	Looks: []Look{{"the hidden states of a text", []string{"prompt_embeds", "!*.*"}}},
	Guess: func(all []model.Stored) string {
		if len(all) == 1 && len(all[0].Shape) == 3 && all[0].Type.Float() && textWidths[dimension(all[0].Tensor, 2)] != "" {
			return "the hidden states of a text"
		}
		return ""
	},
	Properties: func(d *Describer) {
		for _, t := range d.Model.Tensors {
			if len(t.Shape) < 2 || len(d.Model.Properties) > 0 {
				continue
			}
			tokens, width := dimension(t, len(t.Shape)-2), dimension(t, len(t.Shape)-1)
			d.Property("tokens", tokens)
			d.Property("width", width)
			d.Say(fmt.Sprintf("%d tokens", tokens))
			if textWidths[width] != "" {
				d.Say("for " + textWidths[width])
			}
		}
	},
}
