package adapter

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/convert/read"
)

// Info is what a file says about itself, and what its tensors tell.
type Info struct {
	Kinds    []string // of its changes, most frequent first
	Ranks    []int    // of its factors, rising
	Alphas   []float64
	Parts    map[Part]int // layers of each network
	Base     string       // the models that it is for, such as "Stable Diffusion 1.x"; "" if unknown
	Triggers []Trigger    // what it was trained with, most frequent first
}

// Trigger is a tag of the pictures that a LoRA was trained on.
type Trigger struct {
	Tag   string
	Count int // pictures
}

// Info describes the file.
func (f *File) Info() Info {
	info := Info{Parts: map[Part]int{}, Base: f.base()}
	kinds, ranks, alphas := map[string]int{}, map[int]bool{}, map[float64]bool{}
	for _, m := range f.Modules {
		kinds[m.Kind()]++
		info.Parts[m.Part]++
		if r := m.Rank(); r > 0 {
			ranks[r] = true
			if m.alpha != 0 {
				alphas[m.alpha] = true
			}
		}
	}
	info.Kinds = slices.SortedFunc(maps.Keys(kinds), func(a, b string) int {
		return cmp.Or(kinds[b]-kinds[a], strings.Compare(a, b))
	})
	info.Ranks, info.Alphas = slices.Sorted(maps.Keys(ranks)), slices.Sorted(maps.Keys(alphas))
	info.Triggers = triggers(f.Metadata["ss_tag_frequency"])
	return info
}

// bases are the models by the beginning of what kohya's scripts call them.
var bases = []struct{ begins, name string }{
	{"sdxl", "Stable Diffusion XL"}, {"sd_v2", "Stable Diffusion 2.x"}, {"sd_2", "Stable Diffusion 2.x"},
	{"sd_v1", "Stable Diffusion 1.x"}, {"sd_1", "Stable Diffusion 1.x"}, {"flux", "FLUX.1"}, {"sd3", "Stable Diffusion 3"},
}

// textWidths are those of the text that the families' UNets attend to.
var textWidths = map[int]string{768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x", 2048: "Stable Diffusion XL", 1280: "Stable Diffusion XL's refiner"}

// base is the model that the metadata names, or else that has text of the width that the
// layers of attention to text take.
func (f *File) base() string {
	if said := strings.ToLower(f.Metadata["ss_base_model_version"]); said != "" {
		for _, b := range bases {
			if strings.HasPrefix(said, b.begins) {
				return b.name
			}
		}
	}
	for _, m := range f.Modules {
		if strings.HasSuffix(m.key, "attn2_to_k") || strings.HasSuffix(m.key, "attn2_to_v") {
			for _, role := range []string{"down", "hada_w1_b"} {
				if name := textWidths[m.dim(role, 1)]; name != "" {
					return name
				}
			}
		}
	}
	return ""
}

// triggers adds up the tags of all of a trainer's folders of pictures.
func triggers(text string) []Trigger {
	var folders map[string]map[string]int
	if json.Unmarshal([]byte(text), &folders) != nil {
		return nil
	}
	sums := map[string]int{}
	for _, tags := range folders {
		for tag, n := range tags {
			sums[strings.TrimSpace(tag)] += n
		}
	}
	var all []Trigger
	for tag, n := range sums {
		if tag != "" {
			all = append(all, Trigger{tag, n})
		}
	}
	slices.SortFunc(all, func(a, b Trigger) int { return cmp.Or(b.Count-a.Count, strings.Compare(a.Tag, b.Tag)) })
	return all
}

// AliasOf is the Alias of a file, of which only the header is read; "" if it has none or
// cannot be read.
func AliasOf(path string) string {
	m, _, err := read.Stored(path)
	if err != nil {
		return ""
	}
	defer m.Close()
	return m.Metadata[keyAlias]
}

// keyAlias is where kohya's scripts keep the name that the trainer gave a file.
const keyAlias = "ss_output_name"
