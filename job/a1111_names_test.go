package job

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/request"
)

// AUTOMATIC1111 1.10, as its modules infotext_utils (parse_generation_parameters) and
// sd_samplers (get_sampler_and_scheduler) have it: the last line is taken apart by one
// regular expression, names are looked up letter by letter, and what is not found becomes
// DPM++ 2M and Automatic.
var (
	webUIParam = regexp.MustCompile(`\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)`)
	webUISize  = regexp.MustCompile(`^(\d+)x(\d+)$`)

	// webUISamplers are all samplers with the schedule that Automatic stands for: "" is
	// the model's own, and "-" one that nothing changes.
	webUISamplers = [][2]string{{"DPM++ 2M", "Karras"}, {"DPM++ SDE", "Karras"}, {"DPM++ 2M SDE", "Exponential"}, {"DPM++ 2M SDE Heun", "Exponential"}, {"DPM++ 2S a", "Karras"},
		{"DPM++ 3M SDE", "Exponential"}, {"Euler a", ""}, {"Euler", ""}, {"LMS", ""}, {"Heun", ""}, {"DPM2", "Karras"}, {"DPM2 a", "Karras"}, {"DPM fast", "-"}, {"DPM adaptive", "-"},
		{"Restart", "Karras"}, {"DDIM", "-"}, {"DDIM CFG++", "-"}, {"PLMS", "-"}, {"UniPC", "-"}, {"LCM", "LCM's own"}}
	webUISchedules = [][]string{{"Automatic", "automatic"}, {"Uniform", "uniform"}, {"Karras", "karras"}, {"Exponential", "exponential"}, {"Polyexponential", "polyexponential"},
		{"SGM Uniform", "sgm_uniform", "SGMUniform"}, {"KL Optimal", "kl_optimal"}, {"Align Your Steps", "align_your_steps"}, {"Simple", "simple"}, {"Normal", "normal"}, {"DDIM", "ddim"}, {"Beta", "beta"}}
)

func webUIParse(text string) map[string]string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	found := map[string]string{}
	for _, m := range webUIParam.FindAllStringSubmatch(lines[len(lines)-1], -1) {
		key, value := m[1], m[2]
		if len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
			var text string
			if json.Unmarshal([]byte(value), &text) == nil {
				value = text
			}
		}
		if size := webUISize.FindStringSubmatch(value); size != nil {
			found[key+"-1"], found[key+"-2"] = size[1], size[2]
			continue
		}
		found[key] = value
	}
	return found
}

// webUILookup is what it makes of two names.
func webUILookup(name, schedule string) (string, string) {
	its := webUISchedules[0][0]
	for _, s := range webUISchedules {
		if schedule == s[0] || schedule == s[1] {
			its = s[0]
		}
	}
	for _, s := range webUISchedules {
		for _, option := range s {
			if before, ok := strings.CutSuffix(name, " "+option); ok {
				name, its = before, s[0]
				break
			}
		}
	}
	for _, s := range webUISamplers {
		if s[0] == name {
			return name, its
		}
	}
	return webUISamplers[0][0], its
}

// webUIDraws is the schedule that it draws with.
func webUIDraws(name, schedule string) string {
	for _, s := range webUISamplers {
		if s[0] == name && (schedule == "Automatic" || s[1] == "-") {
			schedule = s[1]
		}
	}
	if schedule == "" || schedule == "Normal" {
		return "Uniform"
	}
	return schedule
}

// Whatever AUTOMATIC1111 can draw, it makes of our parameters the same again.
func TestA1111ReadsWhatWeWrite(t *testing.T) {
	for _, s := range webUISamplers {
		for _, schedule := range webUISchedules {
			for i, rng := range []request.RNG{request.TorchRNG, request.PhiloxRNG} {
				r := request.Request{Prompt: "a, b: c", Sampler: s[0], Schedule: schedule[0], Width: 512, Height: 768, RNG: rng, Seed: 7, Steps: 12, Guidance: request.Float(1.5),
					Hires: []request.HiresPass{{Scale: 2, Sampler: s[0], Schedule: schedule[0], Upscaler: "Latent"}}}
				text := Text(resolve(t, r), "0.1.0")
				got := webUIParse(text)
				name, its := webUILookup(got["Sampler"], got["Schedule type"])
				require.Equal(t, s[0], name, text)
				require.True(t, slices.ContainsFunc(webUISchedules, func(known []string) bool { return known[0] == got["Schedule type"] }), text)
				require.Equal(t, webUIDraws(s[0], schedule[0]), webUIDraws(name, its), text)
				require.Equal(t, []string{"CPU", "NV"}[i], got["RNG"], text)
				require.Equal(t, []string{"512", "768", "7", "12", "1.5"}, []string{got["Size-1"], got["Size-2"], got["Seed"], got["Steps"], got["CFG scale"]}, text)

				// A hires pass without names of its own has those of the first.
				hires, its2 := got["Hires sampler"], got["Hires schedule type"]
				if hires == "" {
					hires = got["Sampler"]
				}
				if its2 == "" {
					its2 = got["Schedule type"]
				}
				name, its = webUILookup(hires, its2)
				require.Equal(t, s[0], name, text)
				require.Equal(t, webUIDraws(s[0], schedule[0]), webUIDraws(name, its), text)
			}
		}
	}
}

