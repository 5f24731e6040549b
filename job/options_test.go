package job

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/request"
)

// Every number that a sampler takes is a field, as far as it takes it, and no other
// number is one.
func TestNumbersOfSamplersAreFields(t *testing.T) {
	fields := map[string]Field{}
	for _, f := range Fields() {
		if f.Object != "" {
			fields[f.option()] = f
		}
	}
	taken := map[string]bool{}
	for _, s := range sampler.Samplers() {
		for _, p := range s.Parameters {
			f, ok := fields[p.Name]
			require.True(t, ok, "%s of %s must be in options.go", p.Name, s.Name)
			taken[p.Name] = true
			var r request.Request
			for _, v := range []float64{p.Min, min(p.Max, 1e6)} {
				require.NoError(t, Set(&r, f.Flag, formatNumber(v)))
				require.Equal(t, map[string]float64{p.Name: v}, r.SamplerOptions)
			}
			require.Equal(t, p.Integer, f.Kind == KindInteger)
		}
	}
	require.Len(t, taken, len(fields))
}

func TestSetNumbers(t *testing.T) {
	for _, c := range []struct{ flag, value, problem string }{
		{"eta", "0", ""},
		{"eta", "101", "must be 0 to 100, got 101"},
		{"eta", "Inf", `must be a number, got "Inf"`},
		{"s-tmax", "-1", "must be 0 or more, got -1"},
		{"order", "0", "must be 1 to 4, got 0"},
		{"order", "1.5", `must be a whole number, got "1.5"`},
		{"order", "99999999999999999999", "must be 1 to 4, got 99999999999999999999"},
		{"guidance", "", `must be a kind of guidance and its numbers, as in cfg_rescale:phi=0.7, got ""`},
		{"guidance", "apg:", `must be a kind of guidance and its numbers, as in cfg_rescale:phi=0.7, got "apg:"`},
		{"guidance", "agp", `unknown guidance "agp"; did you mean "apg"? There are cfg, cfg_rescale, apg, cfg_zero_star, dynamic_thresholding, mimic, pag, composable and instruct_pix2pix`},
		{"guidance", "composable", "composable is what AND makes of any kind of guidance: write AND between the prompts"},
		{"guidance", "apg:phi=1", "apg takes no phi; it takes momentum, norm_threshold, parallel, model_space, every, start, stop, sigma_min and sigma_max"},
		{"guidance", "cfg_rescale:phi=2,start=-1", "phi must be 0 to 1 with cfg_rescale, got 2; start must be 0 to 1 with cfg_rescale, got -1"},
		{"guidance", "cfg_rescale:phi", `must have numbers by their names, as in phi=0.7, got "phi"`},
		{"guidance", "cfg_rescale:phi=x", `phi must be a number, got "x"`},
		{"guidance", "cfg_rescale:phi=1,phi=1", "phi is there twice"},
		{"guidance", "pag:pag_scale=2, stop=0.8", ""},
		{"guidance", ":stop=0.8", ""},
	} {
		var r request.Request
		err := Set(&r, c.flag, c.value)
		if c.problem == "" {
			require.NoError(t, err, c)
			continue
		}
		require.EqualError(t, err, c.problem)
		require.NoError(t, differ(r, request.Request{}), c)
	}
}

func TestNumbersInJSON(t *testing.T) {
	r := request.Request{Sampler: "euler", SamplerOptions: options{"s_churn": 2, "s_tmin": 0.25, "s_tmax": math.Inf(1)}, Guider: "pag", GuiderOptions: options{"stop": 0.8, "pag_scale": 2}}
	data, err := Encode(r)
	require.NoError(t, err)
	require.Equal(t, `{"prompt":"","sampler":"euler","sampler_options":{"s_churn":2,"s_tmin":0.25},"guidance":"pag","guidance_options":{"pag_scale":2,"stop":0.8},"seed":0}`, string(data))
	delete(r.SamplerOptions, "s_tmax")
	for _, text := range []string{string(data), `{"sampler": "euler", "s_churn": 2, "s-tmin": 0.25, "guidance": "pag:stop=0.8,pag_scale=2"}`,
		`{"sampler": "euler", "sampler_options": {"s-churn": 2}, "s_tmin": 0.25, "guidance_options": {"stop": 0.8}, "guidance": "pag:pag_scale=2"}`} {
		got, err := Decode([]byte(text))
		require.NoError(t, err, text)
		require.NoError(t, differ(got, r), text)
	}
	for text, want := range map[string]string{
		`{"sampler_options": 3}`:                                            `sampler_options: must be an object of numbers, such as {"eta": 0.5}, got 3`,
		`{"sampler_options": {"eta": "1"}}`:                                 `sampler_options: eta must be a number, got "1"`,
		`{"sampler_options": {"eta": 101}}`:                                 `sampler_options: eta must be 0 to 100, got 101`,
		`{"sampler_options": {"beta": 1}}`:                                  `sampler_options: beta: no sampler takes it; there are eta, s_noise, s_churn, s_tmin, s_tmax, order, snr, corrections, rtol, atol`,
		`{"sampler_options": {"eta": 1}, "eta": 1}`:                         `sampler_options: eta is there twice, beside the object, too`,
		`{"guidance": "cfg_rescale:phi=1", "guidance_options": {"phi": 1}}`: `guidance_options: phi is there twice, in guidance, too`,
		`{"guidance_options": {"phi": 1}}`:                                  `guidance_options: cfg takes no phi; it takes channels, every, start, stop, sigma_min and sigma_max`,
		`{"guidance": "x", "guidance_options": {"phi": 1}}`:                 `guidance: unknown guidance "x"; did you mean "cfg"? There are cfg, cfg_rescale, apg, cfg_zero_star, dynamic_thresholding, mimic, pag, composable and instruct_pix2pix`,
		`{"guidance_options": {"stop": "1"}}`:                               `guidance_options: stop must be a number, got "1"`,
	} {
		_, err := Decode([]byte(text))
		require.EqualError(t, err, want, text)
	}
	_, err = Encode(request.Request{SamplerOptions: options{"eta": nan()}})
	require.EqualError(t, err, "SamplerOptions: must be finite numbers, got map[eta:NaN]")
}

