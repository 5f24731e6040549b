package convert

import (
	"fmt"
	"regexp"
	"strings"
)

// A module is a piece of a network under both of its names, without a dot at
// the end. inner renames what is within it.
type module struct {
	diffusers, ldm string
	inner          map[string]string
}

var (
	unetResnet = map[string]string{
		"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1",
		"norm2": "out_layers.0", "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
	}
	vaeResnet    = map[string]string{"conv_shortcut": "nin_shortcut"}
	vaeAttention = map[string]string{
		"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out",
		"query": "q", "key": "k", "value": "v", "proj_attn": "proj_out",
	}
	// oldNames are those of before diffusers 0.15.
	oldNames = map[string]bool{"query": true, "key": true, "value": true, "proj_attn": true}
)

// renamer renames tensors by the longest module whose name they begin with.
func renamer(prefix string, modules []module) func(string) (string, bool) {
	byName := make(map[string]module, len(modules))
	for _, m := range modules {
		byName[m.diffusers] = m
	}
	return func(name string) (string, bool) {
		to, ok := translate(byName, name)
		return prefix + to, ok
	}
}

// inverse turns modules around. Of two names for one thing in the diffusers
// library, the newer one is taken.
func inverse(modules []module) map[string]module {
	byName := make(map[string]module, len(modules))
	for _, m := range modules {
		back := make(map[string]string, len(m.inner))
		for theirs, ours := range m.inner {
			if _, old := oldNames[theirs]; !old {
				back[ours] = theirs
			}
		}
		byName[m.ldm] = module{m.ldm, m.diffusers, back}
	}
	return byName
}

// translate renames what begins with a module's first name to its second.
func translate(byName map[string]module, name string) (string, bool) {
	for cut := strings.LastIndexByte(name, '.'); cut > 0; cut = strings.LastIndexByte(name[:cut], '.') {
		m, ok := byName[name[:cut]]
		if !ok {
			continue
		}
		rest := name[cut+1:]
		if leaf := strings.LastIndexByte(rest, '.'); leaf > 0 {
			if to, ok := m.inner[rest[:leaf]]; ok {
				rest = to + rest[leaf:]
			}
		}
		return m.ldm + "." + rest, true
	}
	return "", false
}

// DiffusersNames returns a function that gives a weight's folder and name in the
// diffusers library's layout, as its newest version writes them. It is the
// inverse of what reading such a folder does.
func DiffusersNames(m *Model) func(name string) (folder, theirs string, ok bool) {
	attention := map[int]bool{}
	levels := len(m.UNet.ChannelMult)
	for i, depth := range m.UNet.TransformerDepth {
		attention[levels-1-i] = depth > 0
	}
	unet := inverse(unetModules(levels, m.UNet.NumResBlocks, attention))
	blocks := map[string]int{"encoder": m.VAE.NumResBlocks, "decoder": m.VAE.NumResBlocks + 1}
	vae := inverse(vaeModules(func(half string) (int, int) { return len(m.VAE.ChannelMult), blocks[half] }))
	second := "text_encoder_2"
	first := "text_encoder"
	if m.Arch == SDXLRefiner {
		first = second
	}
	return func(name string) (folder, theirs string, ok bool) {
		for _, p := range []struct {
			prefix, folder string
			modules        map[string]module
		}{
			{UNetPrefix, "unet", unet}, {VAEPrefix, "vae", vae}, {m.Text.Prefix, first, nil}, {m.Text2.Prefix, second, nil},
		} {
			rest, found := strings.CutPrefix(name, p.prefix)
			switch {
			case !found || p.prefix == "":
			case p.modules == nil:
				return p.folder, strings.TrimPrefix(rest, "text_model."), true
			default:
				theirs, ok = translate(p.modules, rest)
				return p.folder, theirs, ok
			}
		}
		return "", "", false
	}
}

var stagePattern = regexp.MustCompile(`^(?:encoder\.|decoder\.)?(down|up)_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.`)

// stages counts, for one direction, the blocks of every level and which of
// them have attention, from tensors' names.
func stages(all []raw, direction string) (levels, blocks int, attention map[int]bool) {
	attention = map[int]bool{}
	for _, t := range all {
		m := stagePattern.FindStringSubmatch(t.Name)
		if m == nil || m[1] != direction || len(m[2]) > 2 || len(m[4]) > 2 {
			continue
		}
		var level, block int
		fmt.Sscan(m[2], &level)
		fmt.Sscan(m[4], &block)
		levels, blocks = max(levels, level+1), max(blocks, block+1)
		if m[3] == "attentions" {
			attention[level] = true
		}
	}
	return levels, blocks, attention
}

