package family

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/convert/model"
)

// Flow says how a model of flow matching shifts its noise levels (the diffusers library's
// FlowMatchEulerDiscreteScheduler): by one factor, or by one that rises with the picture.
type Flow struct {
	Shift   float64       // 3 in Z-Image and Stable Diffusion 3, 1 in FLUX.1 schnell
	Dynamic *DynamicShift `json:",omitempty"` // in place of Shift

	// Terminal is the last noise level before 0, to which those of even times are stretched; 0 for none.
	Terminal float64 `json:",omitzero"`
}

// DynamicShift is a shift whose logarithm is linear in the picture's tokens.
type DynamicShift struct {
	BaseShift, MaxShift   float64 // logarithms: 0.5 and 1.15 in FLUX.1
	BaseTokens, MaxTokens float64 // at so many tokens: 256 and 4096
}

// Keys of metadata about a model of flow matching.
const (
	keyFlowShift   = "sdgo.flow.shift"
	keyFlowDynamic = "sdgo.flow.dynamic_shift" // base and max shift, base and max tokens

	keyFlowTerminal = "sdgo.flow.shift_terminal"
)

// flowOf reads how the model shifts its noise levels; what its file does not say is the
// family's.
func flowOf(r *Reader, usual Flow) Flow {
	f := usual
	if text, ok := r.Model.Metadata[keyFlowDynamic]; ok {
		list, err := floatList(text)
		if err != nil || len(list) != 4 {
			r.Fail("%s must be two shifts and two numbers of tokens, got %.40q", keyFlowDynamic, text)
			return f
		}
		f.Dynamic = &DynamicShift{list[0], list[1], list[2], list[3]}
	}
	r.Number(keyFlowShift, 1e-3, 1e3, func(v float64) {
		if f.Shift = v; r.Model.Metadata[keyFlowDynamic] == "" {
			f.Dynamic = nil
		}
	})
	r.Number(keyFlowTerminal, 0, 0.999, func(v float64) { f.Terminal = v })
	if d := f.Dynamic; d != nil && (!(d.BaseTokens >= 1 && d.MaxTokens > d.BaseTokens && d.MaxTokens <= 1e6) || !(d.BaseShift >= -10 && d.MaxShift <= 10)) {
		r.Fail("%s must be shifts from -10 to 10 and numbers of tokens that rise, got %g, %g, %g and %g", keyFlowDynamic, d.BaseShift, d.MaxShift, d.BaseTokens, d.MaxTokens)
	}
	return f
}

// summary is the shift in words.
func (f Flow) summary() string {
	text := fmt.Sprintf("flow matching, shift %g", f.Shift)
	if d := f.Dynamic; d != nil {
		text = fmt.Sprintf("flow matching, shift exp(%g) at %g tokens to exp(%g) at %g", d.BaseShift, d.BaseTokens, d.MaxShift, d.MaxTokens)
	}
	if f.Terminal > 0 {
		text += fmt.Sprintf(", down to %g", f.Terminal)
	}
	return text
}

// addFlow adds it to the metadata of a file that is written.
func addFlow(f Flow, add func(key string, value any)) {
	add(keyFlowShift, f.Shift)
	if d := f.Dynamic; d != nil {
		add(keyFlowDynamic, floatsText([]float64{d.BaseShift, d.MaxShift, d.BaseTokens, d.MaxTokens}))
	}
	if f.Terminal > 0 {
		add(keyFlowTerminal, f.Terminal)
	}
}

// flowNative is the side of the pictures that published transformers draw, unless their files say another.
const flowNative = 1024

// readNative reads the side, and the scale of guidance, that a file says.
func readNative(r *Reader) {
	r.Model.NativeSize = flowNative
	r.Number(keyNativeSize, 16, largestSide, func(v float64) { r.Model.NativeSize = int(v) / 16 * 16 })
	r.Number(keyGuidance, math.SmallestNonzeroFloat32, 1000, func(v float64) { r.Model.Guidance = v })
}

// addNative adds both to the metadata of a file that is written, where no shape and no family tells them.
func addNative(m *model.Model, add func(key string, value any)) {
	if m.NativeSize != flowNative {
		add(keyNativeSize, uint32(m.NativeSize))
	}
	if m.Guidance > 0 {
		add(keyGuidance, float32(m.Guidance))
	}
}

// inDenoiserFolder is the configuration of a transformer.
const inDenoiserFolder place = "transformer/config.json"

// flowMarks are the fields that FlowMatchEulerDiscreteScheduler reads.
var flowMarks = []mark{
	{in: inScheduler, name: "shift", verdict: followed},
	{in: inScheduler, name: "use_dynamic_shifting", verdict: followed},
	{in: inScheduler, name: "base_shift", verdict: followed},
	{in: inScheduler, name: "max_shift", verdict: followed},
	{in: inScheduler, name: "base_image_seq_len", verdict: followed},
	{in: inScheduler, name: "max_image_seq_len", verdict: followed},
	{in: inScheduler, name: "num_train_timesteps", verdict: only, values: []any{1000.0}, why: "networks of flow matching are given a thousandth of it"},
	{in: inScheduler, name: "invert_sigmas", verdict: only, values: []any{false}, why: "noise levels fall"},
	{in: inScheduler, name: "shift_terminal", verdict: followed},
	{in: inScheduler, name: "use_karras_sigmas", verdict: only, values: []any{false}, why: "a request chooses its schedule"},
	{in: inScheduler, name: "use_exponential_sigmas", verdict: only, values: []any{false}, why: "a request chooses its schedule"},
	{in: inScheduler, name: "use_beta_sigmas", verdict: only, values: []any{false}, why: "a request chooses its schedule"},
	{in: inScheduler, name: "time_shift_type", verdict: only, values: []any{"exponential"}, why: "the logarithm of the shift is linear in the tokens"},
	{in: inScheduler, name: "stochastic_sampling", verdict: only, values: []any{false}, why: "a request chooses its sampler"},
}

