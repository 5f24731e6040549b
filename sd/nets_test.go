package sd

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/internal/checked"
	"github.com/sdgo/sdgo/sd/engine"
)

// netCase is one run of one network with a reference.
type netCase struct {
	name   string
	net    func(m *Model) *engine.Network
	inputs map[string]string // input → reference
	output string
	want   string // reference
}

func netCases(model string) []netCase {
	text := func(m *Model) *engine.Network { return m.texts()[0] }
	unet := (*Model).unet
	hidden := []int{1, 2}
	if model == "sd2" {
		hidden = []int{2, 3}
	}
	cases := []netCase{
		{"unet", unet, map[string]string{"x": "unet.x", "t": "unet.t", "context": "unet.context"}, "out", "unet.out"},
		{"unet, two chunks", unet, map[string]string{"x": "unet.x", "t": "unet.t", "context": "unet.long.context"}, "out", "unet.long.out"},
		{"unet, odd sides", unet, map[string]string{"x": "unet.odd.x", "t": "unet.t", "context": "unet.context"}, "out", "unet.odd.out"},
		{"vae decoder", func(m *Model) *engine.Network { return m.kl().Decoder() }, map[string]string{"z": "vae.z"}, "image", "vae.decoded"},
		{"vae encoder", func(m *Model) *engine.Network { return m.kl().Encoder() }, map[string]string{"image": "vae.image"}, "moments", "vae.moments"},
	}
	for _, n := range hidden {
		cases = append(cases, netCase{fmt.Sprintf("text, layer %d", n), text, map[string]string{"tokens": "text.tokens"},
			fmt.Sprintf("hidden.%d", n), fmt.Sprintf("text.hidden.%d", n)})
	}
	return cases
}

func TestNetsAgreeWithDiffusers(t *testing.T) {
	ref := readReference(t, netsFolder, "reference.safetensors")
	for _, model := range []string{"sd1", "sd2"} {
		for _, w := range ways() {
			m := openTiny(t, model+".safetensors", w.options)
			for _, c := range netCases(model) {
				t.Run(fmt.Sprintf("%s/%s/%s", model, w, c.name), func(t *testing.T) {
					runCase(t, ref, m, model+".", c, w.bound)
				})
			}
		}
	}
}

// The numbers of quantized weights are what they are: given those, networks
// compute as precisely as with weights of 16 bits. (What quantizing loses of a tiny
// network's random weights is another matter, bounded by quantizedBounds.)
func TestNetsComputeQuantizedWeightsPrecisely(t *testing.T) {
	ref := readReference(t, netsFolder, "reference.safetensors")
	for typ, loss := range quantizedLoss {
		exact := openTiny(t, "sd1.safetensors", Options{Type: typ, Kernels: "generic"})
		for _, c := range netCases("sd1") {
			want := runNet(t, ref, exact, "sd1.", c)
			require.LessOrEqual(t, relativeRMS(want, ref.f32("sd1."+c.want)), loss, "%s %s: what quantizing loses", typ, c.name)
			for _, kernels := range checked.Few(cgo.KernelNames()) {
				t.Run(fmt.Sprintf("%s/%s/%s", typ, kernels, c.name), func(t *testing.T) {
					bound := halfBound
					if kernels == cgo.GGML {
						bound = ggmlQuantizedBound
					}
					got := runNet(t, ref, openTiny(t, "sd1.safetensors", Options{Type: typ, Kernels: kernels, Threads: 1}), "sd1.", c)
					t.Logf("relative RMS error %.2g", relativeRMS(got, want))
					requireClose(t, got, want, bound, c.name)
				})
			}
		}
	}
}

func runCase(t *testing.T, ref reference, m *Model, prefix string, c netCase, bound float64) {
	t.Helper()
	want, got := ref.f32(prefix+c.want), runNet(t, ref, m, prefix, c)
	t.Logf("relative RMS error %.2g", relativeRMS(got, want))
	requireClose(t, got, want, bound, c.name)
}

func netInputs(ref reference, prefix string, c netCase) []cgo.Input {
	var inputs []cgo.Input
	for name, from := range c.inputs {
		in := cgo.Input{Name: name, Shape: ref.shape(prefix + from)}
		if name == "tokens" {
			in.I32 = ref.i32(prefix + from)
		} else {
			in.F32 = ref.f32(prefix + from)
		}
		inputs = append(inputs, in)
	}
	return inputs
}

// runNet is a case's output.
func runNet(t *testing.T, ref reference, m *Model, prefix string, c netCase) []float32 {
	t.Helper()
	inputs := netInputs(ref, prefix, c)
	got := make([]float32, len(ref.f32(prefix+c.want)))
	require.NoError(t, c.net(m).Run(context.Background(), inputs, []cgo.Output{{Name: c.output, Data: got}}))
	return got
}