// A job's numbers join those of the command line, unless it has another kind of
// guidance.
func TestApplyNumbers(t *testing.T) {
	r := request.Request{Guider: "cfg_rescale", GuiderOptions: options{"phi": 0.5, "stop": 1}, SamplerOptions: options{"eta": 1}}
	for text, want := range map[string]request.Request{
		`{"guidance_options": {"phi": 0.25}, "s_noise": 2}`:     {Guider: "cfg_rescale", GuiderOptions: options{"phi": 0.25, "stop": 1}, SamplerOptions: options{"eta": 1, "s_noise": 2}},
		`{"guidance": "apg", "sampler_options": {"eta": null}}`: {Guider: "apg"},
		`{"guidance_options": null, "sampler_options": null}`:   {Guider: "cfg_rescale"},
		`{"guidance": null}`: {SamplerOptions: options{"eta": 1}},
	} {
		members, err := Members([]byte(text))
		require.NoError(t, err)
		got := r
		require.NoError(t, Apply(&got, members), text)
		require.NoError(t, differ(got, want), text)
	}
	require.Equal(t, options{"phi": 0.5, "stop": 1}, r.GuiderOptions)
}

func TestNumbersInPictures(t *testing.T) {
	r := request.Request{Prompt: "x", Sampler: "heun", SamplerOptions: options{"s_churn": 0.1, "s_tmax": 5, "s_noise": 1.003}, Guider: "RescaleCFG", GuiderOptions: options{"phi": 0.1, "sigma_max": math.Inf(1), "stop": 0.75}}
	text := Text(resolve(t, r), "0.1.0")
	require.Equal(t, "x\nSteps: 20, Sampler: Heun, Schedule type: Uniform, CFG scale: 7.5, Seed: 0, Size: 512x512, Model: sd15, "+
		"Sigma noise: 1.003, Sigma churn: 0.1, Sigma tmax: 5, Guidance: cfg_rescale, Guidance options: phi=0.1 stop=0.75, RNG: CPU, Version: sdgo 0.1.0", text)
	p, unread, err := ReadText(text)
	require.NoError(t, err)
	require.Empty(t, unread)
	require.Equal(t, r.SamplerOptions, p.SamplerOptions)
	require.Equal(t, "cfg_rescale", p.Guider)
	require.Equal(t, options{"phi": 0.1, "stop": 0.75}, p.GuiderOptions)

	p, unread, err = ReadText("x\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 1, Eta: 0.3, Sigma tmin: 0.5, Guidance: 3.5, Guidance options: phi=1, Version: v1.10.1")
	require.NoError(t, err)
	require.Equal(t, options{"s_tmin": 0.5}, p.SamplerOptions)
	require.Equal(t, []Unread{{"Eta", "0.3", "euler takes no eta; it takes s_churn, s_tmin, s_tmax and s_noise"}, {"Guidance", "3.5", ""},
		{"Guidance options", "phi=1", "cfg takes no phi; it takes channels, every, start, stop, sigma_min and sigma_max"}}, unread)
	_, unread, err = ReadText("x\nSteps: 20, Sampler: Euler a, Eta: 0.3, Seed: 1, Guidance: composable, Version: v1.10.1")
	require.NoError(t, err)
	require.Equal(t, []Unread{{"Guidance", "composable", "composable is what AND makes of any kind of guidance: write AND between the prompts"}}, unread)
}

func TestBlame(t *testing.T) {
	for _, c := range []struct {
		r          request.Request
		flag, text string
	}{
		{request.Request{SamplerOptions: options{"eta": 101}}, "eta", "must be 0 to 100 with euler_a, got 101"},
		{request.Request{SamplerOptions: options{"order": 2}}, "order", "euler_a takes no order; it takes eta and s_noise"},
		{request.Request{Sampler: "euler", SamplerOptions: options{"s_tmin": 2, "s_tmax": 1}}, "s-tmin", "must be at most s_tmax, 1, with euler, got 2"},
		{request.Request{SamplerOptions: options{"beta": 2}}, "eta", "euler_a takes no beta; it takes eta and s_noise"},
		{request.Request{GuiderOptions: options{"phi": 2}}, "guidance", "cfg takes no phi; it takes channels, every, start, stop, sigma_min and sigma_max"},
		{request.Request{Steps: -1}, "steps", "must be 1 to 1000, got -1"},
	} {
		_, err := c.r.Resolve(defaults)
		var e *request.Error
		require.ErrorAs(t, err, &e)
		f, text, ok := Blame(e.Problems[0])
		require.True(t, ok)
		require.Equal(t, c.flag, f.Flag)
		require.Equal(t, c.text, text)
	}
	_, _, ok := Blame(request.Problem{Field: "Refined"})
	require.False(t, ok)
}