// flowScheduler reads the scheduler of a model of flow matching.
func flowScheduler(c *config) (warnings []string) {
	const class = "FlowMatchEulerDiscreteScheduler"
	c.marks = flowMarks
	warnings = c.check(class+", as its pipeline has", class)
	if v, ok := c.number("shift", 1e-3, 1e3); ok {
		c.say(keyFlowShift, v)
	} else {
		c.say(keyFlowShift, 1)
	}
	if v, ok := c.number("shift_terminal", 0, 0.999); ok {
		c.say(keyFlowTerminal, v)
	}
	if c.truth("use_dynamic_shifting") {
		d := [4]float64{0.5, 1.15, 256, 4096}
		for i, name := range []string{"base_shift", "max_shift", "base_image_seq_len", "max_image_seq_len"} {
			if v, ok := c.number(name, -10, 1e6); ok {
				d[i] = v
			}
		}
		c.sayNumbers(keyFlowDynamic, d[:])
	}
	return warnings
}

// flowSettings reads the configuration files of a folder: the scheduler's, the autoencoder's,
// the transformer's, which is of a class with these marks, and that of a text encoder of Qwen.
func flowSettings(class string, own []mark) func(json func(path string, to any) error) (map[string]string, []string, error) {
	return flowFiles(class, own, nil, map[place]func(c *config) []string{inQwen: qwenFile})
}

// flowFiles is the same with other text encoders. also, if not nil, reads more of the transformer's configuration.
func flowFiles(class string, own []mark, also func(c *config), texts map[place]func(c *config) []string) func(json func(path string, to any) error) (map[string]string, []string, error) {
	read := map[place]func(c *config) []string{
		inScheduler: flowScheduler,
		inVAE: func(c *config) []string {
			defer c.vae()
			c.marks = flowVAEMarks()
			return c.check("AutoencoderKL or AutoencoderKLFlux2", "AutoencoderKL", "AutoencoderKLFlux2")
		},
		inDenoiserFolder: func(c *config) []string {
			c.marks = own
			if also != nil {
				also(c)
			}
			return c.check(class, class)
		},
	}
	maps.Copy(read, texts)
	return readEach(read)
}

// readEach reads the configuration files of a folder that are there.
func readEach(read map[place]func(c *config) []string) func(json func(path string, to any) error) (map[string]string, []string, error) {
	return func(json func(path string, to any) error) (map[string]string, []string, error) {
		said, warnings := map[string]string{}, []string(nil)
		for _, in := range slices.Sorted(maps.Keys(read)) {
			var fields Object
			if err := json(string(in), &fields); err != nil {
				return nil, nil, fmt.Errorf("%s: %w", in, err)
			}
			if fields == nil { // there is no such file
				continue
			}
			c := &config{in: in, fields: fields, said: said}
			unknown := read[in](c)
			if c.err != nil {
				return nil, nil, c.err
			}
			warnings = append(warnings, unknown...)
		}
		return said, warnings, nil
	}
}

// flowVAEOf reads the autoencoder of a transformer's latents, if the file has one: shapes do
// not tell its scale and shift.
func flowVAEOf(r *Reader, channels int, scale, shift float32) *VAEConfig {
	if !r.Has(model.VAEPrefix + "decoder.conv_in.weight") {
		return nil
	}
	c := r.VAE()
	c.ScaleFactor, c.Shift = scale, shift
	c.applyMetadata(r)
	ofLatentDiffusion(r, c)
	if r.err == nil && c.EmbedDim != channels {
		r.Fail("the autoencoder's latents must have the transformer's %d channels, got %d: %w", channels, c.EmbedDim, model.ErrUnrecognized)
	}
	return &c
}

// ofLatentDiffusion refuses the autoencoder of Qwen-Image, whose latents can have as many channels as those of others.
func ofLatentDiffusion(r *Reader, c VAEConfig) {
	if c.PixelNorm {
		r.Fail("the autoencoder must be one of latent diffusion, got Wan 2.1's or Qwen-Image's: %w", model.ErrUnrecognized)
	}
}

// Scale and shift of FLUX.1's latents, which Z-Image, Chroma and Lumina 2 share.
const fluxScale, fluxShift = 0.3611, 0.1159

// isFlowKey reports whether metadata says how a model of flow matching was trained.
func isFlowKey(key string) bool { return strings.HasPrefix(key, "sdgo.flow.") }

// describeFlowVAE adds what no shape tells of an autoencoder to the metadata of a file that is written: of one without a
// shift, that, too. nil is none.
func describeFlowVAE(c *VAEConfig, add func(key string, value any)) {
	if c == nil {
		return
	}
	c.describe(add)
	if c.Shift == 0 {
		add(keyShiftFactor, c.Shift)
	}
}

// flowVAEMarks are the fields of AutoencoderKL, and what AutoencoderKLFlux2 has beside them.
func flowVAEMarks() (all []mark) {
	for _, m := range marks {
		if m.in == inVAE {
			all = append(all, m)
		}
	}
	return append(all,
		mark{in: inVAE, name: "batch_norm_eps", verdict: only, values: []any{1e-4}, why: "latents are normalised with this"},
		mark{in: inVAE, name: "batch_norm_momentum", verdict: harmless, why: "of training"},
		mark{in: inVAE, name: "patch_size", verdict: only, values: []any{2.0}, why: "latents are packed by two"},
		mark{in: inVAE, name: "decoder_block_out_channels", verdict: shaped})
}
