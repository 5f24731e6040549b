package family

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/sdgo/sdgo/convert/model"
)

// Models of Stable Diffusion that enlarge a picture as a text says: Stability AI's x4
// upscaler. The UNet sees the small picture beside the latent, with noise on it of a
// process of its own, and the timestep of that noise as a class.

// upscales is the Variant of such a model.
const upscales = "upscale"

// Traits of the published model that no shape tells.
const (
	upscalerBetas         = "scaled_linear 0.0001 0.02 1000"
	upscalerScale         = 0.08333 // of latents
	upscalerHeads         = 8
	upscalerMaxNoiseLevel = 350
)

// inLowScheduler is the configuration of the process of the small picture's noise.
const inLowScheduler place = "low_res_scheduler/scheduler_config.json"

// The tensor with that process's products, and what metadata says in its place.
const (
	lowSchedule     = "low_scale_model." + model.ScheduleName
	keyLowBetas     = "sdgo.low.betas"
	keyLowTrained   = "sdgo.low.trained_betas"
	keyMaxNoise     = "sdgo.low.max_noise_level"
	keyOnlyCross    = "sdgo.unet.only_cross_attention"
	pictureChannels = 3
)

// upscaler reads what such a model has beside others.
func (c *StableDiffusion) upscaler(r *Reader) {
	m := r.Model
	if c.Variant != upscales {
		if r.Has(lowSchedule) {
			r.Fail("tensor %q is surplus: only a model that enlarges pictures has one", lowSchedule)
		}
		return
	}
	if m.Prediction == "" {
		m.Prediction = "v"
	}
	for _, s := range []struct{ betas, trained, tensor string }{{keyBetas, keyTrainedBetas, model.ScheduleName}, {keyLowBetas, keyLowTrained, lowSchedule}} {
		if m.Metadata[s.betas] == "" && m.Metadata[s.trained] == "" && !r.Has(s.tensor) {
			if m.Metadata == nil {
				m.Metadata = map[string]string{}
			}
			m.Metadata[s.betas] = upscalerBetas
		}
	}
	betasInto(r, keyLowBetas, keyLowTrained, lowSchedule)
	c.LowAlphas = r.schedule(lowSchedule)
	last := min(c.UNet.Classes, len(c.LowAlphas)) - 1
	c.MaxNoiseLevel = min(upscalerMaxNoiseLevel, last)
	r.Number(keyMaxNoise, 0, float64(max(last, 0)), func(v float64) { c.MaxNoiseLevel = int(v) })
}

// onlyCross checks the list of levels that attend to the text alone, which the diffusers
// library has, against the shapes. Where the text is as wide as a level only the list tells.
func onlyCross(r *Reader, u *UNetConfig) {
	text, ok := r.Model.Metadata[keyOnlyCross]
	if !ok || r.err != nil {
		return
	}
	list, err := intList(text)
	if err != nil || len(list) != len(u.ChannelMult) {
		r.Fail("%s must be 0 or 1 for each of %d levels, got %.40q", keyOnlyCross, len(u.ChannelMult), text)
		return
	}
	for level, v := range list {
		said, is := v != 0, level < len(u.CrossOnly) && u.CrossOnly[level]
		switch {
		case u.TransformerDepth[level] == 0 || said == is:
		case said && u.ModelChannels*u.ChannelMult[level] == u.ContextDim:
			for len(u.CrossOnly) < len(u.ChannelMult) {
				u.CrossOnly = append(u.CrossOnly, false)
			}
			u.CrossOnly[level] = true
		default:
			r.Fail("%s does not fit the shapes of level %d, got %.40q", keyOnlyCross, level, text)
			return
		}
	}
}

// describeUpscaler adds what upscaler reads to the metadata of what is written. The process
// is a tensor.
func (c *StableDiffusion) describeUpscaler(add func(key string, value any)) {
	if c.Variant != upscales {
		return
	}
	add(keyMaxNoise, uint32(c.MaxNoiseLevel))
	words := make([]string, len(c.UNet.ChannelMult))
	for level := range words {
		words[level] = "0"
		if level < len(c.UNet.CrossOnly) && c.UNet.CrossOnly[level] {
			words[level] = "1"
		}
	}
	add(keyOnlyCross, strings.Join(words, " "))
}

// truths is a field that must be a list of true and false.
func truths(c *config, name, key string) {
	var all []*bool
	if err := json.Unmarshal(c.fields[name], &all); err != nil || len(all) == 0 {
		c.fail(name, "must be false, or a list of true and false")
		return
	}
	words := make([]string, len(all))
	for i, v := range all {
		if v == nil {
			c.fail(name, "must be false, or a list of true and false")
			return
		}
		words[i] = map[bool]string{false: "0", true: "1"}[*v]
	}
	c.say(key, strings.Join(words, " "))
}

// lowMarks are the fields of the scheduler of the small picture's noise, which only adds
// noise.
var lowMarks = func() (all []mark) {
	for _, name := range []string{"num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas"} {
		all = append(all, mark{in: inLowScheduler, name: name, verdict: followed})
	}
	all = append(all, mark{in: inLowScheduler, name: "rescale_betas_zero_snr", verdict: only, values: []any{false}, why: "the small picture's noise ends"})
	for _, m := range marks {
		if m.in == inScheduler && lookMarkIn(all, inLowScheduler, m.name) == nil {
			all = append(all, mark{in: inLowScheduler, name: m.name, verdict: harmless, why: "of removing noise"})
		}
	}
	return all
}()

// lowScheduler reads the betas of that scheduler.
func lowScheduler(c *config) []string {
	c.marks = lowMarks
	unknown := c.check("DDPMScheduler", "DDPMScheduler", "DDIMScheduler")
	said := map[string]string{}
	inner := config{in: c.in, fields: c.fields, said: said}
	inner.betas(usual, true)
	if c.err == nil {
		c.err = inner.err
	}
	if list, ok := said[keyTrainedBetas]; ok {
		c.said[keyLowTrained] = list
		return unknown
	}
	c.said[keyLowBetas] = said[keyBetas]
	if said[keyBetas] == "" { // Stable Diffusion's own
		c.said[keyLowBetas] = fmt.Sprintf("%s %v %v 1000", standardBetas, standardStart, standardEnd)
	}
	return unknown
}
