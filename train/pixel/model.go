// Package pixel trains models that draw without text, and classifiers of noisy pictures:
// the networks pixel_unet and pixel_classifier of package csrc/nets, on pixels.
package pixel

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/sampler"
	family "github.com/sdgo/sdgo/sd/family/pixel"
	"github.com/sdgo/sdgo/train/network"
)

// Model is a model whose weights are in memory.
type Model struct {
	*network.Network
	source     *convert.Model
	config     *convert.Pixel
	process    *sampler.Process
	prediction sampler.Prediction
}

// Open makes a model's network, with all weights trained. The source must stay open; what
// cannot be trained is refused by name.
func Open(ctx context.Context, source *convert.Model, o network.Options) (*Model, error) {
	c, err := convert.ConfigAs[*convert.Pixel](source, "a model that draws without text, or a classifier")
	if err != nil {
		return nil, err
	}
	m := &Model{source: source, config: c}
	if m.process, m.prediction, err = family.Process(c.Process, source.AlphasCumprod); err != nil {
		return nil, err
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", source.Path, err)
	}
	values := func(w cgo.Weight) ([]float32, error) {
		t, ok := source.Tensor(c.Prefix + w.Name)
		if !ok {
			return nil, fmt.Errorf("tensor %q is missing: its shape would be %v", c.Prefix+w.Name, w.Shape)
		}
		bytes, err := convert.Recode(ctx, t, dtype.F32, cgo.Quantize)
		if err != nil {
			return nil, err
		}
		out := make([]float32, len(bytes)/4)
		return out, dtype.Float32(dtype.F32, out, bytes)
	}
	// Random frequencies stay as they are drawn (Tancik et al. 2020).
	trained := func(name string) bool { return name != "time_embed.frequencies" }
	m.Network, err = network.New(ctx, c.Net, c.Params(), o, values, trained)
	return m, err
}

// check refuses what would be trained otherwise than it is used.
func (m *Model) check() error {
	c := m.config
	switch {
	case c.Net != "pixel_unet" && c.Net != "pixel_classifier":
		return fmt.Errorf("only UNets and classifiers on pixels can be trained, not the network %s", c.Net)
	case c.Latent():
		return errors.New("models of latents cannot be trained yet, only those of pixels")
	case c.Channels != 3:
		return fmt.Errorf("pictures must have 3 channels, got %d", c.Channels)
	case c.LowChannels > 0:
		return errors.New("models that enlarge pictures cannot be trained")
	case c.LearnedVariance:
		return errors.New("models that learn the variance cannot be trained: what they predict beside the noise has a loss of its own")
	case c.ClassInput == convert.ClassValue:
		return errors.New("models that draw by a number cannot be trained")
	case c.Process.UnitRange || c.Process.Center:
		return errors.New("models of pixels from 0 to 1 cannot be trained")
	case c.Process.Kind == convert.ProcessConsistency:
		return errors.New("consistency models cannot be trained: they are distilled")
	case c.Size < 1:
		return errors.New("the file does not say how large its pictures are")
	}
	return nil
}

// Size is the side of the pictures, in pixels.
func (m *Model) Size() int { return m.config.Size }

// Classes is the number of classes that the model draws or tells apart; 0 without.
func (m *Model) Classes() int {
	if m.config.Classifier || m.config.NullClass < 0 {
		return m.config.Classes
	}
	return min(m.config.Classes, m.config.NullClass) // which is the table's last row
}

// Save writes the model with other weights, those of Names, as a file of a type: as
// safetensors if the path ends so, else as GGUF.
func (m *Model) Save(ctx context.Context, path string, weights [][]float32, typ dtype.Type) error {
	out := m.source.Copy()
	for i, name := range m.Names() {
		at := out.Index(m.config.Prefix + name)
		t := &out.Tensors[at]
		bytes := make([]byte, 4*len(weights[i]))
		if err := dtype.Encode(dtype.F32, bytes, weights[i]); err != nil {
			return err
		}
		*t = convert.Tensor{Name: t.Name, Type: dtype.F32, Shape: t.Shape, Bytes: bytes}
	}
	return convert.Convert(ctx, out, path, convert.Options{Type: typ, Safetensors: strings.EqualFold(filepath.Ext(path), ".safetensors"), Quantize: cgo.Quantize})
}

// Discrete reports whether the model's process is a chain of steps, as a DDPM's is.
func (m *Model) Discrete() bool { return m.config.Process.Kind == convert.ProcessDDPM }
