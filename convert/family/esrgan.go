package family

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/convert/layout"
	"github.com/sdgo/sdgo/convert/model"
)

// ESRGAN is an upscaler of ESRGAN's family (Wang et al. 2018).
const ESRGAN = "esrgan"

var esrgan = &Family{
	Name: ESRGAN,
	Looks: []Look{
		{"an ESRGAN upscaler", []string{"conv_first.weight", "body.0.rdb1.conv1.weight"}},
		{"an ESRGAN upscaler with its older names", []string{"model.0.weight", "model.1.sub.0.RDB1.conv1.0.weight"}},
		{"an ESRGAN upscaler with BSRGAN's names", []string{"conv_first.weight", "RRDB_trunk.0.RDB1.conv1.weight"}},
		{"a compact ESRGAN upscaler", []string{"body.0.weight", "body.1.weight", "body.2.weight"}},
	},
	Runs:  true,
	Names: esrganNames,
	Read: func(r *Reader) any {
		if r.Has("body.0.weight") {
			return readSRVGG(r)
		}
		return readESRGAN(r)
	},
	Properties: esrganProperties,
}

// ESRGANConfig describes RRDBNet, the generator of ESRGAN, under Real-ESRGAN's
// names.
type ESRGANConfig struct {
	Features int // channels: 64
	Growth   int // channels that each convolution of a dense block adds: 32
	Blocks   int // residual-in-residual dense blocks: 23

	// Doublings is how often the sides are doubled at the end: 2. Fold is the
	// side of the squares of pixels that are folded into channels before: 1, or
	// 2 and 4 in Real-ESRGAN's networks for a scale of 2 and 1.
	Doublings, Fold int
}

// Scale is how many times wider and higher pictures become.
func (c ESRGANConfig) Scale() int { return 1 << c.Doublings / c.Fold }

// Params are the hyperparameters of the network "esrgan".
func (c ESRGANConfig) Params() map[string][]float64 {
	return map[string][]float64{
		"in_channels": one(3 * c.Fold * c.Fold), "out_channels": one(3), "features": one(c.Features),
		"growth": one(c.Growth), "blocks": one(c.Blocks), "doublings": one(c.Doublings),
	}
}

// ESRGAN's names in the files of its authors, of BSRGAN and of others, and
// Real-ESRGAN's for the same. The older ones count the layers of a sequence,
// so the last ones depend on how many come before.
var (
	esrganDense  = regexp.MustCompile(`^model\.1\.sub\.(\d+)\.RDB([123])\.conv([1-5])\.0\.(weight|bias)$`)
	esrganBody   = regexp.MustCompile(`^model\.1\.sub\.(\d+)\.(weight|bias)$`)
	esrganLayer  = regexp.MustCompile(`^model\.(\d+)\.(weight|bias)$`)
	bsrganDense  = regexp.MustCompile(`^RRDB_trunk\.(\d+)\.RDB([123])\.conv([1-5])\.(weight|bias)$`)
	bsrganOthers = map[string]string{"trunk_conv": "conv_body", "upconv1": "conv_up1", "upconv2": "conv_up2", "HRconv": "conv_hr"}
)

// esrganNames returns a function that renames an upscaler's tensors.
func esrganNames(all []model.Stored) layout.Rename {
	var layers []int // of the sequence, after the body
	for _, t := range all {
		if m := esrganLayer.FindStringSubmatch(t.Name); m != nil && m[2] == "weight" && m[1] != "0" {
			n := 0
			fmt.Sscan(m[1], &n)
			layers = append(layers, n)
		}
	}
	slices.Sort(layers)
	tail := map[string]string{"0": "conv_first"}
	for i, n := range layers {
		switch len(layers) - i {
		case 1:
			tail[fmt.Sprint(n)] = "conv_last"
		case 2:
			tail[fmt.Sprint(n)] = "conv_hr"
		default:
			tail[fmt.Sprint(n)] = fmt.Sprintf("conv_up%d", i+1)
		}
	}
	return func(name string) (string, bool) {
		for _, r := range []*regexp.Regexp{esrganDense, bsrganDense} {
			if m := r.FindStringSubmatch(name); m != nil {
				return fmt.Sprintf("body.%s.rdb%s.conv%s.%s", m[1], m[2], m[3], m[4]), true
			}
		}
		if m := esrganBody.FindStringSubmatch(name); m != nil {
			return "conv_body." + m[2], true
		}
		if m := esrganLayer.FindStringSubmatch(name); m != nil && tail[m[1]] != "" {
			return tail[m[1]] + "." + m[2], true
		}
		layer, kind, _ := strings.Cut(name, ".")
		if to, ok := bsrganOthers[layer]; ok {
			return to + "." + kind, true
		}
		return layout.OwnName(name)
	}
}

// readESRGAN reads the configuration of an upscaler.
func readESRGAN(r *Reader) *ESRGANConfig {
	c := &ESRGANConfig{}
	if !r.Has("conv_first.weight") {
		r.Fail("%s: %w; an ESRGAN upscaler (RRDBNet) is expected", r.Model.Description, model.ErrUnrecognized)
		return c
	}
	onlyKnown(r, esrganKnown, "an ESRGAN upscaler (RRDBNet)", "body.", "conv_", "model.", "RRDB_trunk.")
	first := r.Shape("conv_first.weight", 4)
	c.Features, c.Growth = first[0], r.Shape("body.0.rdb1.conv1.weight", 4)[0]
	c.Blocks = r.Count("body.%d.rdb1.conv1.weight")
	for r.Has(fmt.Sprintf("conv_up%d.weight", c.Doublings+1)) && c.Doublings < 4 {
		c.Doublings++
	}
	switch first[1] {
	case 3:
		c.Fold = 1
	case 12:
		c.Fold = 2
	case 48:
		c.Fold = 4
	default:
		r.Fail("tensor %q must take 3 channels, or 12 or 48 of folded pixels, got %d", "conv_first.weight", first[1])
	}
	if out := r.Shape("conv_last.weight", 4)[0]; out != 3 {
		r.Fail("tensor %q must give 3 channels, got %d", "conv_last.weight", out)
	}
	if r.err == nil && 1<<c.Doublings < c.Fold {
		r.Fail("an upscaler that makes pictures smaller: %w", model.ErrUnrecognized)
	}
	return c
}

func esrganProperties(d *Describer) {
	copied := *d.Model
	r := &Reader{Model: &copied} // which reading the configuration changes
	if r.Has("body.0.weight") {
		if c := readSRVGG(r); r.err == nil {
			d.Property("scale", c.Scale())
			d.Property("layers", c.Layers)
			d.Property("features", c.Features)
			d.Say(fmt.Sprintf("%dx", c.Scale()))
		}
		return
	}
	if c := readESRGAN(r); r.err == nil {
		d.Property("scale", c.Scale())
		d.Property("blocks", c.Blocks)
		d.Property("features", c.Features)
		d.Say(fmt.Sprintf("%dx", c.Scale()))
	}
}
