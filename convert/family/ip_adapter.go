package family

import "strings"

// IPAdapter is IP-Adapter (Ye et al. 2023): attention to a picture, for UNets that attend to
// text.
const IPAdapter = "ip_adapter"

var ipAdapter = &Family{
	Name: IPAdapter,
	Looks: []Look{
		{"an IP-Adapter", []string{"image_proj.*", "ip_adapter.*.to_k_ip.weight"}},
	},
	Owns: func(name string) bool { return beginsWith(name, "image_proj.", "ip_adapter.") },
	Runs: true,
	Read: func(r *Reader) any { return readIPAdapter(r) },
	Properties: func(d *Describer) {
		context := 0
		for _, t := range d.Model.Tensors {
			if strings.HasSuffix(t.Name, ".to_k_ip.weight") {
				context = max(context, dimension(t, 1))
			}
		}
		d.Property("context", context)
		d.Say(ipAdapterKind(d))
		if textWidths[context] != "" {
			d.Say("for " + textWidths[context])
		}
	},
}

// ipAdapterKind is what the adapter gets of a picture, which its projection tells.
func ipAdapterKind(d *Describer) string {
	switch {
	case d.Has("image_proj.perceiver_resampler.proj_in.weight"):
		return "FaceID Plus"
	case d.Has("image_proj.latents"):
		return "Plus"
	case d.Has("image_proj.proj.3.weight"):
		return "full face"
	case d.Has("image_proj.proj.2.weight"):
		return "FaceID"
	}
	return ""
}
