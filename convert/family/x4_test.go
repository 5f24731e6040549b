package family

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/model"
)

// The UNet of the x4 upscaler is read off its shapes, and what lacks a part of it is refused.
func TestUNetThatEnlargesByText(t *testing.T) {
	want := UNetConfig{InChannels: 7, OutChannels: 4, ModelChannels: 256, ChannelMult: []int{1, 2, 2, 4}, NumResBlocks: 2, TransformerDepth: []int{0, 1, 1, 1},
		MiddleDepth: 1, ContextDim: 1024, LinearProjection: true, Classes: 1000, CrossOnly: []bool{false, true, true, false}}
	m := &model.Model{}
	for _, w := range want.Weights() {
		m.Add(model.Tensor{Name: w.Name, Shape: w.Shape})
	}
	r := &Reader{Model: m}
	got := r.UNet()
	require.NoError(t, r.err)
	require.Equal(t, want, got)
	c := &StableDiffusion{}
	c.readUNet(r)
	require.NoError(t, r.err)
	require.Equal(t, "upscale", c.Variant)

	for i, x := range m.Tensors { // without its levels of noise
		if x.Name == model.UNetPrefix+"label_emb.weight" {
			m.Tensors[i].Name = "other"
		}
	}
	r = &Reader{Model: rebuilt(m)}
	(&StableDiffusion{}).readUNet(r)
	require.ErrorContains(t, r.err, "a UNet with 7 input and 4 output channels and 0 levels of noise")
}

func rebuilt(m *model.Model) *model.Model {
	out := &model.Model{}
	for _, x := range m.Tensors {
		out.Add(x)
	}
	return out
}

// What a folder says of the levels that attend to the text alone must fit the shapes; where the
// text is as wide as a level it decides.
func TestLevelsThatAttendToTheTextAlone(t *testing.T) {
	of := func(text string) (UNetConfig, error) {
		u := UNetConfig{ModelChannels: 16, ChannelMult: []int{1, 2, 4}, TransformerDepth: []int{0, 1, 1}, ContextDim: 64, CrossOnly: []bool{false, true, false}}
		r := &Reader{Model: &model.Model{Metadata: map[string]string{keyOnlyCross: text}}}
		onlyCross(r, &u)
		return u, r.err
	}
	for text, want := range map[string][]bool{"1 1 0": {false, true, false}, "0 1 1": {false, true, true}} {
		u, err := of(text)
		require.NoError(t, err, text)
		require.Equal(t, want, u.CrossOnly, text)
	}
	for text, want := range map[string]string{"1 0 0": "does not fit the shapes of level 1", "1 1": "for each of 3 levels", "a b c": "must be 0 or 1"} {
		_, err := of(text)
		require.ErrorContains(t, err, want, text)
	}
}

// The scheduler of the small picture's noise: its betas are followed, another kind is refused.
func TestLowScheduler(t *testing.T) {
	for text, want := range map[string]string{
		`{"_class_name": "DDPMScheduler"}`: "linear 0.0001 0.02 1000",
		`{"_class_name": "DDPMScheduler", "beta_schedule": "scaled_linear", "prediction_type": "v_prediction", "variance_type": "learned"}`: "scaled_linear 0.0001 0.02 1000",
		`{"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}`:                                                      "scaled_linear 0.00085 0.012 1000",
	} {
		var fields Object
		require.NoError(t, json.Unmarshal([]byte(text), &fields))
		said := map[string]string{}
		unknown, err := readConfig(inLowScheduler, fields, said)
		require.NoError(t, err)
		require.Empty(t, unknown)
		require.Equal(t, map[string]string{keyLowBetas: want}, said)
	}
	for text, want := range map[string]string{
		`{"_class_name": "EulerDiscreteScheduler"}`:                              "_class_name must be DDPMScheduler",
		`{"rescale_betas_zero_snr": true}`:                                       "rescale_betas_zero_snr must be false",
		`{"beta_start": "x"}`:                                                    "beta_start must be a number",
		`{"trained_betas": [0.1, null]}`:                                         "trained_betas must be a list of numbers",
		`{"_class_name": "DDPMScheduler", "num_train_timesteps": 1, "other": 3}`: "num_train_timesteps must be a number from 2",
	} {
		var fields Object
		require.NoError(t, json.Unmarshal([]byte(text), &fields))
		_, err := readConfig(inLowScheduler, fields, map[string]string{})
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "low_res_scheduler/scheduler_config.json: ")
	}
}
