// Package embedding trains textual inversions (Gal et al. 2022, arXiv:2208.01618): vectors
// that stand for a new word in the prompts of a model of Stable Diffusion 1.x or 2.x, whose
// own weights stay as they are.
package embedding

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sd/clip"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/family/ldm"
	"github.com/sdgo/sdgo/sd/pipeline"
)

// Model is the model for which a word is trained.
type Model struct {
	host     *engine.Host
	config   *convert.StableDiffusion
	text     *clip.Encoder
	pipeline *pipeline.Pipeline
}

// Device says where a model runs.
type Device struct {
	Threads  int    // of the CPU; 0: one for each physical core
	Backend  string // as `sdgo devices` lists it; "" the CPU
	Segments int    // parts of the UNet that are computed twice: less memory, more time; 0: none
}

// Open opens a model's file. Models with two text encoders, and those for inpainting and
// editing, are refused.
func Open(path string, d Device) (*Model, error) {
	o := engine.Options{Threads: d.Threads, Backend: d.Backend, GradientSegments: d.Segments}
	if o.Backend == "" {
		o.Backend = "cpu"
	}
	h, err := engine.Open(engine.NameOf(path), o, func() (*convert.Model, error) { return convert.Open(path) })
	if err != nil {
		return nil, err
	}
	m := &Model{host: h}
	l, err := ldm.Open(h, pipeline.Options{}, m.check)
	if err != nil {
		h.Abandon()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	m.config, m.text, m.pipeline = l.Config, l.Texts[0], l.Pipeline(nil, nil)
	return m, nil
}

func (m *Model) check(l *ldm.Model) error {
	switch {
	case len(l.Texts) != 1 || l.Config.UNet.ADMChannels > 0:
		return errors.New("words can be trained for models with one text encoder: Stable Diffusion 1.x and 2.x")
	case l.Config.Variant != "":
		return fmt.Errorf("words cannot be trained for models of the kind %s", l.Config.Variant)
	case l.Config.UNet.GuidanceDim > 0:
		return errors.New("words cannot be trained for models that were distilled for a guidance scale")
	case !l.Config.VAE.HasEncoder:
		return errors.New("the model's autoencoder has no encoder, which pictures need")
	}
	return nil
}

// Close frees the model.
func (m *Model) Close() error { return m.host.Close() }

// Hash is a hash of the text encoder's and the UNet's first layers: another model has
// another one.
func (m *Model) Hash() string {
	h := sha256.New()
	for _, name := range []string{m.text.Config.Prefix + "text_model.final_layer_norm.weight", convert.UNetPrefix + "input_blocks.0.0.weight", convert.UNetPrefix + "out.2.weight"} {
		if t, ok := m.host.Weights.Tensor(name); ok {
			h.Write(t.Bytes)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Size is the side of the pictures that the model was trained on, in pixels.
func (m *Model) Size() int { return m.host.Weights.NativeSize }

// Multiple is what the sides of pictures must be multiples of.
func (m *Model) Multiple() int { return 8 * m.pipeline.Autoencoder.Factor() }

// predicts pairs the process with what the network predicts, which a trial run may have to
// find out.
func (m *Model) predicts(ctx context.Context) (string, error) {
	p, err := m.pipeline.Denoiser.Prediction(ctx)
	return string(p), err
}
