package sd

import (
	"context"
	"encoding/binary"
	"fmt"
	"image"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/internal/fixture"
	"github.com/sdgo/sdgo/sd/tensor"
)

const taesdFolder = "../testdata/taesd"

func openTAESD(t *testing.T, path string, o Options) *TAESD {
	t.Helper()
	tiny, err := OpenTAESD(path, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tiny.Close()) })
	return tiny
}

// realTAESD writes a TAESD of the real shape, with the weights of
// testdata/taesd/make.py: Murmur3's finalizer of each one's place.
func realTAESD(t *testing.T, latent int64) string {
	shapes := map[string][]int64{}
	conv := func(name string, out, in int64, bias bool) {
		shapes[name+".weight"] = []int64{out, in, 3, 3}
		if bias {
			shapes[name+".bias"] = []int64{out}
		}
	}
	half := func(name string, first, last int64, layer int, resized int, blocks ...int) {
		conv(name+".layers.0", 64, first, true)
		for i, n := range blocks {
			if i > 0 {
				conv(fmt.Sprintf("%s.layers.%d", name, layer+resized-1), 64, 64, false)
				layer += resized
			}
			for range n {
				for _, c := range []int{0, 2, 4} {
					conv(fmt.Sprintf("%s.layers.%d.conv.%d", name, layer, c), 64, 64, true)
				}
				layer++
			}
		}
		conv(fmt.Sprintf("%s.layers.%d", name, layer), last, 64, true)
	}
	half("decoder", latent, 3, 2, 2, 3, 3, 3, 1)
	half("encoder", 3, latent, 1, 1, 1, 3, 3, 3)
	var names []string
	for name := range shapes {
		names = append(names, name)
	}
	slices.Sort(names)
	var all []safetensors.Tensor
	for k, name := range names {
		shape := shapes[name]
		n := convert.Tensor{Shape: shape}.Elements()
		scale := 0.1
		if len(shape) > 1 {
			scale = math.Sqrt(3 / float64(n/shape[0]))
		}
		data := make([]byte, 4*n)
		for i := range n {
			h := uint32(i) + 0x9E3779B9*uint32(k+1)
			h ^= h >> 16
			h *= 0x85EBCA6B
			h ^= h >> 13
			h *= 0xC2B2AE35
			h ^= h >> 16
			binary.LittleEndian.PutUint32(data[4*i:], math.Float32bits(float32((float64(h)/(1<<31)-1)*scale)))
		}
		all = append(all, safetensors.Tensor{Name: name, DType: "F32", Shape: shape, Data: data})
	}
	path := filepath.Join(t.TempDir(), "real.safetensors")
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, safetensors.Write(f, nil, all))
	require.NoError(t, f.Close())
	return path
}

func TestTAESDAgreesWithDiffusers(t *testing.T) {
	ref := readReference(t, taesdFolder, "reference.safetensors")
	file := func(name string) string { return filepath.Join(taesdFolder, name) }
	for _, c := range []struct {
		path, want, z string
		channels      int
	}{
		{file("tiny.safetensors"), "tiny", "z", 4}, {file("decoder.safetensors"), "tiny", "z", 4}, {file("encoder.pth"), "tiny", "z", 4}, {realTAESD(t, 4), "real", "z", 4},
		{realTAESD(t, 16), "real16", "z16", 16}, {file("taef2.safetensors"), "taef2", "z32", 32},
	} {
		for _, w := range ways() {
			if w.options.Type != "" && w.options.Type != "f32" {
				continue // the weights are float32's
			}
			tiny := openTAESD(t, c.path, w.options)
			name, bound := fmt.Sprintf("%s %s: ", filepath.Base(c.path), w), max(w.bound, 2e-5)
			if tiny.Fits(c.channels, 8) == nil {
				got, err := tiny.Decode(context.Background(), tensor.Of(ref.f32(c.z), c.channels, 8, 6), tensor.NoProgress)
				require.NoError(t, err)
				require.Equal(t, []int{3, 64, 48}, got.Shape)
				t.Logf("%s decoder %.2g", name, relativeRMS(got.Data, ref.f32(c.want+".decoded")))
				requireClose(t, got.Data, ref.f32(c.want+".decoded"), bound, name+"decoder")
			}
			if tiny.CanEncode() {
				e, err := tiny.Encode(context.Background(), tensor.Of(ref.f32("image"), 3, 48, 64))
				require.NoError(t, err)
				z := e.Sample(nil)
				if c.want == "taef2" { // FLUX.2's latents, which are packed: corners of squares of two by two as channels
					require.Equal(t, []int{4 * c.channels, 3, 4}, z.Shape)
					want, err := tiny.Decode(t.Context(), corners(z), tensor.NoProgress)
					require.NoError(t, err)
					got, err := tiny.Decode(t.Context(), z, tensor.NoProgress)
					require.NoError(t, err)
					require.Equal(t, want, got)
					z = corners(z)
				}
				require.Equal(t, []int{c.channels, 6, 8}, z.Shape)
				t.Logf("%s encoder %.2g", name, relativeRMS(z.Data, ref.f32(c.want+".encoded")))
				requireClose(t, z.Data, ref.f32(c.want+".encoded"), bound, name+"encoder")
			}
		}
	}
}

