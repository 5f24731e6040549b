package family

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// The configuration files of models without text, in diffusers folders. What their
// fields mean is in pixel_marks.go.

const (
	inTransformer place = "transformer/config.json"
	inVQ          place = "vqvae/config.json"
)

// pixelFile is a configuration file of a folder: its table, and what reads it.
type pixelFile struct {
	in    place
	marks []mark
	class string
	read  func(c *config)
}

var pixelNetworks = []pixelFile{
	{inUNet, pixelUNetMarks, "UNet2DModel", (*config).pixelUNet},
	{inTransformer, ditMarks, "DiTTransformer2DModel", (*config).dit},
	{inVQ, vqMarks, "VQModel", (*config).vae},
	{inVAE, vqMarks, "VQModel", (*config).vae},
}

// pixelSettings brings the configuration of a diffusers folder of a model without text
// into the form of metadata; denoiser is where that of its denoiser is.
func pixelSettings(denoiser place) func(json func(path string, to any) error) (said map[string]string, warnings []string, err error) {
	return func(json func(path string, to any) error) (map[string]string, []string, error) {
		said, warnings, err := readPixelConfigs([]place{denoiser, inVQ, inVAE, inScheduler}, json)
		if err != nil {
			return nil, nil, err
		}
		labels, err := labelsOf(json)
		if labels != "" {
			said[PixelLabels] = labels
		}
		return said, warnings, err
	}
}

func readPixelConfigs(all []place, json func(path string, to any) error) (said map[string]string, warnings []string, err error) {
	said = map[string]string{}
	for _, in := range all {
		var fields Object
		if err := json(string(in), &fields); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", in, err)
		}
		if fields == nil { // there is no such file
			continue
		}
		unknown, err := readPixelConfig(in, fields, said)
		if err != nil {
			return nil, nil, err
		}
		warnings = append(warnings, unknown...)
	}
	if said[pixelKey+"learns_variance"] != "" { // whatever a scheduler that ignores it says
		delete(said, pixelKey+"learns_variance")
		delete(said, pixelKey+"variance")
	}
	return said, warnings, nil
}

func readPixelConfig(in place, fields Object, said map[string]string) (warnings []string, err error) {
	c := &config{in: in, fields: fields, said: said}
	if in == inScheduler {
		return c.pixelScheduler(nil), c.err
	}
	class, _ := c.text("_class_name")
	if in == inVAE && strings.TrimPrefix(class, "Flax") == "AutoencoderKL" {
		return readConfig(in, fields, said)
	}
	for _, f := range pixelNetworks {
		if f.in == in {
			c.marks = f.marks
			warnings = c.check(f.class, f.class)
			f.read(c)
		}
	}
	return warnings, c.err
}

// sayPixel puts a value where Pixel's metadata says it.
func (c *config) sayPixel(key string, value any) {
	if b, ok := value.(bool); ok {
		value = map[bool]int{true: 1}[b]
	}
	c.say(pixelKey+key, value)
}

// orNumber is a number that a file may leave out.
func (c *config) orNumber(name string, low, high, otherwise float64) float64 {
	if v, ok := c.number(name, low, high); ok {
		return v
	}
	return otherwise
}

// orTruth is true or false.
func (c *config) orTruth(name string, otherwise bool) bool {
	if !c.has(name) {
		return otherwise
	}
	return c.truth(name)
}

// pixelUNet reads the fields of a UNet2DModel, whose defaults are its class's.
func (c *config) pixelUNet() {
	if list := c.fields["sample_size"]; len(list) > 0 && list[0] == '[' { // height and width
		if sides, ok := c.numbers("sample_size"); ok {
			c.sayPixel("size", slices.Max(sides))
		}
	} else if n, ok := c.number("sample_size", 1, largestSide); ok {
		c.sayPixel("size", n)
	}
	time, _ := c.text("time_embedding_type")
	c.sayPixel("time_sines_first", time == "fourier" || !c.orTruth("flip_sin_to_cos", true)) // of the former whatever the file says
	c.sayPixel("time_shift", c.orNumber("freq_shift", 0, 1, 0))
	eps := c.orNumber("norm_eps", 1e-12, 1, 1e-5)
	c.sayPixel("norm_eps", eps)
	c.sayPixel("attention_norm_eps", eps)
	c.sayPixel("pad_end", c.orNumber("downsample_padding", 0, 1, 1) == 0)
	c.sayPixel("center", c.orTruth("center_input_sample", false))
	skip := strings.Contains(string(c.fields["down_block_types"]), "SkipDownBlock2D")
	scale := c.orNumber("mid_block_scale_factor", 0, 2, 1)
	switch {
	case !skip && scale != 1:
		c.fail("mid_block_scale_factor", "must be 1 without skip blocks")
	case skip && math.Abs(scale-math.Sqrt2) > 1e-6:
		c.fail("mid_block_scale_factor", "must be √2 with skip blocks")
	}
	if !skip { // which have their own groups
		groups := 32.0
		if string(c.fields["norm_num_groups"]) == "null" {
			c.fail("norm_num_groups", "must be a number without skip blocks")
		}
		groups = c.orNumber("norm_num_groups", 1, 1<<10, groups)
		c.sayPixel("norm_groups", groups)
		if c.orNumber("attn_norm_num_groups", 1, 1<<10, groups) != groups {
			c.fail("attn_norm_num_groups", "must be null or norm_num_groups, %g", groups)
		}
	}
	switch dim, there := c.fields["attention_head_dim"]; {
	case there && string(dim) == "null":
		c.sayPixel("heads", 1)
	default:
		c.sayPixel("heads", 0)
		c.sayPixel("head_dim", c.orNumber("attention_head_dim", 1, 1<<13, 8))
	}
}

