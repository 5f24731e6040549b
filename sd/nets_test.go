package sd

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	instructions "golang.org/x/sys/cpu"

	"github.com/sdgo/sdgo/cgo"
)

// bounds are the relative RMS errors that each way of computing may have
// against the reference libraries in float32, less than twice what was
// measured for the worst network. The project's aim for float32 is 1e-4. The
// tiny models' weights are exact in f16 and bf16, so these show that our
// kernels keep float32 activations where ggml's operators round them. The
// quantized types' errors are those of random weights in rows of 32 to 256:
// trained, wide networks lose far less. Where there is AVX2 and nothing wider,
// weights of less than float32 are multiplied as integers of 16 bits
// (csrc/kernel_fixed.h), which still is nearer than ggml's float16.
var bounds = []struct {
	name    string
	options Options
	bound   float64
}{
	{"as in the file", Options{}, halfBound},
	{"f32", Options{Type: "f32"}, 1e-5},
	{"f32, one thread", Options{Type: "f32", Threads: 1}, 1e-5},
	{"f16", Options{Type: "f16"}, halfBound},
	{"bf16", Options{Type: "bf16"}, halfBound},
	{"q8_0", Options{Type: "q8_0"}, 0.09},
	{"q4_0", Options{Type: "q4_0"}, 0.7},
	{"ggml f32", Options{Type: "f32", Kernels: "ggml"}, 1e-5},
	{"ggml f16", Options{Kernels: "ggml"}, 6e-3},
	{"ggml q8_0", Options{Type: "q8_0", Kernels: "ggml"}, 0.12},
}

// halfBound is the bound for weights of 16 bits.
var halfBound = func() float64 {
	if x := instructions.X86; x.HasAVX2 && x.HasFMA && !(x.HasAVX512F && x.HasAVX512BW && x.HasAVX512VL && x.HasAVX512DQ) {
		return 2e-3
	}
	return 2.5e-5
}()

// netCase is one run of one network with a reference.
type netCase struct {
	name   string
	part   func(m *Model) *part
	inputs map[string]string // input → reference
	output string
	want   string // reference
}

func netCases(model string) []netCase {
	text := func(m *Model) *part { return m.texts[0].part }
	unet := func(m *Model) *part { return m.unet }
	hidden := []int{1, 2}
	if model == "sd2" {
		hidden = []int{2, 3}
	}
	cases := []netCase{
		{"unet", unet, map[string]string{"x": "unet.x", "t": "unet.t", "context": "unet.context"}, "out", "unet.out"},
		{"unet, two chunks", unet, map[string]string{"x": "unet.x", "t": "unet.t", "context": "unet.long.context"}, "out", "unet.long.out"},
		{"unet, odd sides", unet, map[string]string{"x": "unet.odd.x", "t": "unet.t", "context": "unet.context"}, "out", "unet.odd.out"},
		{"vae decoder", func(m *Model) *part { return m.decoder }, map[string]string{"z": "vae.z"}, "image", "vae.decoded"},
		{"vae encoder", func(m *Model) *part { return m.encoder }, map[string]string{"image": "vae.image"}, "moments", "vae.moments"},
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
		for _, b := range bounds {
			m := openTiny(t, model+".safetensors", b.options)
			for _, c := range netCases(model) {
				t.Run(fmt.Sprintf("%s/%s/%s", model, b.name, c.name), func(t *testing.T) {
					runCase(t, ref, m, model+".", c, b.bound)
				})
			}
		}
	}
}

func runCase(t *testing.T, ref reference, m *Model, prefix string, c netCase, bound float64) {
	net, err := c.part(m).get()
	require.NoError(t, err)
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
	want := ref.f32(prefix + c.want)
	got := make([]float32, len(want))
	require.NoError(t, net.Run(context.Background(), inputs, []cgo.Output{{Name: c.output, Data: got}}))
	t.Logf("relative RMS error %.2g", relativeRMS(got, want))
	requireClose(t, got, want, bound, c.name)
}
