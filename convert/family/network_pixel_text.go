package family

import "fmt"

// text reads what a UNet has for a text, off the shapes.
func (r pixelReader) text() {
	c := r.c
	if !r.has("encoder_pooling.0.weight") {
		return
	}
	t := &PixelTextConfig{GELU: true, Projection: r.has("encoder_proj.weight"), NoiseLevel: r.has("aug_proj.0.weight"), Only: make([]bool, len(c.Channels))}
	t.Width = r.shape(1, "encoder_pooling.0.weight")[0]
	t.Channels = t.Width
	if t.Projection {
		t.Channels = r.shape(2, "encoder_proj.weight")[0]
	}
	only := func(name string, channels int) bool {
		return r.rows(name+".1.qkv.bias") == channels
	}
	for level, channels := range c.Channels {
		if c.Attention[level] {
			t.Only[level] = only(fmt.Sprintf("input_blocks.%d", c.firstInput(level)), channels)
		}
	}
	if c.MiddleAttention {
		t.MiddleOnly = only("middle_block", c.Channels[len(c.Channels)-1])
	}
	t.PoolHeads = max(1, t.Width/deepFloydHead)
	c.Text = t
}

// deepFloydHead is the width of a head of the published models, everywhere.
const deepFloydHead = 64

// rows is the length of a vector.
func (r pixelReader) rows(name string) int { return r.shape(1, "%s", name)[0] }