// The published decoder, as stable-diffusion.cpp's GGUF file and under its author's names,
// decodes what its weights give in numpy.
func TestPublishedTAESD(t *testing.T) {
	path := fixture.Real(t, "taesd/taesd_ref.npz")
	if path == "" {
		t.Skip("the published files are not there")
	}
	ref := fixture.Numpy(t, path)
	for i, v := range ref["image"] { // from 0 … 1
		ref["image"][i] = 2*v - 1
	}
	for _, name := range []string{"taesd-decoder.gguf", "taesd_decoder_f16.safetensors"} {
		tiny := openTAESD(t, fixture.Real(t, "taesd/"+name), Options{Type: "f32"})
		got, err := tiny.Decode(context.Background(), tensor.Of(ref["latent"], 4, 16, 16), tensor.NoProgress)
		require.NoError(t, err)
		t.Logf("%s: relative RMS error %.2g", name, relativeRMS(got.Data, ref["image"]))
		requireClose(t, got.Data, ref["image"], 2e-5, name)
	}
	two := openTAESD(t, fixture.Real(t, "taesd/taef2_decoder.pth"), Options{})
	require.NoError(t, two.Fits(128, 16))
	require.ErrorContains(t, two.Fits(4, 8), "must have 4 latent channels as the model, got 32")
	got, err := two.Decode(context.Background(), tensor.New(128, 4, 4), tensor.NoProgress)
	require.NoError(t, err)
	require.Equal(t, []int{3, 64, 64}, got.Shape)
}

// corners takes a packed latent apart.
func corners(x tensor.Tensor) tensor.Tensor {
	height, width := x.Height(), x.Width()
	out := tensor.New(x.Channels()/4, 2*height, 2*width)
	for c := range x.Channels() {
		for i := range height * width {
			row, column := 2*(i/width)+c%4/2, 2*(i%width)+c%2
			out.Data[(c/4*2*height+row)*2*width+column] = x.Data[c*height*width+i]
		}
	}
	return out
}

// In a request it decodes the pictures, in tiles where it must, and encodes
// where the model can't.
func TestTAESDInRequests(t *testing.T) {
	ref := readReference(t, pipelinesFolder, "pipeline.safetensors")
	m := openTiny(t, "sd1.safetensors", Options{Type: "f32"})
	tiny := openTAESD(t, filepath.Join(taesdFolder, "tiny.safetensors"), Options{})
	r := pipelineRequest(ref)
	r.TAESD = attach(t, m, tiny)
	fast, err := m.Generate(context.Background(), r)
	require.NoError(t, err)
	pixels, err := tiny.Decode(context.Background(), tensor.Of(ref.f32("sd1.latent.5"), 4, 8, 8), tensor.NoProgress)
	require.NoError(t, err)
	want := pixels.Image()
	require.Equal(t, image.Pt(64, 64), want.Rect.Size())
	for i, v := range want.Pix {
		require.InDelta(t, v, fast.Images[0].Image.Pix[i], 1)
	}
	require.Contains(t, text(fast.Images[0].Params), ", VAE Decoder: TAESD, Model: sd1")

	r.TAESDPreviewOnly = true
	full, err := m.Generate(context.Background(), r)
	require.NoError(t, err)
	requirePixels(t, full.Images[0].Image, ref.tensor("sd1.pixels", "U8").Data, 2)
	require.NotContains(t, text(full.Images[0].Params), "TAESD")

	// In tiles, of a decoder alone.
	decoder := openTAESD(t, filepath.Join(taesdFolder, "decoder.safetensors"), Options{MaxMemory: 1 << 20})
	whole := openTAESD(t, filepath.Join(taesdFolder, "decoder.safetensors"), Options{})
	latent := tensor.New(4, 48, 40)
	for i := range latent.Data {
		latent.Data[i] = float32(math.Sin(float64(i) / 9))
	}
	tiles := 0
	tiled, err := decoder.Decode(context.Background(), latent, func(int, int) error { tiles++; return nil })
	require.NoError(t, err)
	require.Equal(t, 4, tiles)
	once, err := whole.Decode(context.Background(), latent, tensor.NoProgress)
	require.NoError(t, err)
	sum := 0.0
	one, many := once.Image(), tiled.Image()
	for i, v := range one.Pix {
		sum += math.Abs(float64(v) - float64(many.Pix[i]))
	}
	require.Less(t, sum/float64(len(one.Pix)), 0.5)

	// A model without an encoder begins with a picture all the same.
	m = withoutEncoder(t, Options{Type: "f32"})
	r = Request{Image: slopes(64, 64), Steps: 2, TAESD: attach(t, m, tiny)}
	_, err = m.Generate(context.Background(), r)
	require.NoError(t, err)
	r.TAESD = attach(t, m, decoder)
	_, err = m.Generate(context.Background(), r)
	require.ErrorIs(t, err, ErrNoEncoder)
	_, err = m.Generate(context.Background(), Request{Hires: []HiresPass{{Upscaler: "lanczos"}}})
	require.ErrorIs(t, err, ErrNoEncoder)
}

