package family

import (
	"fmt"
	"regexp"
	"strconv"

	"github.com/sdgo/sdgo/convert/layout"
	"github.com/sdgo/sdgo/convert/model"
)

// T2IAdapter is the network of Mou et al. (2023): features of a picture, which are added to
// the levels of a UNet.
const T2IAdapter = "t2i_adapter"

var t2iAdapter = &Family{
	Name: T2IAdapter,
	Looks: []Look{
		{"a T2I-Adapter", []string{"conv_in.weight", "body.0.block1.weight", "body.1.block2.weight"}},
		{"a light T2I-Adapter", []string{"body.0.in_conv.weight", "body.0.body.0.block1.weight", "body.0.out_conv.weight"}},
		{"a T2I-Adapter in the diffusers library's layout", []string{"adapter.conv_in.weight", "adapter.body.0.resnets.0.block1.weight"}},
		{"a light T2I-Adapter in the diffusers library's layout", []string{"adapter.body.0.out_conv.weight", "adapter.body.0.resnets.0.block1.weight"}},
	},
	Owns: func(name string) bool { return beginsWith(name, "adapter.", "body.", "conv_in.") },
	Names: func(all []model.Stored) layout.Rename {
		if !layout.Contains(all, "adapter.body.") {
			return nil
		}
		blocks, light := t2iBlocks(all), layout.Contains(all, ".out_conv.")
		return func(name string) (string, bool) { return t2iName(name, blocks, light) }
	},
	Says: func(all []model.Stored) map[string]string {
		if n := t2iBlocks(all); n > 0 {
			return map[string]string{keyT2IBlocks: strconv.Itoa(n)}
		}
		return nil
	},
	Runs:       true,
	Read:       func(r *Reader) any { return readT2IAdapter(r) },
	Properties: t2iProperties,
}

// keyT2IBlocks is the number of residual blocks of each level, which the original layout
// does not say.
const keyT2IBlocks = "sdgo.t2i_adapter.res_blocks"

// usualT2IBlocks is that of all published full networks.
const usualT2IBlocks = 2

var (
	t2iResnet = regexp.MustCompile(`^adapter\.body\.(\d{1,2})\.resnets\.(\d{1,2})\.(.*)$`)
	t2iLayer  = regexp.MustCompile(`^adapter\.body\.(\d{1,2})\.(in_conv|out_conv)\.(.*)$`)
)

// t2iBlocks is the number of residual blocks of each level in the diffusers library's
// layout; 0 in others.
func t2iBlocks(all []model.Stored) (n int) {
	for _, t := range all {
		if m := t2iResnet.FindStringSubmatch(t.Name); m != nil {
			block, _ := strconv.Atoi(m[2])
			n = max(n, block+1)
		}
	}
	return n
}

// t2iName is the original name of a tensor: there the blocks of all levels of a full
// network have numbers one after another.
func t2iName(name string, blocks int, light bool) (string, bool) {
	if m := t2iResnet.FindStringSubmatch(name); m != nil {
		level, _ := strconv.Atoi(m[1])
		block, _ := strconv.Atoi(m[2])
		if light {
			return fmt.Sprintf("body.%d.body.%d.%s", level, block, m[3]), true
		}
		return fmt.Sprintf("body.%d.%s", level*blocks+block, m[3]), true
	}
	if m := t2iLayer.FindStringSubmatch(name); m != nil {
		level, _ := strconv.Atoi(m[1])
		if !light {
			level *= blocks
		}
		return fmt.Sprintf("body.%d.%s.%s", level, m[2], m[3]), true
	}
	if name == "adapter.conv_in.weight" || name == "adapter.conv_in.bias" {
		return name[len("adapter."):], true
	}
	return name, false
}

func t2iProperties(d *Describer) {
	copied := *d.Model
	r := &Reader{Model: &copied} // whose tensors reading the configuration changes
	if c := readT2IAdapter(r); r.err == nil {
		d.Property("picture channels", c.PictureChannels)
		d.Property("features", len(c.Channels))
		if c.Channels[0] == 320 {
			d.Say("for " + map[int]string{8: "Stable Diffusion 1.x and 2.x", 16: "Stable Diffusion XL"}[c.Fold])
		}
	}
}
