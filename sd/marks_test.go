package sd

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/sampler"
)

const marksFolder = "../testdata/marks"

// trainedOtherwise is a copy of the tiny folder whose configuration files say
// something else.
func trainedOtherwise(t *testing.T, files map[string]map[string]any) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "model")
	require.NoError(t, os.CopyFS(folder, os.DirFS(filepath.Join(netsFolder, "sd1-diffusers"))))
	for part, changes := range files {
		name := filepath.Join(folder, part, map[string]string{"scheduler": "scheduler_config.json"}[part])
		if part != "scheduler" {
			name = filepath.Join(name, "config.json")
		}
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		all := map[string]any{}
		require.NoError(t, json.Unmarshal(text, &all))
		maps.Copy(all, changes)
		text, err = json.Marshal(all)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(name, text, 0o666))
	}
	return folder
}

// Models that say in their configuration files that they were trained otherwise, with
// the schedule and the guidance that they have of their own, against the diffusers
// library; and the same from single files that they were converted to.
func TestTrainedOtherwise(t *testing.T) {
	ref := readReference(t, marksFolder, "reference.safetensors")
	said := maps.Clone(ref.file.Metadata)
	q := Request{Prompt: said["prompt"], NegativePrompt: said["negative"], Width: 64, Height: 64, Sampler: "euler", Seed: 42, Guidance: Float(2)}
	for _, key := range []string{"prompt", "negative", "format"} {
		delete(said, key)
	}
	require.Len(t, said, 9)
	for _, name := range slices.Sorted(maps.Keys(said)) {
		t.Run(name, func(t *testing.T) {
			var c struct {
				Steps                int
				Scheduler, UNet, VAE map[string]any
			}
			require.NoError(t, json.Unmarshal([]byte(said[name]), &c))
			q := q
			q.Steps = c.Steps
			folder := trainedOtherwise(t, map[string]map[string]any{"scheduler": c.Scheduler, "unet": c.UNet, "vae": c.VAE})
			first := pictureOf(t, folder, q)
			requirePixels(t, first.Image, ref.tensor(name+".pixels", "U8").Data, 2)

			source, err := convert.Load(folder)
			require.NoError(t, err)
			defer source.Close()
			for _, o := range []convert.Options{{Type: dtype.F32, Safetensors: true}, {Type: dtype.F32}} {
				path := filepath.Join(t.TempDir(), "converted")
				require.NoError(t, convert.Convert(t.Context(), source, path, o))
				require.Equal(t, first.Image.Pix, pictureOf(t, path, q).Image.Pix, "GGUF %v", !o.Safetensors)
			}
		})
	}
}

// pictureOf opens a model and draws one picture.
func pictureOf(t *testing.T, path string, q Request) *Image {
	t.Helper()
	m, err := Open(path, Options{Type: "f32"})
	require.NoError(t, err)
	defer m.Close()
	r, err := m.Generate(context.Background(), q)
	require.NoError(t, err)
	return &r.Images[0]
}

// A file that says nothing and a request that asks for zero terminal SNR make the
// picture of one that says it, with its schedule and guidance; its parameters make it
// again. Each of them can be chosen.
func TestZeroSNRRequest(t *testing.T) {
	q := Request{Prompt: "a red apple", Width: 64, Height: 64, Sampler: "euler", Steps: 3, Seed: 1}
	scheduler := map[string]any{"prediction_type": "v_prediction"}
	plain := trainedOtherwise(t, map[string]map[string]any{"scheduler": scheduler})
	asked := q
	asked.ZeroSNR = true
	got := pictureOf(t, plain, asked)
	require.Equal(t, "trailing", got.Params.Schedule)
	require.Equal(t, "cfg_rescale", got.Params.Guider)
	require.True(t, got.Params.ZeroSNR)
	require.Equal(t, got.Image.Pix, pictureOf(t, plain, got.Params.Request).Image.Pix)

	scheduler["rescale_betas_zero_snr"] = true
	marked := trainedOtherwise(t, map[string]map[string]any{"scheduler": scheduler})
	require.Equal(t, got.Image.Pix, pictureOf(t, marked, q).Image.Pix)
	require.Equal(t, got.Image.Pix, pictureOf(t, marked, asked).Image.Pix, "twice is once")

	require.NotEqual(t, got.Image.Pix, pictureOf(t, plain, q).Image.Pix)
	chosen := q
	chosen.Guider, chosen.Schedule = "cfg", "discrete"
	own := pictureOf(t, marked, chosen)
	require.Equal(t, "cfg", own.Params.Guider, "the parameters say it, as the model has another")
	require.Equal(t, own.Image.Pix, pictureOf(t, marked, own.Params.Request).Image.Pix)
	require.NotEqual(t, got.Image.Pix, own.Image.Pix)

	edm := trainedOtherwise(t, map[string]map[string]any{"scheduler": {"_class_name": "EDMEulerScheduler"}})
	m, err := Open(edm, Options{})
	require.NoError(t, err)
	defer m.Close()
	_, err = m.Generate(context.Background(), asked)
	require.ErrorContains(t, err, "ZeroSNR: zero terminal SNR needs a model with timesteps")
	_, err = Open(edm, Options{Prediction: "sample"})
	require.ErrorContains(t, err, "prediction sample: prediction of a process of kind edm must be edm or v")
}

