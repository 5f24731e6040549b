package read

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/family"
	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/internal/fixture"
	"github.com/sdgo/sdgo/sampler"
)

// side is a tensor beside the weights, in a type that those may have been converted
// to.
func side(t *testing.T, name, word string, values []float64) safetensors.Tensor {
	t.Helper()
	typ, ok := model.TypeOf(word)
	require.True(t, ok)
	floats := make([]float32, len(values))
	for i, v := range values {
		floats[i] = float32(v)
	}
	data := make([]byte, int64(len(values))*typ.BlockBytes())
	require.NoError(t, dtype.Encode(typ, data, floats))
	return safetensors.Tensor{Name: name, DType: word, Shape: []int64{int64(len(values))}, Data: data}
}

func tinyWith(t *testing.T, metadata map[string]string, more ...safetensors.Tensor) string {
	t.Helper()
	return fixture.SaveNew(t, metadata, append(fixture.Fill(fixture.Weights(fixture.Tiny()), "F16"), more...))
}

// A noise schedule that was converted with the weights is the one that it was before.
func TestScheduleOfEveryType(t *testing.T) {
	standard, err := sampler.NewAlphasCumprod("scaled_linear", 0.00085, 0.012, 1000)
	require.NoError(t, err)
	linear, err := sampler.NewAlphasCumprod("linear", 0.0001, 0.02, 1000)
	require.NoError(t, err)
	for name, want := range map[string]sampler.AlphasCumprod{"standard": standard, "zero SNR": standard.ZeroTerminalSNR(), "linear": linear} {
		for _, word := range []string{"F32", "F64", "F16", "BF16"} {
			m := open(t, tinyWith(t, nil, side(t, model.ScheduleName, word, want)))
			require.Equal(t, name == "zero SNR", m.ZeroSNR, "%s %s", name, word)
			require.Len(t, m.AlphasCumprod, len(want))
			for i, v := range m.AlphasCumprod {
				require.InEpsilon(t, want[i], v, 1e-6, "%s %s %d", name, word, i)
			}
		}
	}
	comfy := append(sampler.AlphasCumprod(nil), standard.ZeroTerminalSNR()...)
	comfy[999] = 4.8973451890853435e-08
	for _, last := range []float64{comfy[999], 0} {
		comfy[999] = last
		m := open(t, tinyWith(t, nil, side(t, model.ScheduleName, "F32", comfy)))
		require.True(t, m.ZeroSNR)
		require.InDelta(t, last, m.AlphasCumprod[999], 1.0/(1<<24))
		_, err := sampler.NewDiscrete(m.AlphasCumprod)
		require.NoError(t, err)
	}
}

// One that is nobody's keeps its course.
func TestScheduleThatWasRounded(t *testing.T) {
	own, err := sampler.NewAlphasCumprod("linear", 0.0003, 0.017, 1000)
	require.NoError(t, err)
	for word, most := range map[string]float64{"F16": 0x1p-10, "BF16": 0x1p-7} {
		m := open(t, tinyWith(t, nil, side(t, model.ScheduleName, word, own)))
		_, err := sampler.NewDiscrete(m.AlphasCumprod)
		require.NoError(t, err, word)
		for i, v := range m.AlphasCumprod {
			require.InDelta(t, own[i], v, most, "%s %d", word, i)
		}
	}
	for _, wrong := range [][]float64{{0.5, 0.6}, {0.5, -0.1}, {1.5, 0.5}, {0.5}, {0, 0, 0, 0, 0}} {
		_, err := Open(tinyWith(t, nil, side(t, model.ScheduleName, "F16", wrong)))
		require.ErrorContains(t, err, `tensor "alphas_cumprod" must `)
	}
}