func unetNames(all []raw) func(string) (string, bool) {
	levels, blocks, _ := stages(all, "down")
	_, _, attention := stages(all, "up")
	return renamer(UNetPrefix, unetModules(levels, blocks, attention))
}

// unetModules are the modules of a UNet with some levels of residual blocks;
// attention says on which levels of the way up it is, which count from the
// lowest resolution.
func unetModules(levels, blocks int, attention map[int]bool) []module {
	modules := []module{
		{"conv_in", "input_blocks.0.0", nil},
		{"time_embedding.linear_1", "time_embed.0", nil},
		{"time_embedding.linear_2", "time_embed.2", nil},
		{"add_embedding.linear_1", "label_emb.0.0", nil},
		{"add_embedding.linear_2", "label_emb.0.2", nil},
		{"mid_block.resnets.0", "middle_block.0", unetResnet},
		{"mid_block.attentions.0", "middle_block.1", nil},
		{"mid_block.resnets.1", "middle_block.2", unetResnet},
		{"conv_norm_out", "out.0", nil},
		{"conv_out", "out.2", nil},
	}
	// The original layout counts blocks and samplers in one row.
	for level := range levels {
		in, out := 1+level*(blocks+1), level*(blocks+1)
		for block := range blocks {
			modules = append(modules,
				module{fmt.Sprintf("down_blocks.%d.resnets.%d", level, block), fmt.Sprintf("input_blocks.%d.0", in+block), unetResnet},
				module{fmt.Sprintf("down_blocks.%d.attentions.%d", level, block), fmt.Sprintf("input_blocks.%d.1", in+block), nil})
		}
		for block := range blocks + 1 {
			modules = append(modules,
				module{fmt.Sprintf("up_blocks.%d.resnets.%d", level, block), fmt.Sprintf("output_blocks.%d.0", out+block), unetResnet},
				module{fmt.Sprintf("up_blocks.%d.attentions.%d", level, block), fmt.Sprintf("output_blocks.%d.1", out+block), nil})
		}
		after := 1
		if attention[level] {
			after = 2
		}
		modules = append(modules,
			module{fmt.Sprintf("down_blocks.%d.downsamplers.0.conv", level), fmt.Sprintf("input_blocks.%d.0.op", in+blocks), nil},
			module{fmt.Sprintf("up_blocks.%d.upsamplers.0.conv", level), fmt.Sprintf("output_blocks.%d.%d.conv", out+blocks, after), nil})
	}
	return modules
}

func vaeNames(all []raw) func(string) (string, bool) {
	return renamer(VAEPrefix, vaeModules(func(half string) (levels, blocks int) {
		levels, blocks, _ = stages(all, directions[half])
		return levels, blocks
	}))
}

// directions are how the halves of an autoencoder name their levels.
var directions = map[string]string{"encoder": "down", "decoder": "up"}

// vaeModules are the modules of an autoencoder, of whose halves stages gives
// the levels and the residual blocks of each.
func vaeModules(stages func(half string) (levels, blocks int)) []module {
	modules := []module{{"quant_conv", "quant_conv", nil}, {"post_quant_conv", "post_quant_conv", nil}}
	for half, direction := range directions {
		levels, blocks := stages(half)
		name := func(format string, args ...any) string { return half + "." + fmt.Sprintf(format, args...) }
		modules = append(modules,
			module{name("conv_in"), name("conv_in"), nil},
			module{name("conv_norm_out"), name("norm_out"), nil},
			module{name("conv_out"), name("conv_out"), nil},
			module{name("mid_block.resnets.0"), name("mid.block_1"), vaeResnet},
			module{name("mid_block.attentions.0"), name("mid.attn_1"), vaeAttention},
			module{name("mid_block.resnets.1"), name("mid.block_2"), vaeResnet})
		for i := range levels {
			level, sampler := i, "downsample"
			if direction == "up" { // the original layout counts from full resolution
				level, sampler = levels-1-i, "upsample"
			}
			for block := range blocks {
				modules = append(modules, module{name("%s_blocks.%d.resnets.%d", direction, i, block), name("%s.%d.block.%d", direction, level, block), vaeResnet})
			}
			modules = append(modules, module{name("%s_blocks.%d.%srs.0.conv", direction, i, sampler), name("%s.%d.%s.conv", direction, level, sampler), nil})
		}
	}
	return modules
}

// textNames are those of a text encoder whose original names have a prefix.
func textNames(prefix string) func([]raw) func(string) (string, bool) {
	rename := func(name string) (string, bool) {
		if !strings.HasPrefix(name, "text_model.") && !strings.HasPrefix(name, "text_projection") {
			name = "text_model." + name // transformers 5 leaves the level out
		}
		return canonicalName(prefix + name)
	}
	return func([]raw) func(string) (string, bool) { return rename }
}
