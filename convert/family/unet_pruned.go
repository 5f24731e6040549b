package family

import (
	"fmt"
	"slices"
)

// pruned are published UNets that are smaller than those of Stable Diffusion 1 and XL.
var pruned = []struct {
	name string
	UNetConfig
}{
	// Kim et al. 2023 (arXiv:2305.15798). Segmind's networks have the same structure.
	{"BK-SDM-Base", UNetConfig{ChannelMult: []int{1, 2, 4, 4}, NumResBlocks: 1, TransformerDepth: []int{1, 1, 1, 0}, MiddleDepth: 1}},
	{"BK-SDM-Small or small-sd", UNetConfig{ChannelMult: []int{1, 2, 4, 4}, NumResBlocks: 1, TransformerDepth: []int{1, 1, 1, 0}, MiddleDepth: noMiddle}},
	{"BK-SDM-Tiny or tiny-sd", UNetConfig{ChannelMult: []int{1, 2, 4}, NumResBlocks: 1, TransformerDepth: []int{1, 1, 1}, MiddleDepth: noMiddle}},
	// Gupta et al. 2024 (arXiv:2401.02677), and Segmind's configuration of Vega.
	{"SSD-1B", UNetConfig{ChannelMult: []int{1, 2, 4}, NumResBlocks: 2, TransformerDepth: []int{0, 2, 10}, MiddleDepth: halfMiddle,
		InputDepth: []int{0, 0, 2, 2, 4, 4}, OutputDepth: []int{4, 4, 10, 2, 1, 1, 0, 0, 0}}},
	{"Segmind Vega", UNetConfig{ChannelMult: []int{1, 2, 4}, NumResBlocks: 2, TransformerDepth: []int{0, 1, 2}, MiddleDepth: halfMiddle}},
	// Lee et al. 2023 (arXiv:2312.04005).
	{"KOALA-700M", UNetConfig{ChannelMult: []int{1, 2, 4}, NumResBlocks: 1, TransformerDepth: []int{0, 2, 5}, MiddleDepth: noMiddle}},
	{"KOALA-1B", UNetConfig{ChannelMult: []int{1, 2, 4}, NumResBlocks: 1, TransformerDepth: []int{0, 2, 6}, MiddleDepth: 6}},
}

// prunedName is the name of the published network of this structure that is smaller than
// its family's; "" where there is none.
func (c UNetConfig) prunedName() string {
	for _, p := range pruned {
		if c.ModelChannels == 320 && slices.Equal(c.ChannelMult, p.ChannelMult) && c.MiddleDepth == p.MiddleDepth &&
			slices.Equal(c.inputDepths(), p.inputDepths()) && slices.Equal(c.outputDepths(), p.outputDepths()) {
			return p.name
		}
	}
	return ""
}

// summary is the configuration in one line.
func (c UNetConfig) summary() string {
	text := fmt.Sprintf("%d channels x %v, %d blocks a level, attention %v", c.ModelChannels, c.ChannelMult, c.NumResBlocks, c.TransformerDepth)
	if c.InputDepth != nil || c.OutputDepth != nil {
		text = fmt.Sprintf("%d channels x %v, %d blocks a level, attention %v down and %v up", c.ModelChannels, c.ChannelMult, c.NumResBlocks,
			c.inputDepths(), c.outputDepths())
	}
	switch c.MiddleDepth {
	case noMiddle:
		text += ", no middle"
	case halfMiddle:
		text += ", half a middle"
	case 0:
		text += ", no attention in the middle"
	}
	text += fmt.Sprintf(", context %d", c.ContextDim)
	if c.GuidanceDim > 0 {
		text += fmt.Sprintf(", guidance %d", c.GuidanceDim)
	}
	return text
}
