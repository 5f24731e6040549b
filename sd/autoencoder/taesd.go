package autoencoder

import (
	"context"
	"fmt"
	"math"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/tensor"
)

// TAESD is a tiny autoencoder (Bohan 2023) in place of a model's own: many times
// faster, a little less sharp. Stable Diffusion XL needs another file than 1 and 2. Its
// methods may be called from any goroutine. It must stay open as long as a model uses
// it.
type TAESD struct {
	host             *engine.Host
	config           convert.TAESDConfig
	decoder, encoder coder // the net is nil if the file has none
}

// packing is how many latent pixels along a side are one of FLUX.2's.
const packing = 2

// OpenTAESD opens a tiny autoencoder: the author's taesd_decoder or taesd_encoder, or
// diffusers' AutoencoderTiny, which has both.
func OpenTAESD(path string, o engine.Options) (*TAESD, error) {
	h, err := engine.Open(engine.NameOf(path), o, func() (*convert.Model, error) { return convert.Open(path) })
	if err != nil {
		return nil, err
	}
	t := &TAESD{host: h}
	config, err := convert.ConfigAs[*convert.TAESDConfig](h.Weights, "a TAESD autoencoder")
	if err == nil {
		t.config = *config
		err = h.Place(t.setUp, t.demands)
	}
	if err != nil {
		h.Abandon()
		return nil, err
	}
	return t, nil
}

func (t *TAESD) setUp() error {
	t.decoder, t.encoder = coder{}, coder{}
	for _, half := range []struct {
		to       *coder
		arch     string
		in, out  string
		channels int
		there    bool
		params   cgo.Params
	}{
		{&t.decoder, "taesd_decoder", "z", "image", 3, t.config.Decoder != nil, t.config.DecoderParams()},
		{&t.encoder, "taesd_encoder", "image", "z", t.config.Latent, t.config.Encoder != nil, t.config.EncoderParams()},
	} {
		if !half.there {
			continue
		}
		net, err := t.host.NewNetwork(engine.Spec{Role: engine.RoleVAE, Title: "the tiny autoencoder", Arch: half.arch, Params: half.params})
		if err != nil {
			return fmt.Errorf("%s: %w", t.host.Weights.Path, err)
		}
		*half.to = coder{t.host, net, half.in, half.out, half.channels, t.config.Factor()}
	}
	return nil
}

// demands are the networks' memory for a tile.
func (t *TAESD) demands() (all []engine.Demand, err error) {
	side := SmallestTile()
	d, ok, err := t.decoder.demand(side, t.config.Latent)
	if err != nil {
		return nil, err
	}
	if ok {
		all = append(all, d)
	}
	if d, ok, err = t.encoder.demand(side*t.config.Factor(), 3); ok {
		all = append(all, d)
	}
	return all, err
}

// Host is the networks' host; nil for a zero value, which was never opened.
func (t *TAESD) Host() *engine.Host {
	if t == nil {
		return nil
	}
	return t.host
}

// Name is the autoencoder's name: its file's name without folder and extension.
func (t *TAESD) Name() string {
	if t.Host() == nil {
		return ""
	}
	return t.host.Name
}

// Close waits for the requests that use the autoencoder, frees the networks and unmaps
// the file. Closing again does nothing.
func (t *TAESD) Close() error {
	if t.Host() == nil {
		return nil
	}
	return t.host.Close()
}

// Fits returns an error if the autoencoder can't replace one with this number of latent
// channels and this downsampling factor.
func (t *TAESD) Fits(channels, factor int) error {
	latent, own := t.config.Latent, t.config.Factor()
	if t.config.Pool && channels == packing*packing*latent {
		latent, own = packing*packing*latent, packing*own // of FLUX.2, whose latents are packed
	}
	switch {
	case latent != channels:
		return fmt.Errorf("%s must have %d latent channels as the model, got %d", t.Name(), channels, latent)
	case own != factor:
		return fmt.Errorf("%s must have the model's downsampling factor %d, got %d", t.Name(), factor, own)
	case t.decoder.net == nil:
		return fmt.Errorf("%s must have a decoder, got an encoder alone", t.Name())
	}
	return nil
}

// Factor is the downsampling factor.
func (t *TAESD) Factor() int { return t.config.Factor() }

// CanEncode reports whether the file has an encoder.
func (t *TAESD) CanEncode() bool { return t.encoder.net != nil }

// Decode decodes a latent in the denoiser's scale, of FLUX.2 a packed one.
func (t *TAESD) Decode(ctx context.Context, latent tensor.Tensor, done tensor.Progress) (tensor.Tensor, error) {
	z := latent.Like()
	for i, v := range latent.Data {
		z.Data[i] = float32(3 * math.Tanh(float64(v)/3))
	}
	if z.Channels() == packing*packing*t.config.Latent {
		z = unpacked(z)
	}
	pixels, err := t.decoder.decode(ctx, z, done)
	if err != nil {
		return tensor.Tensor{}, err
	}
	for i, v := range pixels.Data {
		pixels.Data[i] = 2*v - 1
	}
	return pixels, nil
}

// Encode encodes a picture, to one latent. It needs an encoder.
func (t *TAESD) Encode(ctx context.Context, pixels tensor.Tensor) (Encoding, error) {
	image := pixels.Like()
	for i, v := range pixels.Data {
		image.Data[i] = v/2 + 0.5
	}
	latent, err := t.encoder.encode(ctx, image)
	if err == nil && t.config.Pool {
		latent = packed(latent)
	}
	return Exactly(latent), err
}
