package sd

import (
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/internal/checked"
	"github.com/sdgo/sdgo/sd/engine"
)

const gradientsFolder = "../testdata/gradients"

// Gradients through weights of less than float32, which kernels may multiply in fixed point,
// are those of generic kernels, which multiply in float32. (ggml's operators round numbers
// to the weights' type.)
func TestGradientsOfTypes(t *testing.T) {
	inputs := readReference(t, netsFolder, "reference.safetensors")
	c := netCase{"unet", (*Model).unet, map[string]string{"x": "unet.x", "t": "unet.t", "context": "unet.context"}, "out", "unet.out"}
	for _, typ := range []string{"f16", "bf16", "q8_0", "q4_0"} {
		var want []float32
		for _, kernels := range checked.Few(cgo.KernelNames()[1:]) {
			m := openTiny(t, "sd1.safetensors", Options{Type: typ, Kernels: kernels})
			run := netInputs(inputs, "sd1.", c)
			seed := cgo.Input{Name: "d_out", Shape: inputs.shape("sd1." + c.want), F32: make([]float32, len(inputs.f32("sd1."+c.want)))}
			for i := range seed.F32 {
				seed.F32[i] = float32(math.Cos(0.7 * float64(i)))
			}
			got := cgo.Output{Name: "d:x", Data: make([]float32, len(inputs.f32("sd1.unet.x")))}
			require.NoError(t, c.net(m).Run(t.Context(), append(run, seed), []cgo.Output{got}))
			if want == nil {
				want = got.Data
			}
			t.Logf("%s with %s: relative RMS error %.2g", typ, kernels, relativeRMS(got.Data, want))
			require.LessOrEqual(t, relativeRMS(got.Data, want), 4e-3, "%s with %s", typ, kernels)
		}
	}
}

// loraOfReference is the LoRA of testdata/gradients as changes of the UNet's weights, and the
// outputs that are its gradients.
func loraOfReference(r reference, gradients *[]cgo.Output) *engine.Adaptation {
	tensor := func(name string) convert.Tensor {
		t := r.tensor(name, "F32")
		return convert.Tensor{Name: name, Type: dtype.F32, Shape: t.Shape, Bytes: t.Data}
	}
	var changes []engine.WeightChange
	for _, name := range slices.Sorted(maps.Keys(r.tensors)) {
		if weight, ok := strings.CutSuffix(name, ".down"); ok && !strings.HasPrefix(name, "d:") {
			down, up := tensor(name), tensor(weight+".up")
			rank := int(down.Shape[0])
			changes = append(changes, engine.WeightChange{Tensor: convert.UNetPrefix + weight,
				LowRank: []engine.LowRank{{Down: down, Up: up, Rank: rank, Scale: 2 / float64(rank)}}}) // alpha is 2
		}
		if strings.HasPrefix(name, "d:") {
			*gradients = append(*gradients, cgo.Output{Name: name, Data: make([]float32, len(r.f32(name)))})
		}
	}
	return engine.NewAdaptation(changes, func() (func() error, error) { return func() error { return nil }, nil })
}

// The gradients of a LoRA, over float32 and quantized weights: PEFT's, of layers of every
// kind. What is quantized is another network; its gradients are those of generic kernels.
func TestAdapterGradientsAgreeWithPyTorch(t *testing.T) {
	inputs := readReference(t, netsFolder, "reference.safetensors")
	lora := readReference(t, gradientsFolder, "lora.safetensors")
	c := netCase{"unet", (*Model).unet, map[string]string{"x": "unet.x", "t": "unet.t", "context": "unet.context"}, "out", "unet.out"}
	seed := cgo.Input{Name: "d_out", Shape: inputs.shape("sd1.unet.out"), F32: make([]float32, len(inputs.f32("sd1.unet.out")))}
	for i := range seed.F32 {
		seed.F32[i] = float32(math.Cos(0.7 * float64(i)))
	}
	for _, typ := range []string{"f32", "q8_0"} {
		generic := map[string][]float32{}
		for _, kernels := range cgo.KernelNames() {
			if typ != "f32" && kernels == cgo.GGML { // which rounds numbers to the weights' type
				continue
			}
			m := openTiny(t, "sd1.safetensors", Options{Type: typ, Kernels: kernels})
			outputs := []cgo.Output{{Name: "out", Data: make([]float32, len(seed.F32))}}
			adaptation := loraOfReference(lora, &outputs)
			require.Len(t, outputs, 2+2*11)
			require.NoError(t, c.net(m).Run(t.Context(), append(netInputs(inputs, "sd1.", c), seed), outputs, adaptation))
			for _, o := range outputs {
				if typ == "f32" {
					requireClose(t, o.Data, lora.f32(o.Name), 1e-4, o.Name)
					continue
				}
				require.LessOrEqual(t, relativeRMS(o.Data, lora.f32(o.Name)), 0.2, "%s with %s", o.Name, kernels)
				if kernels == "generic" {
					generic[o.Name] = o.Data
				}
				require.LessOrEqual(t, relativeRMS(o.Data, generic[o.Name]), 1e-2, "%s with %s", o.Name, kernels)
			}
		}
	}
}

