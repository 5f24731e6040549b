package family

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/model"
)

// configs is what the diffusers library reads from configuration files
// (testdata/convert/configs.py).
type configs struct {
	UNet, VAE, UNet2D, DiT, VQ Object
	Scheduler                  map[string]Object
}

func readConfigs(t *testing.T) (c configs) {
	t.Helper()
	text, err := os.ReadFile("../../testdata/convert/configs.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &c))
	require.Greater(t, len(c.UNet), 40)
	require.Greater(t, len(c.VAE), 15)
	require.Greater(t, len(c.Scheduler), 45)
	return c
}

// Every field of the library's schedulers, UNet2DConditionModel and AutoencoderKL is
// in the table, and every class of schedulers is followed or refused by its name.
func TestEveryFieldIsInTheTable(t *testing.T) {
	all := readConfigs(t)
	known := map[string]bool{}
	walk := func(in place, class string, fields Object) {
		for name := range fields {
			require.NotNil(t, lookMark(in, name), "%s of %s: %s is not in the table", name, class, in)
			known[string(in)+name] = true
		}
	}
	walk(inUNet, "UNet2DConditionModel", all.UNet)
	walk(inVAE, "AutoencoderKL", all.VAE)
	refused := 0
	for class, fields := range all.Scheduler {
		kind, ok := schedulers[class]
		if ok {
			walk(inScheduler, class, fields)
			requireDefaults(t, class, kind, fields)
			continue
		}
		refused++
		_, err := readConfig(inScheduler, Object{"_class_name": []byte(`"` + class + `"`)}, map[string]string{})
		require.ErrorContains(t, err, "scheduler/scheduler_config.json: _class_name must be a scheduler of diffusers with betas, such as EulerDiscreteScheduler, or ")
		require.ErrorContains(t, err, `got "`+class+`"`)
	}
	require.Equal(t, len(all.Scheduler), refused+len(schedulers), "classes that the library does not have")
	for _, m := range marks { // nor fields
		if m.in == inUNet || m.in == inVAE || m.in == inScheduler {
			require.True(t, known[string(m.in)+m.name], "%s: %s", m.in, m.name)
		}
		require.Equal(t, m.verdict == only, m.values != nil, m.name)
		require.Equal(t, m.verdict == harmless || m.verdict == only, m.why != "", m.name)
	}
}

// requireDefaults requires that what a file of a class leaves out is what the class
// has.
func requireDefaults(t *testing.T, class string, kind scheduler, fields Object) {
	t.Helper()
	if kind.edm {
		said := map[string]string{}
		_, err := readConfig(inScheduler, Object{"_class_name": []byte(`"` + class + `"`)}, said)
		require.NoError(t, err)
		require.Equal(t, map[string]string{keyPrediction: "epsilon", keySchedule: "karras", keyEDMMin: "0.002", keyEDMMax: "80", keyEDMData: "0.5"}, said)
		require.Equal(t, `0.002 80.0 0.5 "karras"`, fmt.Sprintf("%s %s %s %s", fields["sigma_min"], fields["sigma_max"], fields["sigma_data"], fields["sigma_schedule"]))
		return
	}
	require.Equal(t, fmt.Sprintf("%q %v %v 1000", kind.betas, kind.start, kind.end),
		fmt.Sprintf("%s %s %s %s", fields["beta_schedule"], fields["beta_start"], fields["beta_end"], fields["num_train_timesteps"]), class)
}

// The library's own defaults are read without an error, and of those that have only
// some values any other is refused with the field's name and the value.
func TestFieldsAreRefusedByName(t *testing.T) {
	all := readConfigs(t)
	for _, c := range []struct {
		in     place
		class  string
		fields Object
	}{
		{inUNet, "UNet2DConditionModel", all.UNet}, {inVAE, "AutoencoderKL", all.VAE},
		{inScheduler, "DPMSolverMultistepScheduler", all.Scheduler["DPMSolverMultistepScheduler"]},
		{inScheduler, "EulerDiscreteScheduler", all.Scheduler["EulerDiscreteScheduler"]},
		{inScheduler, "EDMEulerScheduler", all.Scheduler["EDMEulerScheduler"]},
		{inScheduler, "LCMScheduler", all.Scheduler["LCMScheduler"]},
	} {
		fields := maps.Clone(c.fields)
		fields["_class_name"] = []byte(`"` + c.class + `"`)
		if fields["lambda_min_clipped"] != nil {
			fields["lambda_min_clipped"] = []byte(`"-Infinity"`) // as files have it
		}
		warnings, err := readConfig(c.in, fields, map[string]string{})
		require.NoError(t, err, c.class)
		require.Empty(t, warnings)
		for name := range c.fields {
			m := lookMark(c.in, name)
			if m.verdict != only {
				continue
			}
			for _, wrong := range []string{`"odd"`, `17.5`, `["odd"]`, `{"a": 1}`, `[[true]]`} {
				other := maps.Clone(fields)
				other[name] = []byte(wrong)
				_, err := readConfig(c.in, other, map[string]string{})
				require.ErrorContains(t, err, fmt.Sprintf("%s: %s must be ", c.in, name))
				require.ErrorContains(t, err, ", got "+wrong)
			}
		}
	}
}

// What is followed changes what is said of the model.
func TestFieldsAreFollowed(t *testing.T) {
	values := map[place]map[string]string{
		inUNet: {"sample_size": "[48, 64]", "attention_head_dim": "[5, 10]", "num_attention_heads": "4", "norm_num_groups": "16", "norm_eps": "1e-6",
			"only_cross_attention": "[true, false]"},
		inVAE: {"scaling_factor": "0.5", "shift_factor": "0.1", "latents_mean": "[1, 2, 3, 4]", "latents_std": "[1, 2, 3, 4]", "norm_num_groups": "8"},
		inScheduler: {"num_train_timesteps": "500", "beta_start": "0.002", "beta_end": "0.03", "beta_schedule": `"sigmoid"`, "trained_betas": "[0.1, 0.2]",
			"prediction_type": `"sample"`, "rescale_betas_zero_snr": "true", "timestep_spacing": `"trailing"`, "steps_offset": "1", "use_karras_sigmas": "true",
			"use_exponential_sigmas": "true", "use_beta_sigmas": "true", "sigma_min": "0.1", "sigma_max": "100", "sigma_data": "1", "sigma_schedule": `"exponential"`},
	}
	for _, m := range marks {
		if m.verdict != followed || m.in == inTensors || m.in == inMetadata || m.in == inPipeline {
			continue
		}
		value, ok := values[m.in][m.name]
		require.True(t, ok, "%s: %s has no value in the test", m.in, m.name)
		base := Object{}
		switch m.name {
		case "sigma_min", "sigma_max", "sigma_data", "sigma_schedule":
			base["_class_name"] = []byte(`"EDMEulerScheduler"`)
		case "steps_offset":
			base["timestep_spacing"] = []byte(`"leading"`)
		case "latents_mean", "latents_std":
			base["latents_mean"], base["latents_std"] = []byte("[0, 0, 0, 0]"), []byte("[1, 1, 1, 1]")
		}
		before, after := map[string]string{}, map[string]string{}
		_, err := readConfig(m.in, base, before)
		require.NoError(t, err)
		with := maps.Clone(base)
		with[m.name] = []byte(value)
		_, err = readConfig(m.in, with, after)
		require.NoError(t, err, m.name)
		require.NotEqual(t, before, after, m.name)
		for _, wrong := range []string{`{"a": 1}`, `[null]`, `1e300`, `["x"]`} {
			with[m.name] = []byte(wrong)
			_, err = readConfig(m.in, with, map[string]string{})
			require.ErrorContains(t, err, string(m.in)+": ", "%s = %s", m.name, wrong)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	for text, want := range map[string]string{
		`{"prediction_type": "flow_prediction"}`:                                        "prediction_type must be epsilon, v_prediction or sample",
		`{"timestep_spacing": "odd"}`:                                                   "timestep_spacing must be linspace, leading or trailing",
		`{"timestep_spacing": "leading", "steps_offset": 3}`:                            "steps_offset must be 0 or 1",
		`{"use_karras_sigmas": true, "use_beta_sigmas": true}`:                          "use_karras_sigmas must be false beside use_beta_sigmas",
		`{"_class_name": "EulerDiscreteScheduler", "sigma_max": 10}`:                    "sigma_max must be null",
		`{"_class_name": "EDMEulerScheduler", "prediction_type": "sample"}`:             "prediction_type must be epsilon or v_prediction",
		`{"_class_name": "EDMEulerScheduler", "sigma_schedule": "odd"}`:                 "sigma_schedule must be karras or exponential",
		`{"_class_name": "FlowMatchEulerDiscreteScheduler"}`:                            "_class_name must be a scheduler of diffusers with betas",
		`{"_class_name": "UniPCMultistepScheduler", "use_flow_sigmas": true}`:           "use_flow_sigmas must be false",
		`{"_class_name": "DDPMScheduler", "variance_type": "learned_range"}`:            `variance_type must be null or "fixed_small"`,
		`{"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -5.1}`:    `lambda_min_clipped must be "-Infinity"`,
		`{"_class_name": "DPMSolverSinglestepScheduler", "final_sigmas_type": "sigma"}`: `final_sigmas_type must be "zero": all schedules end at 0, got "sigma"`,
	} {
		var fields Object
		require.NoError(t, json.Unmarshal([]byte(text), &fields))
		_, err := readConfig(inScheduler, fields, map[string]string{})
		require.ErrorContains(t, err, "scheduler/scheduler_config.json: "+want)
	}
	for text, want := range map[string]string{
		`{"_class_name": "AsymmetricAutoencoderKL"}`: `_class_name must be AutoencoderKL, got "AsymmetricAutoencoderKL"`,
		`{"latents_mean": [1]}`:                      "latents_mean must be there with latents_std",
		`{"norm_num_groups": null}`:                  "norm_num_groups must be a number",
	} {
		var fields Object
		require.NoError(t, json.Unmarshal([]byte(text), &fields))
		_, err := readConfig(inVAE, fields, map[string]string{})
		require.ErrorContains(t, err, "vae/config.json: "+want)
	}
}

// A field that no version of the library had yet is no error, but is said; unless it
// is switched off.
func TestUnknownFields(t *testing.T) {
	fields := Object{"_diffusers_version": []byte(`"9"`), "new": []byte(`"x"`), "off": []byte("false"), "none": []byte("null")}
	warnings, err := readConfig(inUNet, fields, map[string]string{})
	require.NoError(t, err)
	require.Equal(t, []string{`unet/config.json: "new" = "x" is not known and was not read`}, warnings)
}

// A scheduler's class says what its file leaves out. Without one, nothing is said.
func TestBetasOfClasses(t *testing.T) {
	for text, want := range map[string]string{
		`{}`:                                       "",
		`{"_class_name": "DDIMScheduler"}`:         "linear 0.0001 0.02 1000",
		`{"_class_name": "FlaxDDIMScheduler"}`:     "linear 0.0001 0.02 1000",
		`{"_class_name": "LCMScheduler"}`:          "",
		`{"_class_name": "HeunDiscreteScheduler"}`: "linear 0.00085 0.012 1000",
		`{"_class_name": "DDIMScheduler", "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}`: "",
		`{"beta_schedule": "linear", "num_train_timesteps": 100}`:                                                      "linear 0.00085 0.012 100",
	} {
		var fields Object
		require.NoError(t, json.Unmarshal([]byte(text), &fields))
		said := map[string]string{}
		_, err := readConfig(inScheduler, fields, said)
		require.NoError(t, err)
		require.Equal(t, want, said[keyBetas], text)
	}
}

// What marks say, which is ComfyUI's order where they contradict each other.
func TestSaidByMarks(t *testing.T) {
	numbers := func(name string, values ...float32) model.Tensor {
		return NumberMark(name, []int64{int64(len(values))}, values...)
	}
	v, zero := emptyMark(markV), emptyMark(markZeroSNR)
	mean, std := numbers(markEDMMean, 1, 2), numbers(markEDMStd, 3, 4)
	for _, c := range []struct {
		marks []model.Tensor
		want  string
	}{
		{nil, ""},
		{[]model.Tensor{v}, "sdgo.prediction=v"},
		{[]model.Tensor{numbers(markV, 0), zero}, "sdgo.prediction=v sdgo.zero_terminal_snr=true"},
		{[]model.Tensor{zero}, "sdgo.zero_terminal_snr=true"},
		{[]model.Tensor{v, numbers(markVMax, 100)}, "sdgo.edm.sigma_data=1 sdgo.edm.sigma_max=100 sdgo.edm.sigma_min=0.002 sdgo.prediction=v sdgo.schedule=karras"},
		{[]model.Tensor{v, zero, mean, std}, "sdgo.edm.sigma_data=0.5 sdgo.edm.sigma_max=80 sdgo.edm.sigma_min=0.002 sdgo.prediction=epsilon sdgo.schedule=karras " +
			"sdgo.vae.latents_mean=1 2 sdgo.vae.latents_std=3 4 sdgo.vae.scale_factor=0.5"},
	} {
		said, err := SaidByMarks(c.marks)
		require.NoError(t, err)
		var words []string
		for _, key := range slices.Sorted(maps.Keys(said)) {
			words = append(words, key+"="+said[key])
		}
		require.Equal(t, c.want, strings.Join(words, " "))
	}
	for _, c := range []struct {
		marks []model.Tensor
		want  string
	}{
		{[]model.Tensor{mean}, `tensors "edm_mean" and "edm_std" must be there together`},
		{[]model.Tensor{mean, numbers(markEDMStd, 1)}, "a number for each channel of the latents, got 2 and 1"},
		{[]model.Tensor{emptyMark(markEDMMean), emptyMark(markEDMStd)}, "got 0 and 0"},
		{[]model.Tensor{numbers(markVMin, 1)}, `tensor "edm_vpred.sigma_min" needs "edm_vpred.sigma_max" beside it`},
		{[]model.Tensor{emptyMark(markVMax)}, "must have one number, got 0 and 1"},
	} {
		_, err := SaidByMarks(c.marks)
		require.ErrorContains(t, err, c.want)
	}
}
