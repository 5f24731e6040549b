package family

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// maxTimesteps bounds the timesteps of training.
const maxTimesteps = 1 << 16

// networkConfigs are the networks' configuration files that are read, by the class
// that they are of.
var networkConfigs = map[string]struct {
	in   place
	read func(c *config)
}{
	"UNet2DConditionModel": {inUNet, (*config).unet},
	"AutoencoderKL":        {inVAE, (*config).vae},
	"ControlNetModel":      {inControl, readControlConfig},
}

// readConfig reads one configuration file into metadata. warnings are about fields
// that the table does not have.
func readConfig(in place, fields Object, said map[string]string) (warnings []string, err error) {
	c := &config{in: in, fields: fields, said: said}
	switch in {
	case inScheduler:
		warnings = c.check("a scheduler of diffusers with betas, such as EulerDiscreteScheduler, or EDMEulerScheduler or EDMDPMSolverMultistepScheduler",
			slices.Collect(maps.Keys(schedulers))...)
		c.scheduler()
	case inLowScheduler:
		warnings = lowScheduler(c)
	case inUNet:
		warnings = c.check("UNet2DConditionModel", "UNet2DConditionModel")
		c.unet()
	case inVAE:
		warnings = c.check("AutoencoderKL", "AutoencoderKL")
		c.vae()
	case inControl:
		c.marks = controlMarks()
		warnings = c.check("ControlNetModel", "ControlNetModel")
		readControlConfig(c)
	}
	return warnings, c.err
}

// ConfigOf reads the config.json of one network that stands alone. It says nothing
// of classes that are not read.
func ConfigOf(fields Object) (said map[string]string, warnings []string, err error) {
	c := &config{fields: fields}
	class, _ := c.text("_class_name")
	said = map[string]string{}
	if n, ok := networkConfigs[strings.TrimPrefix(class, "Flax")]; ok {
		warnings, err = readConfig(n.in, fields, said)
	}
	return said, warnings, err
}

// unet reads the fields of the UNet that are followed.
func (c *config) unet() {
	if list := c.fields["sample_size"]; len(list) > 0 && list[0] == '[' { // height and width
		if sides, ok := c.numbers("sample_size"); ok {
			c.say(keySampleSize, slices.Max(sides))
		}
	} else if n, ok := c.number("sample_size", 1, largestSide); ok {
		c.say(keySampleSize, n)
	}
	heads := "num_attention_heads"
	if !c.has(heads) {
		heads = "attention_head_dim" // in fact the number of heads
	}
	switch {
	case !c.has(heads):
	case c.fields[heads][0] == '[':
		if list, ok := c.numbers(heads); ok {
			c.sayNumbers(keyUNetHeadList, list)
		}
	default:
		if n, ok := c.number(heads, 1, 1<<10); ok {
			c.say(keyUNetHeads, n)
		}
	}
	if list := c.fields["only_cross_attention"]; len(list) > 0 && list[0] == '[' {
		truths(c, "only_cross_attention", keyOnlyCross)
	} else if c.truth("only_cross_attention") {
		c.fail("only_cross_attention", "must be false, or a list of true and false: the middle attends to itself")
	}
	c.norms(keyUNetGroups)
	if eps, ok := c.number("norm_eps", 1e-12, 1); ok && eps != 1e-5 {
		c.say(keyUNetEps, eps)
	}
}

// vae reads those of the autoencoder.
func (c *config) vae() {
	if v, ok := c.number("scaling_factor", 1e-6, 1e6); ok {
		c.say(keyScaleFactor, v)
	}
	if v, ok := c.number("shift_factor", -1e6, 1e6); ok {
		c.say(keyShiftFactor, v)
	}
	mean, hasMean := c.numbers("latents_mean")
	deviation, hasDeviation := c.numbers("latents_std")
	if hasMean != hasDeviation {
		c.fail("latents_mean", "must be there with latents_std or not at all")
	}
	if hasMean && hasDeviation {
		c.sayNumbers(keyLatentsMean, mean)
		c.sayNumbers(keyLatentsStd, deviation)
	}
	c.norms(keyVAEGroups)
}

// norms reads the groups of normalisation layers, where they are not the usual 32.
func (c *config) norms(key string) {
	if string(c.fields["norm_num_groups"]) == "null" {
		c.fail("norm_num_groups", "must be a number: all blocks have normalisation")
	}
	if n, ok := c.number("norm_num_groups", 1, 1<<10); ok && n != 32 {
		c.say(key, n)
	}
}