// gradientCases are the networks of which testdata/gradients has PyTorch's gradients, by inputs
// and weights.
func gradientCases() []netCase {
	text := func(m *Model) *engine.Network { return m.texts()[0] }
	return []netCase{
		{"unet", (*Model).unet, map[string]string{"x": "unet.x", "t": "unet.t", "context": "unet.context"}, "out", "unet.out"},
		{"odd", (*Model).unet, map[string]string{"x": "unet.odd.x", "t": "unet.t", "context": "unet.context"}, "out", "unet.odd.out"},
		{"decoder", func(m *Model) *engine.Network { return m.kl().Decoder() }, map[string]string{"z": "vae.z"}, "image", "vae.decoded"},
		{"encoder", func(m *Model) *engine.Network { return m.kl().Encoder() }, map[string]string{"image": "vae.image"}, "moments", "vae.moments"},
		{"text", text, map[string]string{"tokens": "text.tokens"}, "hidden.2", "text.hidden.2"},
	}
}

// requireGradients compares all gradients of a network; the error is that of its run.
func requireGradients(t *testing.T, m *Model, c netCase) error {
	t.Helper()
	inputs := readReference(t, netsFolder, "reference.safetensors")
	want := readReference(t, gradientsFolder, "reference.safetensors")
	run := netInputs(inputs, "sd1.", c)
	seed := make([]float32, len(inputs.f32("sd1."+c.want)))
	for i := range seed {
		seed[i] = float32(math.Cos(0.7 * float64(i)))
	}
	run = append(run, cgo.Input{Name: "d_" + c.output, Shape: inputs.shape("sd1." + c.want), F32: seed})
	var outputs []cgo.Output
	for _, name := range slices.Sorted(maps.Keys(want.tensors)) {
		if gradient, ok := strings.CutPrefix(name, c.name+"."); ok {
			outputs = append(outputs, cgo.Output{Name: gradient, Data: make([]float32, len(want.f32(name)))})
		}
	}
	require.NotEmpty(t, outputs)
	if err := c.net(m).Run(t.Context(), run, outputs); err != nil {
		return err
	}
	for _, o := range outputs {
		expected := want.f32(c.name + "." + o.Name)
		t.Logf("%s: relative RMS error %.2g", o.Name, relativeRMS(o.Data, expected))
		requireClose(t, o.Data, expected, 1e-4, o.Name)
	}
	return nil
}

func TestGradientsAgreeWithPyTorch(t *testing.T) {
	for _, c := range gradientCases() {
		for _, kernels := range checked.Few(cgo.KernelNames()) {
			t.Run(c.name+"/"+kernels, func(t *testing.T) {
				require.NoError(t, requireGradients(t, openTiny(t, "sd1.safetensors", Options{Type: "f32", Kernels: kernels}), c))
			})
		}
	}
}

// The same on a GPU. Vulkan has no derivative of an embedding, and says so.
func TestGradientsOnDevice(t *testing.T) {
	device := testDevice(t)
	for _, c := range gradientCases() {
		t.Run(c.name, func(t *testing.T) {
			err := requireGradients(t, openTiny(t, "sd1.safetensors", Options{Type: "f32", Backend: device}), c)
			if c.name == "text" && strings.HasPrefix(device, "vulkan") {
				require.ErrorContains(t, err, "does not compute GET_ROWS_BACK")
				return
			}
			require.NoError(t, err)
		})
	}
}
