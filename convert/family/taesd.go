package family

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/sdgo/sdgo/convert/layout"
	"github.com/sdgo/sdgo/convert/model"
)

// TAESD is a tiny autoencoder (Bohan 2023), the whole or one of its halves.
const TAESD = "taesd"

var taesd = &Family{
	Name: TAESD,
	Looks: []Look{
		{"a TAEF2 autoencoder", []string{"*decoder.layers.*.conv.0.weight", "*decoder.layers.*.pool.0.weight"}},
		{"half of a TAEF2 autoencoder", []string{"3.conv.0.weight", "*.pool.0.weight"}},
		{"a TAESD autoencoder", []string{"*decoder.layers.*.conv.0.weight"}},
		{"a TAESD autoencoder", []string{"*encoder.layers.*.conv.0.weight", "*encoder.layers.0.weight"}},
		{"half of a TAESD autoencoder", []string{"3.conv.0.weight", "3.conv.2.weight"}},
		{"a TAESD autoencoder with stable-diffusion.cpp's names", []string{"*decoder.1.weight", "*decoder.3.conv.0.weight"}},
		{"a TAESD autoencoder with stable-diffusion.cpp's names", []string{"*encoder.0.weight", "*encoder.3.conv.0.weight"}},
	},
	Runs:       true,
	Names:      taesdNames,
	Read:       func(r *Reader) any { return readTAESD(r) },
	Complete:   nameTAESD,
	Properties: taesdProperties,
}

// TAESDConfig describes TAESD under the names of the diffusers library's
// AutoencoderTiny.
type TAESDConfig struct {
	Channels int // of every layer: 64
	Latent   int // channels of the latent: 4

	// Decoder and Encoder are the numbers of blocks of each level, from the
	// input to the output: 3 3 3 1 and 1 3 3 3. nil where the file has none.
	Decoder, Encoder []int

	// Pool is whether blocks of the latent's own level mix its channels, normalised over the whole
	// latent: TAEF2, for FLUX.2.
	Pool bool `json:",omitzero"`
}

// Factor is the downsampling factor: pixels along a latent pixel's side.
func (c TAESDConfig) Factor() int { return 1 << (max(len(c.Decoder), len(c.Encoder)) - 1) }

// DecoderParams are the hyperparameters of the network "taesd_decoder".
func (c TAESDConfig) DecoderParams() map[string][]float64 { return c.params(c.Decoder) }

// EncoderParams are the hyperparameters of the network "taesd_encoder".
func (c TAESDConfig) EncoderParams() map[string][]float64 { return c.params(c.Encoder) }

func (c TAESDConfig) params(blocks []int) map[string][]float64 {
	all := map[string][]float64{"channels": one(c.Channels), "latent_channels": one(c.Latent), "image_channels": one(3), "blocks": each(blocks)}
	if c.Pool {
		all["pool"] = one(1)
	}
	return all
}

// taesdHalf is a layer's name in a file of both halves: after a prefix that differs
// from program to program, the author's or the diffusers library's.
var taesdHalf = regexp.MustCompile(`^(?:.*[._])?(decoder|encoder)\.(layers\.)?(\d+)(\..*)$`)

// taesdNames gives the layers of files of both halves the names that the networks ask
// for.
func taesdNames([]model.Stored) layout.Rename {
	return func(name string) (string, bool) {
		part := taesdHalf.FindStringSubmatch(name)
		if part == nil {
			return layout.OwnName(name)
		}
		place := part[3]
		if n, err := strconv.Atoi(place); part[1] == "decoder" && part[2] == "" {
			if err != nil || n == 0 {
				return layout.OwnName(name)
			}
			place = strconv.Itoa(n - 1) // the author's first layer, without weights, holds latents to their range
		}
		return part[1] + ".layers." + place + part[4], true
	}
}

// taesdKnown are the tensors of the networks.
var taesdKnown = regexp.MustCompile(`^(decoder|encoder)\.layers\.\d+\.(conv\.[024]\.|pool\.[013]\.)?(weight|bias)$`)

// taesdLayer is a layer's name in the files of TAESD's author, which hold one
// half each: its place in a sequence.
var taesdLayer = regexp.MustCompile(`^(\d+)(\..*)$`)