// A folder of SDXL that does not replace the encoding of an empty negative prompt by
// zeros, and what it is converted to.
func TestEmptyNegativePrompt(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "xl")
	require.NoError(t, os.CopyFS(folder, os.DirFS("../testdata/xl/base-diffusers")))
	q := Request{Prompt: "a red apple", Width: 64, Height: 64, Sampler: "euler", Steps: 2, Seed: 1}
	zeros := pictureOf(t, folder, q)
	index := filepath.Join(folder, "model_index.json")
	text, err := os.ReadFile(index)
	require.NoError(t, err)
	text = []byte(strings.Replace(string(text), `"force_zeros_for_empty_prompt": true`, `"force_zeros_for_empty_prompt": false`, 1))
	require.NoError(t, os.WriteFile(index, text, 0o666))
	encoded := pictureOf(t, folder, q)
	require.NotEqual(t, zeros.Image.Pix, encoded.Image.Pix)
	source, err := convert.Load(folder)
	require.NoError(t, err)
	defer source.Close()
	path := filepath.Join(t.TempDir(), "x.gguf")
	require.NoError(t, convert.Convert(t.Context(), source, path, convert.Options{Type: dtype.F32}))
	require.Equal(t, encoded.Image.Pix, pictureOf(t, path, q).Image.Pix)
}

// Marks of single files of SDXL: v_pred and ztsnr, and those of EDM.
func TestMarkedFiles(t *testing.T) {
	data, err := os.ReadFile("../testdata/xl/base.safetensors")
	require.NoError(t, err)
	file, err := safetensors.Parse(data)
	require.NoError(t, err)
	q := Request{Prompt: "a red apple", Width: 64, Height: 64, Sampler: "euler", Steps: 3, Seed: 1}
	with := func(marks ...safetensors.Tensor) *Model {
		path := filepath.Join(t.TempDir(), "x.safetensors")
		f, err := os.Create(path)
		require.NoError(t, err)
		require.NoError(t, safetensors.Write(f, file.Metadata, append(slices.Clip(file.Tensors), marks...)))
		require.NoError(t, f.Close())
		m, err := Open(path, Options{})
		require.NoError(t, err)
		t.Cleanup(func() { m.Close() })
		return m
	}
	empty := func(name string) safetensors.Tensor {
		return safetensors.Tensor{Name: name, DType: "F32", Shape: []int64{0}, Data: []byte{}}
	}
	numbers := func(name string, values ...float32) safetensors.Tensor {
		b := make([]byte, 4*len(values))
		require.NoError(t, dtype.Encode(dtype.F32, b, values))
		return safetensors.Tensor{Name: name, DType: "F32", Shape: []int64{int64(len(values))}, Data: b}
	}
	draw := func(m *Model, q Request) []byte {
		r, err := m.Generate(context.Background(), q)
		require.NoError(t, err)
		return r.Images[0].Image.Pix
	}
	alphas := sampler.AlphasCumprod{}
	for _, sigma := range sampler.StableDiffusion().Levels() {
		alphas = append(alphas, 1/(1+sigma*sigma))
	}
	zero := make([]float32, len(alphas))
	for i, a := range alphas.ZeroTerminalSNR() {
		zero[i] = float32(a)
	}
	v := empty("v_pred")
	marked := draw(with(v, empty("ztsnr")), q)
	unmarked := draw(with(v), q)
	require.NotEqual(t, marked, unmarked)
	for i, pix := range draw(with(v, numbers("alphas_cumprod", zero...)), q) {
		require.InDelta(t, pix, marked[i], 2)
	}

	edm := with(v, numbers("edm_vpred.sigma_max", 120), numbers("edm_vpred.sigma_min", 0.002)).host().Weights
	require.Equal(t, &convert.EDM{SigmaMin: 0.002, SigmaMax: 120, SigmaData: 1}, edm.EDM)
	require.Equal(t, "v", edm.Prediction)
	playground := with(numbers("edm_mean", -1.6574, 1.886, -1.383, 2.5155), numbers("edm_std", 8.4927, 5.9022, 6.5498, 5.2299))
	require.Equal(t, &convert.EDM{SigmaMin: 0.002, SigmaMax: 80, SigmaData: 0.5}, playground.host().Weights.EDM)
	require.Equal(t, "karras", playground.pipeline.Defaults.Schedule)
	require.NotEqual(t, draw(with(), q), draw(playground, q))
}