// Marks that rescale a schedule rescale the file's own, once.
func TestMarkAndSchedule(t *testing.T) {
	linear, err := sampler.NewAlphasCumprod("scaled_linear", 0.0009, 0.013, 1000)
	require.NoError(t, err)
	mark := safetensors.Tensor{Name: "ztsnr", DType: "I64", Shape: []int64{0}, Data: []byte{}}
	m := open(t, tinyWith(t, nil, side(t, model.ScheduleName, "F32", linear), mark))
	require.True(t, m.ZeroSNR)
	require.InEpsilonSlice(t, []float64(linear.ZeroTerminalSNR()), m.AlphasCumprod, 1e-6)
	require.Len(t, m.Marks, 1)
	m = open(t, tinyWith(t, nil, side(t, model.ScheduleName, "F32", linear.ZeroTerminalSNR()), mark))
	require.InEpsilonSlice(t, []float64(linear.ZeroTerminalSNR()), m.AlphasCumprod, 1e-6)

	// EDM has no timesteps: the schedule is a leftover.
	m = open(t, tinyWith(t, nil, side(t, model.ScheduleName, "F32", linear), side(t, "edm_vpred.sigma_max", "F16", []float64{120})))
	require.NotNil(t, m.EDM)
	require.Nil(t, m.AlphasCumprod)
	require.Len(t, m.Warnings, 1)
	_, err = Open(tinyWith(t, nil, side(t, "v_pred", "F32", make([]float64, 1000))))
	require.ErrorContains(t, err, `tensor "v_pred" must have at most 256 numbers`)
}

// Metadata about the process, other programs' keys among it.
func TestProcessInMetadata(t *testing.T) {
	for _, c := range []struct{ key, value, want string }{
		{"modelspec.prediction_type", "v", "v"},
		{"modelspec.prediction_type", "v_prediction", "v"},
		{"modelspec.predict_key", "v", "v"},
		{"modelspec.predict_key", "epsilon", "epsilon"},
		{"sdgo.prediction", "sample", "sample"},
	} {
		require.Equal(t, c.want, open(t, tinyWith(t, map[string]string{c.key: c.value})).Prediction, c.key)
	}
	for key, c := range map[string][2]string{
		"sdgo.zero_terminal_snr": {"yes", "must be true or false"},
		"sdgo.schedule":          {"odd", "unknown schedule"},
		"sdgo.edm.sigma_min":     {"1", "must be there together"},
		"sdgo.betas":             {"linear 1", "must be a schedule, two betas and a number of timesteps"},
		"sdgo.trained_betas":     {"0.1 2", "trained_betas: beta 1 must be at least 0 and less than 1, got 2"},
		"sdgo.vae.latents_mean":  {"1 2 3", "sdgo.vae.latents_mean must be 4 numbers"},
		"sdgo.vae.latents_std":   {"1 1 1 0", "must be numbers from 1e-06"},
		"sdgo.unet.norm_groups":  {"0", "must be a number from 1"},
	} {
		_, err := Open(tinyWith(t, map[string]string{key: c[0]}))
		require.ErrorContains(t, err, c[1], key)
	}
	_, err := Open(tinyWith(t, map[string]string{"sdgo.betas": "linear 0 0.02 1000"}))
	require.ErrorContains(t, err, "beta_schedule linear: alphas_cumprod[0] must be between 0 and 1")
}

// Python writes numbers that JSON does not have.
func TestPythonsJSON(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.json")
	require.NoError(t, os.WriteFile(path, []byte(`{"a": -Infinity, "b": [NaN, -1], "c": "NaN \" -Infinity", "d": Infinity, "e": null}`), 0o666))
	var got map[string]any
	require.NoError(t, readJSON(path, &got))
	require.Equal(t, map[string]any{"a": "-Infinity", "b": []any{"NaN", -1.0}, "c": `NaN " -Infinity`, "d": "Infinity", "e": nil}, got)
	for _, wrong := range []string{`{"a": -Inf}`, `{"a": N}`, `{"a": "x\`, `"`} {
		require.NoError(t, os.WriteFile(path, []byte(wrong), 0o666))
		require.Error(t, readJSON(path, &got))
	}
}

