package sd

import (
	"context"
	"fmt"
	"image"
	"math"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
)

// TAESD is a tiny autoencoder (Bohan 2023), which stands in for the large one
// of a model: many times faster, and nearly as good. Those for Stable Diffusion
// 1 and 2 and for XL are different files. Its methods may be called from any
// goroutine.
type TAESD struct {
	model            *Model // its devices, threads and file; no networks of its own
	config           convert.TAESDConfig
	decoder, encoder *part // nil where the file has none
}

// OpenTAESD opens a tiny autoencoder: the author's taesd_decoder or
// taesd_encoder, or the diffusers library's AutoencoderTiny, which is both.
func OpenTAESD(path string, o Options) (*TAESD, error) {
	m, err := openHost(nameOf(path), o, func() (*convert.Model, error) { return convert.Load(path) })
	if err != nil {
		return nil, err
	}
	t := &TAESD{model: m}
	if t.config, err = m.weights.TAESD(); err == nil {
		err = m.place(t.setUp, t.demands)
	}
	if err != nil {
		t.close()
		m.weights.Close()
		return nil, err
	}
	return t, nil
}

func (t *TAESD) setUp() (err error) {
	t.close()
	one := func(v int) []float64 { return []float64{float64(v)} }
	for _, half := range []struct {
		to     **part
		arch   string
		blocks []int
	}{{&t.decoder, "taesd_decoder", t.config.Decoder}, {&t.encoder, "taesd_encoder", t.config.Encoder}} {
		if half.blocks == nil {
			continue
		}
		*half.to, err = t.model.newPart(partVAE, half.arch, "", cgo.Params{"channels": one(t.config.Channels),
			"latent_channels": one(t.config.Latent), "image_channels": one(3), "blocks": floats(half.blocks)})
		if err != nil {
			return fmt.Errorf("%s: %w", t.model.weights.Path, err)
		}
	}
	return nil
}

// demands are what the networks take for a tile.
func (t *TAESD) demands() ([]demand, error) {
	side := tilings[len(tilings)-1].size
	var all []demand
	for _, half := range []struct {
		part     *part
		in, out  string
		channels int
		side     int
	}{
		{t.decoder, "z", "image", t.config.Latent, side},
		{t.encoder, "image", "z", 3, side * t.config.Factor()},
	} {
		if half.part == nil || half.part.device.Kind == cgo.CPU {
			continue
		}
		weights, err := half.part.bytes()
		if err != nil {
			return nil, err
		}
		graph, err := half.part.net.Estimate(context.Background(),
			[]cgo.Input{{Name: half.in, Shape: plane{nil, half.channels, half.side, half.side}.shape()}}, []cgo.Output{{Name: half.out}})
		if err != nil {
			return nil, err
		}
		all = append(all, demand{half.part, weights, graph})
	}
	return all, nil
}

func (t *TAESD) close() {
	t.decoder.close()
	t.encoder.close()
	t.decoder, t.encoder = nil, nil
}

// Name is the autoencoder's name: its file's, without folder and ending.
func (t *TAESD) Name() string {
	if t.model == nil { // a zero value, never opened
		return ""
	}
	return t.model.name
}

// Close frees the networks and unmaps the file, after the requests in progress
// that use it. To close again does nothing.
func (t *TAESD) Close() error {
	if t == nil || t.model == nil {
		return nil
	}
	return t.model.calls.close(func() error {
		t.close()
		return t.model.weights.Close()
	})
}

// suits says why the autoencoder can't stand in for a model's; nil if it can.
func (t *TAESD) suits(m *Model) error {
	switch channels := m.weights.UNet.OutChannels; {
	case t.config.Latent != channels:
		return fmt.Errorf("%s is for latents of %d channels; one for %d is wanted", t.Name(), t.config.Latent, channels)
	case t.config.Factor() != m.factor():
		return fmt.Errorf("%s has %d pixels along a latent one; one with %d is wanted", t.Name(), t.config.Factor(), m.factor())
	case t.decoder == nil:
		return fmt.Errorf("%s is an encoder alone; a decoder is wanted", t.Name())
	}
	return nil
}

// decode turns a latent in the UNet's scale into a picture, in tiles where
// memory wants it.
func (t *TAESD) decode(ctx context.Context, latent plane, done func(index, of int) error) (*image.NRGBA, error) {
	z := newPlane(latent.channels, latent.height, latent.width)
	for i, v := range latent.data {
		z.data[i] = float32(3 * math.Tanh(float64(v)/3))
	}
	pixels, err := t.model.decodePlane(ctx, t.decoder, "the tiny autoencoder", z, t.config.Factor(), done)
	if err != nil {
		return nil, err
	}
	for i, v := range pixels.data {
		pixels.data[i] = 2*v - 1
	}
	return toImage(pixels), nil
}

// encode turns pixels [3, H, W] in [-1, 1] into a latent in the UNet's scale.
func (t *TAESD) encode(ctx context.Context, pixels plane) (plane, error) {
	image := newPlane(pixels.channels, pixels.height, pixels.width)
	for i, v := range pixels.data {
		image.data[i] = v/2 + 0.5
	}
	return t.model.encodePlane(ctx, t.encoder, "the tiny autoencoder", "z", image, t.config.Latent, t.config.Factor())
}

// suitTAESD checks that a request's tiny autoencoder fits a model.
func (q resolved) suitTAESD(m *Model) error {
	switch {
	case q.TAESD == nil && q.TAESDPreviewOnly:
		return &RequestError{[]Problem{{"TAESDPreviewOnly", "without a TAESD"}}}
	case q.TAESD == nil:
		return nil
	}
	if err := q.TAESD.suits(m); err != nil {
		return &RequestError{[]Problem{{"TAESD", err.Error()}}}
	}
	return nil
}

// develop decodes a latent in the UNet's scale with the autoencoder that the
// request wants.
func (m *Model) develop(ctx context.Context, q resolved, latent plane, done func(index, of int) error) (*image.NRGBA, error) {
	if q.TAESD != nil && !q.TAESDPreviewOnly {
		return q.TAESD.decode(ctx, latent, done)
	}
	return m.decode(ctx, latent, done)
}
