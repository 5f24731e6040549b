package sd

import (
	"cmp"
	"context"
	"fmt"
	"image"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/internal/checked"
)

// The accuracy that every machine keeps, whatever its instruction set: relative
// RMS errors of networks against the reference libraries in float32, one bound for
// each kind of weights. docs/performance.md ("Differences between machines") states
// them. The worst that was measured is two thirds of each or less. SDXL's tiny
// networks have twice as many blocks of attention and may err three times as much.
const (
	// Weights of float32 are computed with in float32.
	floatBound = 1e-5
	// With weights of 16 bits, and quantized ones, kernels may round activations to
	// integers of 16 bits (csrc/kernels/int16.h) or split them in two (AMX). The
	// tiny models' weights are exact in f16 and bf16, so this is what the arithmetic
	// loses.
	halfBound = 2e-3
	// Kernels that compute in float32 with weights of any kind lose less, and must.
	float32KernelsBound = 2.5e-5
	// ggml's own operators round activations to the weights' type.
	ggmlHalfBound      = 6e-3
	ggmlBF16Bound      = 0.036
	ggmlQuantizedBound = 0.06
)

// quantizedLoss is what quantizing loses of a tiny network's random weights, which
// have rows of 32 to 256; trained, wide networks lose far less.
var quantizedLoss = map[string]float64{"q8_0": 0.09, "q4_0": 0.7}

// float32Kernels are the sets without fixed point and AMX.
var float32Kernels = map[string]bool{"generic": true, "avx512": true}

// way is one way to compute networks, and the bound of its error.
type way struct {
	options Options
	bound   float64
}

// ways are all that networks are compared with references in: every kind of
// weights on every set of operators that this machine has. One thread is enough
// for ggml's, whose threads wait in loops.
func ways() []way {
	all := []way{{Options{Type: "f32", Threads: 1}, floatBound}}
	for _, kernels := range checked.Few(cgo.KernelNames()) {
		half := halfBound
		if float32Kernels[kernels] {
			half = float32KernelsBound
		}
		w := []way{{Options{Type: "f32"}, floatBound}, {Options{Type: "f16"}, half}, {Options{Type: "bf16"}, half}, {Options{}, half}}
		if kernels == cgo.GGML {
			w[1].bound, w[2].bound, w[3].bound = ggmlHalfBound, ggmlBF16Bound, ggmlHalfBound
		}
		for i := range w {
			w[i].options.Kernels = kernels
			if kernels == cgo.GGML {
				w[i].options.Threads = 1
			}
		}
		all = append(all, w...)
	}
	return all
}

func (w way) String() string {
	return fmt.Sprintf("%s, %s, %d threads", cmp.Or(w.options.Kernels, "best"), cmp.Or(w.options.Type, "as in the file"), w.options.Threads)
}

// pictureBounds are what every machine keeps of whole pictures with each kind of
// weights, in dB: the PSNR of a tiny model's picture against diffusers' pixels, and
// with quantized weights against the picture that generic kernels draw with the same
// numbers. The second is for ggml's own operators.
var pictureBounds = map[string][2]float64{"f32": {80, 80}, "f16": {60, 54}, "bf16": {60, 45}, "q8_0": {60, 36}, "q4_0": {60, 36}}

func TestPicturesKeepTheirAccuracy(t *testing.T) {
	ref := readReference(t, pipelinesFolder, "pipeline.safetensors")
	want := image.NewNRGBA(image.Rect(0, 0, 64, 64))
	for i, v := range ref.tensor("sd1.pixels", "U8").Data {
		want.Pix[i/3*4+i%3], want.Pix[i/3*4+3] = v, 255
	}
	draw := func(t *testing.T, o Options) *image.NRGBA {
		t.Helper()
		result, err := openTiny(t, "sd1.safetensors", o).Generate(context.Background(), pipelineRequest(ref))
		require.NoError(t, err)
		return result.Images[0].Image
	}
	for typ, bounds := range pictureBounds {
		want := want
		if _, ok := quantizedLoss[typ]; ok {
			want = draw(t, Options{Type: typ, Kernels: "generic"})
		}
		for _, kernels := range checked.Few(cgo.KernelNames()) {
			t.Run(typ+"/"+kernels, func(t *testing.T) {
				o, bound := Options{Type: typ, Kernels: kernels}, bounds[0]
				if kernels == cgo.GGML {
					o.Threads, bound = 1, bounds[1]
				}
				got := psnr(want, draw(t, o))
				t.Logf("PSNR %.1f dB", got)
				require.GreaterOrEqual(t, got, bound)
			})
		}
	}
}

func TestKernels(t *testing.T) {
	names := cgo.KernelNames()
	best := names[len(names)-1]
	t.Setenv("SDGO_KERNELS", "")
	got, err := Kernels("")
	require.NoError(t, err)
	require.Equal(t, best, got)
	for _, name := range names {
		t.Setenv("SDGO_KERNELS", name)
		got, err := Kernels("")
		require.NoError(t, err)
		require.Equal(t, name, got)
		got, err = Kernels("generic")
		require.NoError(t, err)
		require.Equal(t, "generic", got, "an option counts more than the environment")
	}
	t.Setenv("SDGO_KERNELS", "AVX2 ")
	_, err = Open(netsFolder+"/sd1.safetensors", Options{})
	require.ErrorContains(t, err, `SDGO_KERNELS: kernels "AVX2 ": must be one of ggml, generic`)
	for _, set := range cgo.KernelSets() {
		if !set.Available {
			_, err := Kernels(set.Name)
			require.ErrorContains(t, err, "this processor lacks their instructions")
		}
	}
}
