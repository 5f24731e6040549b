package family

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every field of the library's networks without text is in the table, and the table has
// no others.
func TestEveryFieldOfPixelNetworksIsInTheTable(t *testing.T) {
	all := readConfigs(t)
	for _, test := range []struct {
		in     place
		table  []mark
		fields Object
	}{{inUNet, pixelUNetMarks, all.UNet2D}, {inTransformer, ditMarks, all.DiT}, {inVQ, vqMarks, all.VQ}, {inVAE, vqMarks, all.VQ},
		{inScheduler, consistencyMarks, all.Scheduler["CMStochasticIterativeScheduler"]}, {inScheduler, veMarks, all.Scheduler["ScoreSdeVeScheduler"]}} {
		require.Greater(t, len(test.fields), 4, test.in)
		for name := range test.fields {
			require.NotNil(t, lookMarkIn(test.table, test.in, name), "%s: %s", test.in, name)
		}
		for _, m := range test.table {
			if m.in == test.in {
				require.Contains(t, test.fields, m.name)
				require.Equal(t, m.verdict == only, m.values != nil, m.name)
				require.Equal(t, m.verdict == harmless || m.verdict == only, m.why != "", m.name)
			}
		}
	}
	for class, kind := range schedulers { // whose fields the common table has
		for name := range all.Scheduler[class] {
			if !kind.edm {
				require.NotNil(t, lookMarkIn(slices.Concat(pixelSchedulerMarks, marks), inScheduler, name), name)
			}
		}
	}
}

// What configuration files of models without text may not say.
func TestPixelConfigsAreRefused(t *testing.T) {
	for _, test := range []struct {
		in     place
		config string
		want   string
	}{
		{inUNet, `{"_class_name":"UNet2DModel","act_fn":"gelu"}`, `unet/config.json: act_fn must be "silu" or "swish"`},
		{inUNet, `{"_class_name":"UNet2DModel","down_block_types":["DownBlock2D","KDownBlock2D"]}`, `down_block_types must be "DownBlock2D" or`},
		{inUNet, `{"_class_name":"UNet2DModel","class_embed_type":"timestep"}`, "class_embed_type must be null"},
		{inUNet, `{"_class_name":"UNet2DModel","freq_shift":0.5}`, "freq_shift must be 0 or 1"},
		{inUNet, `{"_class_name":"UNet2DModel","mid_block_scale_factor":1.5}`, "mid_block_scale_factor must be 1 without skip blocks"},
		{inUNet, `{"_class_name":"UNet2DModel","norm_num_groups":null}`, "norm_num_groups must be a number without skip blocks"},
		{inUNet, `{"_class_name":"UNet2DModel","attn_norm_num_groups":8}`, "attn_norm_num_groups must be null or norm_num_groups, 32"},
		{inUNet, `{"_class_name":"UNet2DModel","attention_head_dim":[8,8]}`, "attention_head_dim must be a number"},
		{inUNet, `{"_class_name":"UNet1DModel"}`, `_class_name must be UNet2DModel, got "UNet1DModel"`},
		{inTransformer, `{"_class_name":"DiTTransformer2DModel","norm_type":"layer_norm"}`, `norm_type must be "ada_norm_zero"`},
		{inVQ, `{"_class_name":"VQModel","norm_type":"spatial"}`, `vqvae/config.json: norm_type must be "group"`},
		{inVAE, `{"_class_name":"AutoencoderTiny"}`, `_class_name must be VQModel`},
		{inScheduler, `{"_class_name":"DDPMScheduler","variance_type":"learned"}`, "variance_type must be null or"},
		{inScheduler, `{"_class_name":"DDPMScheduler","thresholding":true}`, "thresholding must be false"},
		{inScheduler, `{"_class_name":"DDPMScheduler","clip_sample_range":2}`, "clip_sample_range must be 1"},
		{inScheduler, `{"_class_name":"DDIMScheduler","rescale_betas_zero_snr":true}`, "rescale_betas_zero_snr must be false"},
		{inScheduler, `{"_class_name":"DDPMScheduler","prediction_type":"flow"}`, "prediction_type must be epsilon, v_prediction or sample"},
		{inScheduler, `{"_class_name":"CMStochasticIterativeScheduler","rho":5}`, "rho must be 7"},
		{inScheduler, `{"_class_name":"EDMEulerScheduler"}`, "_class_name must be a scheduler of diffusers with betas, such as DDPMScheduler, or CMStochasticIterativeScheduler"},
		{inScheduler, `{"_class_name":"FlowMatchEulerDiscreteScheduler"}`, `got "FlowMatchEulerDiscreteScheduler"`},
	} {
		var fields Object
		require.NoError(t, json.Unmarshal([]byte(test.config), &fields))
		_, err := readPixelConfig(test.in, fields, map[string]string{})
		require.ErrorContains(t, err, test.want, test.config)
	}
	warnings, err := readPixelConfig(inUNet, Object{"_class_name": []byte(`"UNet2DModel"`), "new_field": []byte("3")}, map[string]string{})
	require.NoError(t, err)
	require.Equal(t, []string{`unet/config.json: "new_field" = 3 is not known and was not read`}, warnings)
}

// What a file leaves out has its class's default.
func TestPixelConfigDefaults(t *testing.T) {
	said := map[string]string{}
	for in, class := range map[place]string{inUNet: "UNet2DModel", inScheduler: "DDPMScheduler"} {
		_, err := readPixelConfig(in, Object{"_class_name": []byte(`"` + class + `"`)}, said)
		require.NoError(t, err)
	}
	want := map[string]string{"time_sines_first": "0", "time_shift": "0", "norm_eps": "1e-05", "attention_norm_eps": "1e-05", "pad_end": "0", "center": "0",
		"norm_groups": "32", "heads": "0", "head_dim": "8", "process": "ddpm", "prediction": "epsilon", "variance": "fixed_small", "clip": "1",
		"betas": "linear", "beta_start": "0.0001", "beta_end": "0.02", "steps": "1000"}
	require.Len(t, said, len(want))
	for key, value := range want {
		require.Equal(t, value, said[pixelKey+key], key)
	}
}

// What a scheduler says of its timesteps chooses the schedule of a run that names none.
func TestPixelSchedules(t *testing.T) {
	for fields, want := range map[string]string{
		``:                               "",
		`,"timestep_spacing":"linspace"`: "respaced",
		`,"timestep_spacing":"leading"`:  "leading_zero",
		`,"timestep_spacing":"leading","steps_offset":1`: "ddim_uniform",
		`,"timestep_spacing":"trailing"`:                 "trailing",
		`,"use_karras_sigmas":true`:                      "karras",
	} {
		var o Object
		require.NoError(t, json.Unmarshal([]byte(`{"_class_name":"DDPMScheduler"`+fields+`}`), &o))
		said := map[string]string{}
		_, err := readPixelConfig(inScheduler, o, said)
		require.NoError(t, err)
		require.Equal(t, want, said[pixelSchedule], fields)
	}
}
