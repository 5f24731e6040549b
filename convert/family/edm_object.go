package family

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// inObject is the object that the pickles of EDM and EDM2 hold.
const inObject place = "ema"

// edmClass is a class of preconditioning: the module with its network, the classes that this
// may have, and what the fields of its objects mean.
type edmClass struct {
	module   string
	networks []string
	marks    []mark
	read     func(c *config)
}

var edmClasses = map[string]edmClass{
	"EDMPrecond": {"model", edmNetworks, edmFields(mark{in: inObject, name: "sigma_data", verdict: followed}), func(c *config) {
		c.sayPixel("process", ProcessEDM)
		c.sayPixel("sigma_data", c.orNumber("sigma_data", 1e-6, 1e6, 0.5))
	}},
	"VPPrecond": {"model", edmNetworks, edmFields(
		mark{in: inObject, name: "beta_d", verdict: followed}, mark{in: inObject, name: "beta_min", verdict: followed},
		mark{in: inObject, name: "M", verdict: only, values: []any{1000.0}, why: "times go to 999"},
		mark{in: inObject, name: "epsilon_t", verdict: harmless, why: "of training"}), func(c *config) {
		low := c.orNumber("beta_min", 1e-9, 100, 0.1)
		c.sayPixel("process", ProcessVP)
		c.sayPixel("beta_start", low)
		c.sayPixel("beta_end", low+c.orNumber("beta_d", 0, 100, 19.9))
	}},
	"VEPrecond": {"model", edmNetworks, edmFields(), func(c *config) {
		c.sayPixel("process", ProcessVE)
		c.sayPixel("unit_range", false)
		c.sayPixel("center", false)
		c.sayPixel("sigma_min", c.orNumber("sigma_min", 1e-9, 1e6, 0.02))
		c.sayPixel("sigma_max", c.orNumber("sigma_max", 1e-9, 1e6, 100))
	}},
	"Precond": {"unet", []string{"UNet"}, edmFields(
		mark{in: inObject, name: "sigma_data", verdict: followed}, mark{in: inObject, name: "channels_per_head", verdict: followed},
		mark{in: inObject, name: "res_balance", verdict: followed}, mark{in: inObject, name: "attn_balance", verdict: followed},
		mark{in: inObject, name: "label_balance", verdict: followed}, mark{in: inObject, name: "concat_balance", verdict: followed},
		mark{in: inObject, name: "clip_act", verdict: followed},
		mark{in: inObject, name: "resample_filter", verdict: only, values: []any{1.0}, why: "sizes change by 2x2 pixels"},
		mark{in: inObject, name: "logvar_channels", verdict: harmless, why: "of training"}), func(c *config) { // of EDM2
		c.sayPixel("process", ProcessEDM)
		c.sayPixel("sigma_data", c.orNumber("sigma_data", 1e-6, 1e6, 0.5))
		c.sayPixel("head_dim", c.orNumber("channels_per_head", 1, 1<<12, 64))
		for name, otherwise := range map[string]float64{"res_balance": 0.3, "attn_balance": 0.3, "label_balance": 0.5, "concat_balance": 0.5} {
			c.sayPixel(name, c.orNumber(name, 0, 1, otherwise))
		}
		if v, there := c.fields["clip_act"]; there && string(v) == "null" {
			c.fail("clip_act", "must be a number")
		}
		c.sayPixel("block_clip", c.orNumber("clip_act", 1, 1e6, 256))
	}},
	"iDDPMPrecond": {"model", edmNetworks, edmFields(
		mark{in: inObject, name: "M", verdict: followed},
		mark{in: inObject, name: "C_1", verdict: only, values: []any{0.001}, why: "the cosine schedule has this bound"},
		mark{in: inObject, name: "C_2", verdict: only, values: []any{0.008}, why: "the cosine schedule has this offset"}), func(c *config) {
		c.sayPixel("process", ProcessDDPM)
		c.sayPixel("betas", "cosine")
		c.sayPixel("steps", c.orNumber("M", 2, maxTimesteps, 1000))
		c.sayPixel("variance", "fixed_small") // what it learns of the variance is not trained
		c.sayPixel("clip", false)
	}},
}