func TestTAESDErrors(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{})
	_, err := OpenTAESD(filepath.Join(netsFolder, "sd1.safetensors"), Options{})
	require.ErrorIs(t, err, convert.ErrUnrecognized)
	require.ErrorContains(t, err, "expected a TAESD autoencoder")
	_, err = OpenTAESD(filepath.Join(taesdFolder, "nothing.pth"), Options{})
	require.ErrorContains(t, err, "nothing.pth: "+noFile)
	_, err = m.Generate(context.Background(), Request{TAESD: attach(t, m, openTAESD(t, filepath.Join(taesdFolder, "encoder.pth"), Options{}))})
	require.ErrorContains(t, err, "TAESD: encoder must have a decoder, got an encoder alone")
	_, err = m.Generate(context.Background(), Request{TAESDPreviewOnly: true})
	require.ErrorContains(t, err, "TAESDPreviewOnly: needs a TAESD")

	// Files that are broken in one place.
	data, err := os.ReadFile(filepath.Join(taesdFolder, "tiny.safetensors"))
	require.NoError(t, err)
	file, err := safetensors.Parse(data)
	require.NoError(t, err)
	change := func(change func(x *safetensors.Tensor) bool) error {
		var all []safetensors.Tensor
		for _, x := range file.Tensors {
			if change(&x) {
				all = append(all, x)
			}
		}
		path := filepath.Join(t.TempDir(), "broken.safetensors")
		f, err := os.Create(path)
		require.NoError(t, err)
		require.NoError(t, safetensors.Write(f, nil, all))
		require.NoError(t, f.Close())
		tiny, err := OpenTAESD(path, Options{})
		if err == nil {
			one := openTiny(t, "sd1.safetensors", Options{Type: "f32"})
			err = one.Check(Request{TAESD: attach(t, one, tiny)})
			require.NoError(t, tiny.Close())
		}
		require.ErrorContains(t, err, "broken")
		return err
	}
	require.ErrorContains(t, change(func(x *safetensors.Tensor) bool { return x.Name != "decoder.layers.3.conv.2.bias" }),
		`tensor "decoder.layers.3.conv.2.bias" is missing`)
	require.ErrorContains(t, change(func(x *safetensors.Tensor) bool {
		if x.Name == "encoder.layers.0.weight" {
			x.Shape = []int64{8, 27}
		}
		return true
	}), "encoder.layers.0.weight")
	require.ErrorContains(t, change(func(x *safetensors.Tensor) bool { return !strings.HasPrefix(x.Name, "encoder.layers.1.") }), `"encoder.layers.1.weight" is missing`)
	require.ErrorContains(t, change(func(x *safetensors.Tensor) bool {
		return !strings.HasPrefix(x.Name, "decoder.layers.12.") && !strings.HasPrefix(x.Name, "decoder.layers.13.")
	}), "do not fit together")
}
