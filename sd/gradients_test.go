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
