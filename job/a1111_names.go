package job

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/request"
)

// AUTOMATIC1111 looks up what it reads letter by letter: a sampler or a schedule that it
// does not find becomes its first one, without a word. So settings have its names, as its
// version 1.10 lists them (modules sd_samplers_kdiffusion, sd_samplers_timesteps,
// sd_samplers_lcm and sd_schedulers), and this library's own where it has none.

// samplerLabels are AUTOMATIC1111's names of samplers, by this library's.
func samplerLabels() map[string]string {
	return map[string]string{
		"dpm++2m": "DPM++ 2M", "dpm++sde": "DPM++ SDE", "dpm++2m_sde": "DPM++ 2M SDE", "dpm++2m_sde_heun": "DPM++ 2M SDE Heun",
		"dpm++2s_a": "DPM++ 2S a", "dpm++3m_sde": "DPM++ 3M SDE", "euler_a": "Euler a", "euler": "Euler", "lms": "LMS", "heun": "Heun",
		"dpm2": "DPM2", "dpm2_a": "DPM2 a", "dpm_fast": "DPM fast", "dpm_adaptive": "DPM adaptive", "restart": "Restart",
		"ddim": "DDIM", "euler_cfg++": "DDIM CFG++", "plms": "PLMS", "unipc": "UniPC", "lcm": "LCM",
	}
}

// scheduleLabels are those of schedules. Its Normal is its Uniform, which all of its
// versions with schedules have.
func scheduleLabels() map[string]string {
	return map[string]string{
		"discrete": "Uniform", "karras": "Karras", "exponential": "Exponential", "polyexponential": "Polyexponential", "sgm_uniform": "SGM Uniform",
		"kl_optimal": "KL Optimal", "align_your_steps": alignYourSteps, "align_your_steps_sdxl": alignYourSteps, "simple": "Simple", "ddim_uniform": "DDIM", "beta": "Beta",
	}
}

const (
	automatic      = "Automatic"        // the schedule that a sampler has in AUTOMATIC1111
	alignYourSteps = "Align Your Steps" // whose noise levels are those of the model that is loaded
)

// samplerLabel is a sampler's name for AUTOMATIC1111.
func samplerLabel(name string) string {
	if label, ok := samplerLabels()[name]; ok {
		return label
	}
	return name
}

// scheduleLabel is a schedule's name for AUTOMATIC1111, of a run of a sampler.
func scheduleLabel(of, name string) string {
	if label, ok := scheduleLabels()[name]; ok {
		return label
	}
	if s, err := sampler.Lookup(of); err == nil && s.Schedule == name && samplerLabels()[s.Name] != "" {
		return automatic
	}
	return name
}

// ownScheduleKey says which schedule it was where AUTOMATIC1111 has one name for two.
const ownScheduleKey = "Schedule name"

// scheduleSettings are a schedule under a key, and under another one where the name is
// not all of it.
func scheduleSettings(of, name, key, ownKey string) []kv {
	label := scheduleLabel(of, name)
	all := []kv{{key, label}}
	if label == name {
		return all
	}
	s, _ := sampler.Lookup(of) // none if the settings don't say which
	if read, err := s.LookupSchedule(label); err != nil || read.Name != name {
		all = append(all, kv{ownKey, name})
	}
	return all
}

func samplerText(f Field, r *request.Request) []kv {
	if r.Sampler == "" {
		return nil
	}
	return []kv{{f.A1111, samplerLabel(r.Sampler)}}
}

func scheduleText(f Field, r *request.Request) []kv {
	if r.Schedule == "" {
		return nil
	}
	return scheduleSettings(r.Sampler, r.Schedule, f.A1111, ownScheduleKey)
}

// passSettings are how a hires pass's value is written.
func (f Field) passSettings(r *request.Request, i int, value string) []kv {
	key := f.passKey(i)
	switch f.Path {
	case "Hires.Sampler":
		value = samplerLabel(value)
	case "Hires.Schedule":
		of := r.Hires[i].Sampler
		if of == "" {
			of = r.Sampler
		}
		return scheduleSettings(of, value, key, ownScheduleKeyOf(i))
	}
	return []kv{{key, value}}
}

func ownScheduleKeyOf(pass int) string {
	return Field{A1111: "Hires schedule name"}.passKey(pass)
}

// rngLabels are its names of generators: CPU is PyTorch's, NV that of Nvidia's GPUs.
func rngLabels() map[request.RNG]string {
	return map[request.RNG]string{request.TorchRNG: "CPU", request.PhiloxRNG: "NV"}
}

func rngText(f Field, r *request.Request) []kv {
	if r.RNG == "" {
		return nil
	}
	label, ok := rngLabels()[r.RNG]
	if !ok {
		label = string(r.RNG)
	}
	return []kv{{f.A1111, label}}
}

// etaDDIMKey is AUTOMATIC1111's word for the eta of samplers that step through
// timesteps, which is another of its options.
const etaDDIMKey = "Eta DDIM"

func etaText(f Field, r *request.Request) []kv {
	value, ok := f.of.get(r)
	if !ok {
		return nil
	}
	if r.Sampler == "ddim" || r.Sampler == "euler_cfg++" {
		return []kv{{etaDDIMKey, value}}
	}
	return []kv{{f.A1111, value}}
}

func readEta(f Field, d *reading) {
	readSamplerOption(f, d)
	if _, ok := d.look(f.A1111); !ok {
		f.A1111 = etaDDIMKey
		readSamplerOption(f, d)
	}
}

// readMaskFill reads what the masked part began with; AUTOMATIC1111 says "latent noise"
// and "latent nothing".
func readMaskFill(f Field, d *reading) {
	value, ok := d.take(f.A1111)
	if !ok {
		return
	}
	if err := f.of.set(&d.params.Request, strings.TrimPrefix(value, "latent ")); err != nil {
		d.refuse(f.A1111, err)
	}
}

// readWhatIsSo reads a setting that says what a request does anyway, and refuses what it
// cannot do.
func (d *reading) readWhatIsSo() {
	const key, usual = "Mask mode", "Inpaint masked"
	if value, ok := d.take(key); ok && value != usual {
		d.refuse(key, fmt.Errorf("must be %s", usual))
	}
}

// errNoSchedule is of a name that is no schedule's.
var errNoSchedule = errors.New("must be a schedule's name in this library")

// ownSchedule reads the setting of a schedule that has no name of its own in
// AUTOMATIC1111.
func (d *reading) ownSchedule(key string) (name string, ok bool) {
	value, ok := d.take(key)
	if !ok {
		return "", false
	}
	s, err := sampler.LookupSchedule(value)
	if err != nil || s.Name != value || !d.ours {
		d.refuse(key, errNoSchedule)
		return "", false
	}
	return s.Name, true
}

// quoted writes a setting's value as AUTOMATIC1111 does: as a JSON string where it
// would otherwise end the setting, and also where something of it would be lost.
func quoted(s string) string {
	if !utf8.ValidString(s) {
		return strconv.Quote(s)
	}
	if !strings.ContainsAny(s, ",:\n\"") && s == strings.TrimSpace(s) {
		return s
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return strconv.Quote(s)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
