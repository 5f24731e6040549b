package family

import (
	"fmt"
	"strings"
)

// LoRA is a file of low-rank changes to the weights of a model.
const LoRA = "lora"

var lora = &Family{
	Name: LoRA,
	Looks: []Look{
		{"a LoRA with kohya's names", []string{"lora_*.lora_up.weight"}},
		{"a LoRA with PEFT's names", []string{"*.lora_A.*weight"}},
		{"a LoRA with the diffusers library's names", []string{"*.lora.up.weight"}},
		{"a LoRA with the diffusers library's older names", []string{"*_lora.up.weight"}},
		{"a LoRA with the diffusers library's older names", []string{"*.lora_linear_layer.up.weight"}},
		{"a LoHa", []string{"*.hada_w1_a"}},
		{"a LoKr", []string{"*.lokr_w1*"}},
		{"a LoRA", []string{"*.lora_up.weight"}},
	},
	Properties: loraProperties,
}

// loraProperties reads the rank off the first matrix, and the model that the
// LoRA is for off what its attention to text takes.
func loraProperties(d *Describer) {
	rank, context, transformer := 0, 0, ""
	for _, t := range d.Model.Tensors {
		down := isLoRADown(t.Name)
		if down && rank == 0 {
			rank = dimension(t, 0)
		}
		if down && strings.Contains(t.Name, "attn2") && strings.Contains(t.Name, "to_k") {
			context = max(context, dimension(t, 1))
		}
		switch {
		case strings.Contains(t.Name, "single_transformer_blocks"), strings.Contains(t.Name, "double_blocks"), strings.Contains(t.Name, "single_blocks"):
			transformer = "FLUX.1"
		case strings.Contains(t.Name, "joint_blocks"):
			transformer = "Stable Diffusion 3"
		}
	}
	d.Property("rank", rank)
	d.Property("context", context)
	if rank > 0 {
		d.Say(fmt.Sprintf("rank %d", rank))
	}
	if transformer == "" {
		transformer = textWidths[context]
	}
	if transformer != "" {
		d.Say("for " + transformer)
	}
}

func isLoRADown(name string) bool {
	for _, suffix := range []string{".lora_down.weight", ".lora_A.weight", "lora.down.weight", ".lora_linear_layer.down.weight"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}
