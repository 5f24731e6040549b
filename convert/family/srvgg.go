package family

import (
	"fmt"
	"regexp"

	"github.com/sdgo/sdgo/convert/model"
)

// SRVGGConfig describes SRVGGNetCompact, the compact upscaler of Real-ESRGAN (Wang et al.
// 2021): convolutions with PReLU at the small size, whose last channels become pixels.
type SRVGGConfig struct {
	Features int // channels: 64
	Layers   int // convolutions between the first and the last: 16 or 32
	Factor   int // how many times wider and higher pictures become: 4
}

// Scale is how many times wider and higher pictures become.
func (c SRVGGConfig) Scale() int { return c.Factor }

// Params are the hyperparameters of the network "srvgg".
func (c SRVGGConfig) Params() map[string][]float64 {
	return map[string][]float64{"channels": one(3), "features": one(c.Features), "layers": one(c.Layers), "scale": one(c.Factor)}
}

var (
	esrganKnown = regexp.MustCompile(`^(conv_(first|body|up\d+|hr|last)|body\.\d+\.rdb[123]\.conv[1-5])\.(weight|bias)$`)
	srvggKnown  = regexp.MustCompile(`^body\.\d+\.(weight|bias)$`)
)

// onlyKnown takes the tensors of a network whose names a pattern has. Others that begin like the
// network's are an error: they would change what it computes. The rest is ignored.
func onlyKnown(r *Reader, pattern *regexp.Regexp, network string, prefixes ...string) {
	for _, t := range r.Model.Tensors {
		switch {
		case pattern.MatchString(t.Name):
		case beginsWith(t.Name, prefixes...):
			r.Fail("%s: tensor %.80q: %s has no such layer: %w", r.Model.Description, t.Name, network, model.ErrUnrecognized)
		default:
			r.Model.Ignore(t.Name)
		}
	}
}

// readSRVGG reads the configuration of a compact upscaler.
func readSRVGG(r *Reader) *SRVGGConfig {
	c := &SRVGGConfig{}
	onlyKnown(r, srvggKnown, "a compact ESRGAN upscaler", "body.")
	first := r.Shape("body.0.weight", 4)
	c.Features = first[0]
	last := 0
	for r.Has(fmt.Sprintf("body.%d.weight", last+2)) && last < maxSRVGG {
		last += 2
	}
	c.Layers = last/2 - 1
	name := fmt.Sprintf("body.%d.weight", last)
	out := r.Shape(name, 4)[0]
	for c.Factor*c.Factor*3 < out {
		c.Factor++
	}
	switch {
	case r.err != nil:
	case first[1] != 3 || first[2] != 3 || first[3] != 3:
		r.Fail("tensor %q must be a 3x3 convolution of 3 channels, got the shape %v", "body.0.weight", first)
	case c.Layers < 0 || last >= maxSRVGG:
		r.Fail("a compact upscaler must have 2 to %d convolutions, got %d: %w", maxSRVGG/2, c.Layers+2, model.ErrUnrecognized)
	case !r.Has("body.1.weight"):
		r.Fail("tensor %q is missing: only compact upscalers with PReLU are supported: %w", "body.1.weight", model.ErrUnrecognized)
	case c.Factor > maxScale || c.Factor*c.Factor*3 != out:
		r.Fail("tensor %q must give 3 channels for each of 1 to %d pixels, a square, got %d", name, maxScale*maxScale, out)
	}
	return c
}

// Bounds of a compact upscaler: layers, with activations, and its scale.
const (
	maxSRVGG = 512
	maxScale = 8
)