// nameTAESD gives the tensors of a half the names that they have in the whole.
// The author's decoder begins with a layer that holds latents to their range, and
// so with a convolution in place 1; the encoder's is in place 0.
func nameTAESD(m *model.Model) error {
	encoder := m.Index("0.weight") >= 0
	for i, t := range m.Tensors {
		part := taesdLayer.FindStringSubmatch(t.Name)
		if part == nil {
			continue
		}
		if encoder {
			m.Rename(i, "encoder.layers."+t.Name)
			continue
		}
		place, err := strconv.Atoi(part[1])
		if err != nil || place == 0 {
			return fmt.Errorf("tensor %q has no place in a TAESD decoder", t.Name)
		}
		m.Rename(i, fmt.Sprintf("decoder.layers.%d%s", place-1, part[2]))
	}
	return nil
}

// readTAESD reads the configuration of a tiny autoencoder whose tensors have the
// names of the whole.
func readTAESD(r *Reader) *TAESDConfig {
	c := &TAESDConfig{}
	onlyKnown(r, taesdKnown, "a TAESD autoencoder", "decoder.", "encoder.")
	if r.Has("decoder.layers.0.weight") {
		first := r.Shape("decoder.layers.0.weight", 4)
		c.Channels, c.Latent = first[0], first[1]
		c.Decoder = tinyLevels(r, "decoder", 2) // after the first convolution and its activation
	}
	if r.Has("encoder.layers.0.weight") {
		c.Encoder = tinyLevels(r, "encoder", 1)
		channels := r.Shape("encoder.layers.0.weight", 4)[0]
		latent := r.Shape(fmt.Sprintf("encoder.layers.%d.weight", tinyLast(r, "encoder")), 4)[0]
		if c.Decoder != nil && r.err == nil && (channels != c.Channels || latent != c.Latent || len(c.Encoder) != len(c.Decoder)) {
			r.Fail("an encoder and a decoder that do not fit together: %d and %d channels, latents of %d and %d, %d and %d levels",
				channels, c.Channels, latent, c.Latent, len(c.Encoder), len(c.Decoder))
		}
		c.Channels, c.Latent = channels, latent
	}
	c.Pool = c.readPool(r)
	if r.err == nil && c.Decoder == nil && c.Encoder == nil {
		r.Fail("tensor %q is missing: %w", "decoder.layers.0.weight", model.ErrUnrecognized)
	}
	return c
}

// readPool finds whether blocks of the latent's own level mix channels, of which all or none must.
func (c *TAESDConfig) readPool(r *Reader) bool {
	pools, blocks := 0, 0
	if c.Decoder != nil {
		blocks += c.Decoder[0]
	}
	if c.Encoder != nil {
		blocks += c.Encoder[len(c.Encoder)-1]
	}
	for _, t := range r.Model.Tensors {
		if strings.HasSuffix(t.Name, ".pool.0.weight") {
			pools++
		}
	}
	if r.err == nil && pools > 0 && pools != blocks {
		r.Fail("a TAEF2 autoencoder must have as many pools as blocks of the latent's size, %d, got %d", blocks, pools)
	}
	return pools > 0
}

// maxTinyLayers bounds a half of a tiny autoencoder; TAESD has 19.
const maxTinyLayers = 256

// tinyLast is the place of a half's last layer.
func tinyLast(r *Reader, half string) int {
	last := 0
	for n := range maxTinyLayers {
		if r.Has(fmt.Sprintf("%s.layers.%d.weight", half, n)) {
			last = n
		}
	}
	return last
}

// tinyLevels counts the blocks between a half's convolutions, beginning at a
// layer.
func tinyLevels(r *Reader, half string, layer int) (levels []int) {
	n, last := 0, tinyLast(r, half)
	for ; layer <= last; layer++ {
		name := fmt.Sprintf("%s.layers.%d", half, layer)
		switch {
		case r.Has(name + ".conv.0.weight"):
			n++
		case r.Has(name + ".weight"):
			levels = append(levels, n)
			n = 0
		}
	}
	if r.err == nil && (len(levels) == 0 || len(levels) > maxLevels) {
		r.Fail("the %s of a tiny autoencoder must have 1 to %d levels, got %d", half, maxLevels, len(levels))
	}
	return levels
}

// taesdProperties are those of the whole in the diffusers library's layout, or of
// one of the author's halves: the decoder's first layer has no weights, the
// encoder's takes a picture.
func taesdProperties(d *Describer) {
	if whole := d.Dim("decoder.layers.0.weight", 1); whole > 0 {
		describeLatent(d, whole)
		return
	}
	first, _ := d.Model.Tensor("0.weight")
	second, _ := d.Model.Tensor("1.weight")
	switch {
	case dimension(first, 1) == 3:
		d.Say("encoder")
		describeLatent(d, d.Dim("14.weight", 0))
	case dimension(second, 1) > 0:
		d.Say("decoder")
		describeLatent(d, dimension(second, 1))
	}
}