func FuzzPlainJSON(f *testing.F) {
	f.Add([]byte(`{"a": [-Infinity, "\\\" NaN"]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var want, got any
		if json.Unmarshal(text, &want) == nil {
			require.NoError(t, json.Unmarshal(plainJSON(text), &got))
			require.Equal(t, want, got)
		}
	})
}

// A trial that fails leaves what it was given as it was: the tokenizer's merges are
// still there when the model is complete.
func TestFailedTrialChangesNothing(t *testing.T) {
	merges := "a b\nab c</w>"
	metadata := map[string]string{model.KeyMerges: merges, "sdgo.betas": "linear 0.0001 0.02 1000"}
	var incomplete []safetensors.Tensor
	for _, x := range fixture.Fill(fixture.Weights(fixture.Tiny()), "F16") {
		if x.Name != model.VAEPrefix+"encoder.conv_in.bias" { // which is noticed last
			incomplete = append(incomplete, x)
		}
	}
	base := fixture.SaveNew(t, metadata, incomplete)
	m, err := load(base)
	require.NoError(t, err)
	defer m.Close()
	before := m.Copy()
	require.ErrorContains(t, family.Configure(m), "is missing")
	require.Equal(t, before, m)
	require.Equal(t, merges, m.Metadata[model.KeyMerges])

	whole := tinyWith(t, nil)
	got, err := Assemble(Components{Model: base, VAE: whole})
	require.NoError(t, err)
	defer got.Close()
	require.Equal(t, strings.Split(merges, "\n"), got.Merges)
	require.Len(t, got.AlphasCumprod, 1000)
}

// What a component's file says about itself wins over the model that it is put into.
func TestComponentsSpeak(t *testing.T) {
	base := tinyWith(t, map[string]string{"sdgo.prediction": "epsilon", "sdgo.unet.heads": "4", "sdgo.vae.scale_factor": "0.3", "title": "base"})
	mark := func(name string) safetensors.Tensor {
		return safetensors.Tensor{Name: name, DType: "F32", Shape: []int64{0}, Data: []byte{}}
	}
	unet := tinyWith(t, map[string]string{"sdgo.unet.head_dim": "16", "title": "unet", "ss_tag": "x"}, mark("v_pred"), mark("ztsnr"))
	m, err := Assemble(Components{Model: base, UNet: unet})
	require.NoError(t, err)
	defer m.Close()
	require.Equal(t, "v", m.Prediction)
	require.True(t, m.ZeroSNR)
	require.Equal(t, 16, fixture.Config(m).UNet.HeadDim)
	require.Equal(t, float32(0.3), fixture.Config(m).VAE.ScaleFactor)
	require.Equal(t, "base", m.Metadata["title"])
	require.Equal(t, "x", m.Metadata["ss_tag"])
	require.Len(t, m.Marks, 2)

	plain := tinyWith(t, nil)
	m, err = Assemble(Components{Model: unet, UNet: plain})
	require.NoError(t, err)
	defer m.Close()
	require.Equal(t, "v", m.Prediction, "a file that says nothing leaves all as it is")

	// One network of a folder, with its configuration beside it.
	dir := filepath.Join(t.TempDir(), "vae")
	require.NoError(t, os.CopyFS(dir, os.DirFS(fixture.Testdata(t, "nets/sd1-diffusers/vae"))))
	fixture.WriteJSON(t, dir, "config.json", map[string]any{"_class_name": "AutoencoderKL", "scaling_factor": 0.5, "shift_factor": 0.1, "new": 1})
	m, err = Assemble(Components{Model: base, VAE: dir})
	require.NoError(t, err)
	defer m.Close()
	require.Equal(t, float32(0.5), fixture.Config(m).VAE.ScaleFactor)
	require.Equal(t, float32(0.1), fixture.Config(m).VAE.Shift)
	require.Equal(t, []string{`vae/config.json: "new" = 1 is not known and was not read`}, m.Warnings)
	fixture.WriteJSON(t, dir, "config.json", map[string]any{"_class_name": "AutoencoderKL", "act_fn": "relu"})
	_, err = Assemble(Components{Model: base, VAE: dir})
	require.ErrorContains(t, err, `act_fn must be "silu" or "swish": the blocks have this activation, got "relu"`)
}