var edmNetworks = []string{"DhariwalUNet", "SongUNet"}

// edmFields are the fields of all these classes, and more of one.
func edmFields(more ...mark) []mark {
	all := []mark{
		{in: inObject, name: "img_resolution", verdict: followed},
		{in: inObject, name: "img_channels", verdict: shaped},
		{in: inObject, name: "label_dim", verdict: shaped},
		{in: inObject, name: "model_type", verdict: shaped}, // the module's class says the same
		{in: inObject, name: "model_channels", verdict: shaped},
		{in: inObject, name: "channel_mult", verdict: shaped},
		{in: inObject, name: "channel_mult_emb", verdict: shaped},
		{in: inObject, name: "channel_mult_noise", verdict: shaped},
		{in: inObject, name: "num_blocks", verdict: shaped},
		{in: inObject, name: "attn_resolutions", verdict: shaped},
		{in: inObject, name: "augment_dim", verdict: shaped},
		{in: inObject, name: "embedding_type", verdict: shaped},
		{in: inObject, name: "encoder_type", verdict: shaped},
		{in: inObject, name: "decoder_type", verdict: shaped},
		{in: inObject, name: "resample_filter", verdict: shaped},
		{in: inObject, name: "sigma_min", verdict: followed},
		{in: inObject, name: "sigma_max", verdict: followed},
		{in: inObject, name: "use_fp16", verdict: harmless, why: "of the precision that a computation has"},
		{in: inObject, name: "dropout", verdict: harmless, why: "of training"},
		{in: inObject, name: "label_dropout", verdict: harmless, why: "of training"},
	}
	return append(more, all...)
}

// SaidByObject is what the object says, as metadata, that the tensors of a pickle of EDM or
// EDM2 are part of: its class, that of what made its pictures, those of its modules, and its
// fields.
func SaidByObject(class, encoder string, modules map[string]string, fields map[string]any) (said map[string]string, warnings []string, err error) {
	kind, ok := edmClasses[class]
	if !ok {
		return nil, nil, fmt.Errorf("a pickle of an object of class %.40q; of those that bring their code along, %s are read", class, strings.Join(slices.Sorted(maps.Keys(edmClasses)), ", "))
	}
	if network := modules[kind.module]; !slices.Contains(kind.networks, network) {
		return nil, nil, fmt.Errorf("a pickle of an %s whose network has the class %.40q, which must be %s", class, network, strings.Join(kind.networks, " or "))
	}
	c := &config{in: inObject, fields: Object{}, said: map[string]string{}, marks: kind.marks}
	for name, v := range fields {
		if f, ok := v.(float64); ok && math.IsInf(f, 0) { // no bound
			continue
		}
		text, err := json.Marshal(v)
		if err != nil {
			return nil, nil, errors.New("a pickle whose numbers are not finite")
		}
		c.fields[name] = text
	}
	warnings = c.check("")
	kind.read(c)
	c.sayPixel("size", c.orNumber("img_resolution", 1, largestSide, 0))
	c.encoder(encoder)
	return c.said, warnings, c.err
}

// encoder says what the numbers are that a network of EDM2 draws: pixels, or latents of
// Stable Diffusion's autoencoder, whose channels have been brought to one scale.
func (c *config) encoder(class string) {
	switch class {
	case "", "StandardRGBEncoder":
	case "StabilityVAEEncoder":
		c.say(keyLatentsMean, "5.81 3.25 0.12 -2.15")
		c.say(keyLatentsStd, "4.17 4.62 3.71 3.28")
		c.say(keyScaleFactor, 0.5)
	default:
		c.err = cmp.Or(c.err, fmt.Errorf("a pickle whose encoder has the class %.40q, which must be StandardRGBEncoder or StabilityVAEEncoder", class))
	}
}
