package convert

import (
	"fmt"
	"regexp"
	"strconv"
)

// TAESDConfig describes TAESD, a tiny autoencoder, under the names of the
// diffusers library's AutoencoderTiny.
type TAESDConfig struct {
	Channels int // of every layer: 64
	Latent   int // channels of the latent: 4

	// Decoder and Encoder are the numbers of blocks of each level, from the
	// input to the output: 3 3 3 1 and 1 3 3 3. nil where the file has none.
	Decoder, Encoder []int
}

// Factor is the number of pixels along a latent pixel's side.
func (c TAESDConfig) Factor() int { return 1 << (max(len(c.Decoder), len(c.Encoder)) - 1) }

// taesdLayer is a layer's name in the files of TAESD's author, which hold one
// half each: its place in a sequence.
var taesdLayer = regexp.MustCompile(`^(\d+)(\..*)$`)

// renameTAESD gives the tensors of a half the names that they have in the
// whole. The author's decoder begins with a layer that holds latents to their
// range, and so with a convolution in place 1; the encoder's is in place 0.
func (m *Model) renameTAESD() error {
	_, encoder := m.index["0.weight"]
	for i := range m.Tensors {
		t := &m.Tensors[i]
		part := taesdLayer.FindStringSubmatch(t.Name)
		if part == nil {
			continue
		}
		delete(m.index, t.Name)
		if encoder {
			t.Name = "encoder.layers." + t.Name
		} else {
			place, err := strconv.Atoi(part[1])
			if err != nil || place == 0 {
				return fmt.Errorf("%s: tensor %q has no place in a TAESD decoder", m.Path, t.Name)
			}
			t.Name = fmt.Sprintf("decoder.layers.%d%s", place-1, part[2])
		}
		m.index[t.Name] = i
	}
	return nil
}

// TAESD reads the configuration of a tiny autoencoder off its tensors, which it
// gives the names of the whole in the diffusers library's layout.
func (m *Model) TAESD() (c TAESDConfig, err error) {
	if m.Arch != TAESD {
		return c, fmt.Errorf("%s: %s: %w; a TAESD autoencoder is wanted", m.Path, m.What, ErrUnrecognized)
	}
	if err := m.renameTAESD(); err != nil {
		return c, err
	}
	d := &detector{m: m}
	if d.has("decoder.layers.0.weight") {
		first := d.shape("decoder.layers.0.weight", 4)
		c.Channels, c.Latent = first[0], first[1]
		c.Decoder = d.tinyLevels("decoder", 2) // behind the first convolution and its activation
	}
	if d.has("encoder.layers.0.weight") {
		c.Encoder = d.tinyLevels("encoder", 1)
		channels := d.shape("encoder.layers.0.weight", 4)[0]
		latent := d.shape(fmt.Sprintf("encoder.layers.%d.weight", d.tinyLast("encoder")), 4)[0]
		if c.Decoder != nil && d.err == nil && (channels != c.Channels || latent != c.Latent || len(c.Encoder) != len(c.Decoder)) {
			d.fail("an encoder and a decoder that do not belong together: %d and %d channels, latents of %d and %d, %d and %d levels",
				channels, c.Channels, latent, c.Latent, len(c.Encoder), len(c.Decoder))
		}
		c.Channels, c.Latent = channels, latent
	}
	if d.err == nil && c.Decoder == nil && c.Encoder == nil {
		d.fail("tensor %q is missing: %w", "decoder.layers.0.weight", ErrUnrecognized)
	}
	if d.err != nil {
		return c, fmt.Errorf("%s: %w", m.Path, d.err)
	}
	return c, nil
}

// maxTinyLayers bounds a half of a tiny autoencoder; TAESD has 19.
const maxTinyLayers = 256

// tinyLast is the place of a half's last layer.
func (d *detector) tinyLast(half string) int {
	last := 0
	for n := range maxTinyLayers {
		if d.has(fmt.Sprintf("%s.layers.%d.weight", half, n)) {
			last = n
		}
	}
	return last
}

// tinyLevels counts the blocks between a half's convolutions, beginning at a
// layer.
func (d *detector) tinyLevels(half string, layer int) (levels []int) {
	n, last := 0, d.tinyLast(half)
	for ; layer <= last; layer++ {
		name := fmt.Sprintf("%s.layers.%d", half, layer)
		switch {
		case d.has(name + ".conv.0.weight"):
			n++
		case d.has(name + ".weight"):
			levels = append(levels, n)
			n = 0
		}
	}
	if d.err == nil && (len(levels) == 0 || len(levels) > maxLevels) {
		d.fail("a tiny autoencoder's %s with %d levels, 1 to %d are wanted", half, len(levels), maxLevels)
	}
	return levels
}