// scheduler reads those of the scheduler: the process of training, and the default
// spacing of noise levels.
func (c *config) scheduler() {
	class, named := c.text("_class_name")
	kind := schedulers[strings.TrimPrefix(class, "Flax")]
	switch p, ok := c.text("prediction_type"); p {
	case "epsilon", "sample":
		c.say(keyPrediction, p)
	case "v_prediction":
		c.say(keyPrediction, "v")
	default:
		if ok {
			c.fail("prediction_type", "must be epsilon, v_prediction or sample")
		}
	}
	if kind.edm {
		c.edm()
		return
	}
	for _, name := range []string{"sigma_min", "sigma_max", "sigma_data"} {
		if c.has(name) {
			c.fail(name, "must be null: only the EDM schedulers have their own noise levels")
		}
	}
	if c.truth("rescale_betas_zero_snr") {
		c.say(keyZeroSNR, true)
	}
	c.betas(kind, named)
	c.spacing(keySchedule, "") // discrete is even
}

// edm reads the process of Karras et al. 2022.
func (c *config) edm() {
	numbers := map[string]float64{"sigma_min": 0.002, "sigma_max": 80, "sigma_data": 0.5}
	for name, key := range map[string]string{"sigma_min": keyEDMMin, "sigma_max": keyEDMMax, "sigma_data": keyEDMData} {
		v := numbers[name]
		if got, ok := c.number(name, 1e-9, 1e9); ok {
			v = got
		}
		c.say(key, v)
	}
	if c.said[keyPrediction] == "" {
		c.say(keyPrediction, "epsilon")
	}
	if c.said[keyPrediction] == "sample" {
		c.fail("prediction_type", "must be epsilon or v_prediction")
	}
	switch s, ok := c.text("sigma_schedule"); {
	case !ok:
		c.say(keySchedule, "karras")
	case s == "karras", s == "exponential":
		c.say(keySchedule, s)
	default:
		c.fail("sigma_schedule", "must be karras or exponential")
	}
}

// betas reads the noise schedule of training. What a file of a named class leaves
// out has the class's default; Stable Diffusion's own is the default of no class.
func (c *config) betas(kind scheduler, named bool) {
	if list, ok := c.numbers("trained_betas"); ok {
		c.sayNumbers(keyTrainedBetas, list)
		return
	}
	name, start, end, n := kind.betas, kind.start, kind.end, 1000.0
	if !named {
		name, start, end = standardBetas, standardStart, standardEnd
	}
	if s, ok := c.text("beta_schedule"); ok {
		name = s
	}
	if v, ok := c.number("beta_start", 0, 1); ok {
		start = v
	}
	if v, ok := c.number("beta_end", 0, 1); ok {
		end = v
	}
	if v, ok := c.number("num_train_timesteps", 2, maxTimesteps); ok {
		n = v
	}
	if name == standardBetas && start == standardStart && end == standardEnd && n == 1000 {
		return
	}
	c.say(keyBetas, fmt.Sprintf("%s %v %v %v", name, start, end, n))
}

// spacing reads which schedule a run has that names none; even is that of even
// timesteps, "" for the usual one. Only what the file says counts, and not the class's
// default: that is a solver's, and a request chooses its sampler.
func (c *config) spacing(key, even string) {
	schedule := ""
	offset, _ := c.number("steps_offset", 0, maxTimesteps)
	switch s, ok := c.text("timestep_spacing"); {
	case !ok:
	case s == "linspace":
		schedule = even
	case s == "trailing":
		schedule = s
	case s != "leading":
		c.fail("timestep_spacing", "must be linspace, leading or trailing")
	case offset == 0:
		schedule = "leading_zero"
	case offset == 1:
		schedule = "ddim_uniform"
	default:
		c.fail("steps_offset", "must be 0 or 1: no schedule has another")
	}
	before := ""
	for _, name := range []string{"beta", "exponential", "karras"} {
		field := "use_" + name + "_sigmas"
		switch {
		case !c.truth(field):
		case before != "":
			c.fail(field, "must be false beside %s", before)
		default:
			schedule, before = name, field
		}
	}
	if schedule != "" {
		c.say(key, schedule)
	}
}
