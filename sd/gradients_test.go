package sd

import (
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
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
		for _, kernels := range cgo.KernelNames()[1:] {
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

// testdata/gradients has PyTorch's gradients of whole networks, by inputs and weights.
func TestGradientsAgreeWithPyTorch(t *testing.T) {
	inputs := readReference(t, netsFolder, "reference.safetensors")
	want := readReference(t, gradientsFolder, "reference.safetensors")
	text := func(m *Model) *engine.Network { return m.texts()[0] }
	for _, c := range []netCase{
		{"unet", (*Model).unet, map[string]string{"x": "unet.x", "t": "unet.t", "context": "unet.context"}, "out", "unet.out"},
		{"odd", (*Model).unet, map[string]string{"x": "unet.odd.x", "t": "unet.t", "context": "unet.context"}, "out", "unet.odd.out"},
		{"decoder", func(m *Model) *engine.Network { return m.kl().Decoder() }, map[string]string{"z": "vae.z"}, "image", "vae.decoded"},
		{"encoder", func(m *Model) *engine.Network { return m.kl().Encoder() }, map[string]string{"image": "vae.image"}, "moments", "vae.moments"},
		{"text", text, map[string]string{"tokens": "text.tokens"}, "hidden.2", "text.hidden.2"},
	} {
		for _, kernels := range cgo.KernelNames() {
			t.Run(c.name+"/"+kernels, func(t *testing.T) {
				m := openTiny(t, "sd1.safetensors", Options{Type: "f32", Kernels: kernels})
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
				net := c.net(m)
				require.NoError(t, net.Run(t.Context(), run, outputs))
				for _, o := range outputs {
					expected := want.f32(c.name + "." + o.Name)
					t.Logf("%s: relative RMS error %.2g", o.Name, relativeRMS(o.Data, expected))
					requireClose(t, o.Data, expected, 1e-4, o.Name)
				}
			})
		}
	}
}