// dit reads those of a DiTTransformer2DModel.
func (c *config) dit() {
	c.sayPixel("heads", c.orNumber("num_attention_heads", 1, 1<<10, 16))
	c.sayPixel("size", c.orNumber("sample_size", 1, largestSide, 32))
	c.sayPixel("learns_variance", c.orNumber("out_channels", 1, 1<<10, 0) == 2*c.orNumber("in_channels", 1, 1<<10, 4))
}

// diffusersBetas are the library's names for schedules.
var diffusersBetas = map[string]string{"linear": "linear", "scaled_linear": "scaled_linear", "squaredcos_cap_v2": "cosine"}

// pixelScheduler reads the process of training off a scheduler of a model on pixels. own are marks that come first.
func (c *config) pixelScheduler(own []mark) (warnings []string) {
	class, _ := c.text("_class_name")
	class = strings.TrimPrefix(class, "Flax")
	kind, usual := schedulers[class]
	scores := map[string][]mark{"CMStochasticIterativeScheduler": consistencyMarks, "ScoreSdeVeScheduler": veMarks, "ScoreSdeVpScheduler": vpMarks}
	switch {
	case class == "" || usual && !kind.edm:
		c.marks = slices.Concat(own, pixelSchedulerMarks, marks)
	case scores[class] != nil:
		c.marks = scores[class]
	default:
		c.fail("_class_name", "must be a scheduler of diffusers with betas, such as DDPMScheduler, or %s", strings.Join(slices.Sorted(maps.Keys(scores)), ", "))
		return nil
	}
	warnings = c.check("", class)
	if c.in == inScheduler && scores[class] != nil {
		c.scoreBased(class)
		return warnings
	}
	c.sayPixel("process", ProcessDDPM)
	p, _ := c.text("prediction_type")
	switch p = strings.TrimSuffix(p, "_prediction"); p {
	case "", "epsilon", "v", "sample":
		c.sayPixel("prediction", cmp.Or(p, "epsilon"))
	default:
		c.fail("prediction_type", "must be epsilon, v_prediction or sample")
	}
	variance, _ := c.text("variance_type")
	c.sayPixel("variance", cmp.Or(strings.TrimSuffix(variance, "_log"), "fixed_small"))
	c.sayPixel("clip", c.orTruth("clip_sample", true))
	c.spacing(pixelSchedule, "respaced")
	c.pixelBetas(kind)
	return warnings
}

// pixelBetas reads the schedule of noise. One that this library has no name for becomes the
// tensor alphas_cumprod.
func (c *config) pixelBetas(kind scheduler) {
	if list, ok := c.numbers("trained_betas"); ok {
		c.sayNumbers(keyTrainedBetas, list)
		return
	}
	name, _ := c.text("beta_schedule")
	name = cmp.Or(cmp.Or(name, kind.betas), "linear")
	start, end := c.orNumber("beta_start", 0, 1, cmp.Or(kind.start, 1e-4)), c.orNumber("beta_end", 0, 1, cmp.Or(kind.end, 0.02))
	steps := c.orNumber("num_train_timesteps", 2, maxTimesteps, 1000)
	c.sayPixel("steps", steps)
	betas, ok := diffusersBetas[name]
	switch {
	case !ok:
		c.say(keyBetas, fmt.Sprintf("%s %v %v %v", name, start, end, steps))
	default:
		c.sayPixel("betas", betas)
		if betas != "cosine" {
			c.sayPixel("beta_start", start)
			c.sayPixel("beta_end", end)
		}
	}
}

// scoreBased reads schedulers without steps of training.
func (c *config) scoreBased(class string) {
	number := func(name, key string, otherwise float64) {
		c.sayPixel(key, c.orNumber(name, 1e-9, 1e9, otherwise))
	}
	switch class {
	case "CMStochasticIterativeScheduler":
		c.sayPixel("process", ProcessConsistency)
		number("sigma_min", "sigma_min", 0.002)
		number("sigma_max", "sigma_max", 80)
		number("sigma_data", "sigma_data", 0.5)
		c.sayPixel("clip", c.orTruth("clip_denoised", true))
	case "ScoreSdeVeScheduler":
		c.sayPixel("process", ProcessVE)
		number("sigma_min", "sigma_min", 0.01)
		number("sigma_max", "sigma_max", 1348)
	case "ScoreSdeVpScheduler":
		c.sayPixel("process", ProcessVP)
		number("beta_min", "beta_start", 0.1)
		number("beta_max", "beta_end", 20)
	}
}