// Another sampler in the hires pass is AUTOMATIC1111's, too.
func TestA1111ReadsHiresNames(t *testing.T) {
	r := request.Request{Sampler: "heun", Schedule: "karras", Hires: []request.HiresPass{{Scale: 1.5, Sampler: "dpm++2m_sde", Schedule: "sgm_uniform"}, {Scale: 2, Sampler: "dpm2_a", Schedule: "align_your_steps_sdxl"}}}
	text := Text(resolve(t, r), "1")
	require.Contains(t, text, "Hires sampler: DPM++ 2M SDE, Hires schedule type: SGM Uniform")
	require.Contains(t, text, "Hires 2 sampler: DPM2 a, Hires 2 schedule type: Align Your Steps, Hires 2 schedule name: align_your_steps_sdxl")
	got, unread, err := ReadText(text)
	require.NoError(t, err)
	require.Empty(t, unread)
	require.NoError(t, again(got, r, resolve(t, r)))
}

// Every name of the table is one that the registry knows for the same thing.
func TestA1111NamesAreKnown(t *testing.T) {
	require.Len(t, samplerLabels(), len(webUISamplers))
	for name, label := range samplerLabels() {
		s, err := sampler.Lookup(label)
		require.NoError(t, err)
		require.Equal(t, name, s.Name)
	}
	for name, label := range scheduleLabels() {
		s, err := sampler.LookupSchedule(label)
		require.NoError(t, err)
		if name != "align_your_steps_sdxl" {
			require.Equal(t, name, s.Name)
		}
	}
}

// Values that say what is the case anyway are read, others are refused by name; eta has
// the name of the option that it is.
func TestA1111OtherSettings(t *testing.T) {
	got, unread, err := ReadText("x\nSteps: 20, Sampler: Euler, Seed: 1, Masked content: latent noise, Mask mode: Inpaint not masked, Version: v1.10.1")
	require.NoError(t, err)
	require.Equal(t, request.MaskNoise, got.MaskFill)
	require.Equal(t, []Unread{{"Mask mode", "Inpaint not masked", "must be Inpaint masked"}}, unread)

	for name, key := range map[string]string{"ddim": "Eta DDIM", "DDIM CFG++": "Eta DDIM", "Euler a": "Eta"} {
		r := request.Request{Sampler: name, SamplerOptions: options{"eta": 0.25}}
		text := Text(resolve(t, r), "1")
		require.Equal(t, "0.25", webUIParse(text)[key], text)
		got, unread, err := ReadText(text)
		require.NoError(t, err)
		require.Empty(t, unread)
		require.Equal(t, r.SamplerOptions, got.SamplerOptions, text)
	}
	got, unread, err = ReadText("x\nSteps: 20, Sampler: DDIM, Seed: 1, Eta: 0.5, Version: sdgo 0.1.0") // as before
	require.NoError(t, err)
	require.Empty(t, unread)
	require.Equal(t, options{"eta": 0.5}, got.SamplerOptions)
	_, unread, err = ReadText("x\nSteps: 20, Sampler: DDIM, Seed: 1, Eta: 0.5, Eta DDIM: 0.1, Schedule name: karras, Version: v1.10.1")
	require.NoError(t, err)
	require.Equal(t, []Unread{{"Eta DDIM", "0.1", ""}, {"Schedule name", "karras", errNoSchedule.Error()}}, unread)
}

// Both schedules that have one name there are told apart, whoever the sampler was.
func TestOwnScheduleWithoutASampler(t *testing.T) {
	for _, sampler := range []string{"", "Sampler: a sampler of another program, ", "Sampler: Euler a, "} {
		p, _, err := ReadText("x\nSteps: 20, " + sampler + "Schedule type: Align Your Steps, Seed: 1, Hires upscale: 2, Hires schedule name: align_your_steps, Schedule name: align_your_steps_sdxl, Version: sdgo 0.1.0")
		require.NoError(t, err)
		again, unread, err := ReadText(Text(p, "0.1.0"))
		require.NoError(t, err)
		require.Empty(t, unread)
		require.Equal(t, "align_your_steps_sdxl", again.Schedule)
		require.Equal(t, "align_your_steps", again.Hires[0].Schedule)
	}
}

func TestQuotedAsJSON(t *testing.T) {
	for text, want := range map[string]string{"plain": "plain", "a, b": `"a, b"`, "a: <b>\x07\u2028": `"a: <b>\u0007\u2028"`, " x": `" x"`, `"`: `"\""`, "a\nb": `"a\nb"`} {
		require.Equal(t, want, quoted(text))
		require.Equal(t, map[string]string{"Key": text}, webUIParse("Key: "+quoted(text)))
		require.Equal(t, []kv{{"Key", text}}, parseLine("Key: "+quoted(text)).settings)
	}
}

func TestSettings(t *testing.T) {
	require.Equal(t, map[string]string{"Prompt": "a fox,\nred", "Negative prompt": "blurry", "Steps": "9", "Sampler": "Euler a", "Seed": "42", "Size-1": "64", "Size-2": "32", "Model": "a, b", "Mine": "1x"},
		Settings("a fox,\nred\nNegative prompt: blurry\nSteps: 9, Sampler: Euler a, Seed: 42, Size: 64x32, Model: \"a, b\", Mine: 1x"))
	require.Equal(t, map[string]string{"Prompt": "a fox", "Negative prompt": ""}, Settings("a fox"))
	require.Empty(t, Settings(strings.Repeat("x", maxParameters+1)))
}
