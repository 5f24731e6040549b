package family

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sdgo/sdgo/convert/model"
)

// LoRA is a file of changes to the weights of a model: products of two low-rank
// matrices (Hu et al. 2021) and their relatives.
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
		{"an OFT", []string{"*.oft_blocks"}},
		{"an OFT", []string{"*.oft_diag"}},
		{"a LoRA", []string{"*.lora_up.weight"}},
		{"a LoRA with cloneofsimo's names", []string{"unet:0:up", "unet:0:down"}},
		{"a LoRA with cloneofsimo's names", []string{"text_encoder:0:up", "text_encoder:0:down"}},
	},
	Owns:       func(name string) bool { return loraName.MatchString(name) },
	Guess:      loraList,
	Properties: loraProperties,
}

// loraName are the names of tensors in such files, in all layouts.
var loraName = regexp.MustCompile(`(^|[._])(lora|lycoris|oft|hada|lokr|dora|ia3|bundle_emb)([._]|$)|\.(alpha|diff|diff_b|dora_scale)$|^(unet|text_encoder):\d+:`)

// loraList tells the files of cloneofsimo's lora, 2022, which are a list of matrices: of
// each layer the one with the rank as columns, then the one with it as rows.
func loraList(all []model.Stored) string {
	if len(all) < 2 || len(all)%2 != 0 {
		return ""
	}
	byName := make(map[string]model.Stored, len(all))
	for _, t := range all {
		byName[t.Name] = t
	}
	for i := 0; i < len(all); i += 2 {
		up, down := byName[strconv.Itoa(i)], byName[strconv.Itoa(i+1)]
		if len(up.Shape) < 2 || len(down.Shape) != len(up.Shape) || up.Shape[1] != down.Shape[0] || up.Shape[1] > up.Shape[0] || !up.Type.Float() {
			return ""
		}
	}
	return "a LoRA, a list of matrices"
}

// loraProperties reads the rank off the first matrix, and the model that the
// LoRA is for off what its attention to text takes.
func loraProperties(d *Describer) {
	rank, context, transformer := 0, 0, ""
	numbered := slices.ContainsFunc(d.Model.Tensors, func(t model.Tensor) bool { return t.Name == "0" || t.Name == "unet:0:down" })
	for i, t := range d.Model.Tensors {
		down := isLoRADown(t.Name) || t.Name != "" && strings.Trim(t.Name, "0123456789") == "" && i%2 == 1
		if down && rank == 0 {
			rank = dimension(t, 0)
		}
		toText := strings.Contains(t.Name, "attn2") && strings.Contains(t.Name, "to_k")
		if numbered && !strings.HasPrefix(t.Name, "text_encoder") { // of which layer it is must be seen by its width
			toText = textWidths[dimension(t, 1)] != "" && dimension(t, 1) != 1280
		}
		if down && toText {
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

// loraDown ends the names of the matrices whose rows are the rank.
var loraDown = []string{".lora_down.weight", ".lora_A.weight", "lora.down.weight", ".lora_linear_layer.down.weight", ".hada_w1_b", ".lokr_w1_b", ".lokr_w2_b", ":down"}

func isLoRADown(name string) bool {
	for _, suffix := range loraDown {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return strings.Contains(name, ".lora_A.") && strings.HasSuffix(name, ".weight") // with the adapter's name between them
}
