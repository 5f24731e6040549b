package sd

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/sd/control"
	"github.com/sdgo/sdgo/sd/tensor"
)

var controlsFolder = filepath.Join("..", "testdata", "controls")

// openControl opens one of the tiny ControlNets.
func openControl(t *testing.T, name string, o Options) *ControlNet {
	t.Helper()
	c, err := OpenControlNet(filepath.Join(controlsFolder, name), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

// controlNets are the tiny ControlNets of each base model, whose file it is.
var controlNets = map[string]struct {
	model, inputs string // the file, and its folder's reference
	nets          []string
}{
	"sd1": {filepath.Join(netsFolder, "sd1.safetensors"), "sd1.unet.", []string{"sd1.safetensors", "sd1-diffusers"}},
	"sd2": {filepath.Join(netsFolder, "sd2.safetensors"), "sd2.unet.", []string{"sd2.safetensors"}},
	"xl":  {filepath.Join("..", "testdata", "xl", "base.safetensors"), "base.unet.", []string{"xl.safetensors", "xl-small.safetensors"}},
}

// read are a ControlNet's results, as they are on the host.
func readResiduals(t *testing.T, r control.Residuals) map[string][]float32 {
	t.Helper()
	inputs, err := r.On(cgo.DeviceInfo{Index: -1})
	require.NoError(t, err)
	all := map[string][]float32{}
	for _, in := range inputs {
		all[in.Name] = in.F32
	}
	return all
}

// What ControlNets return, in all layouts, and what UNets make of it, alone and in sums,
// against the diffusers library.
func TestControlNetsAgreeWithDiffusers(t *testing.T) {
	ref := readReference(t, controlsFolder, "reference.safetensors")
	for base, c := range controlNets {
		given := readReference(t, filepath.Dir(c.model), "reference.safetensors")
		for _, w := range ways() {
			m, err := Open(c.model, w.options)
			require.NoError(t, err)
			var in []cgo.Input
			for _, name := range []string{"t", "context", "y"} {
				if key := c.inputs + name; given.tensors[key].Name != "" {
					in = append(in, cgo.Input{Name: name, Shape: given.shape(key), F32: given.f32(key)})
				}
			}
			x := cgo.Input{Name: "x", Shape: given.shape(c.inputs + "x"), F32: given.f32(c.inputs + "x")}
			var sum control.Residuals
			for i, file := range c.nets {
				t.Run(fmt.Sprintf("%s/%s/%s", base, w, file), func(t *testing.T) {
					net := openControl(t, file, w.options)
					name := fmt.Sprintf("%s.%d.", base, i)
					items := itemsOf(t, ref, net, name+"picture")
					alone, err := net.Run(context.Background(), x, in, items, control.Residuals{}, false)
					require.NoError(t, err)
					got := readResiduals(t, alone)
					require.Len(t, got, net.Outputs())
					for k := range net.Outputs() {
						out := fmt.Sprintf("control.%d", k)
						if k == net.Outputs()-1 {
							out = "control.middle"
						}
						want := fmt.Sprintf("%scontrol.%d", name, k)
						require.InDelta(t, len(ref.f32(want)), len(got[out]), 0)
						requireClose(t, got[out], ref.f32(want), w.bound, want)
					}
					shallow, err := net.Run(context.Background(), x, in, items, control.Residuals{}, true)
					require.NoError(t, err)
					require.Equal(t, map[string][]float32{"control.0": got["control.0"]}, readResiduals(t, shallow))

					// The second network's share of the sum is a half.
					if i > 0 {
						for k := range items {
							items[k].Scale = slices.Repeat([]float32{0.5}, net.Outputs())
						}
					}
					sum, err = net.Run(context.Background(), x, in, items, sum, false)
					require.NoError(t, err)
					residuals, err := sum.On(m.unet().Device())
					require.NoError(t, err)
					out := make([]float32, len(x.F32))
					require.NoError(t, m.unet().Run(context.Background(), slices.Concat([]cgo.Input{x}, in, residuals), []cgo.Output{{Name: "out", Data: out}}))
					requireClose(t, out, ref.f32(name+"out"), 2*w.bound, name+"out") // two networks in a row
					require.Greater(t, relativeRMS(out, given.f32(c.inputs+"out")), 0.01, "it must change something")
				})
			}
			require.NoError(t, m.Close())
		}
	}
}

// itemsOf are encoded pictures of a reference, [N, 3, H, W].
func itemsOf(t *testing.T, ref reference, net *ControlNet, name string) (items []control.Item) {
	t.Helper()
	shape, all := ref.shape(name), ref.f32(name)
	n := len(all) / int(shape[0])
	for i := range shape[0] {
		picture := tensor.Of(all[int(i)*n:][:n], int(shape[1]), int(shape[2]), int(shape[3]))
		hint, err := net.Hint(context.Background(), picture, 0)
		require.NoError(t, err)
		items = append(items, control.Item{Hint: hint})
	}
	return items
}

// writeTensors writes a file.
func writeTensors(t *testing.T, path string, all []safetensors.Tensor) {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, safetensors.Write(&b, nil, all))
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o600))
}

// A network is the same in a file of its own, with or without a prefix, and in the file
// of a whole model, which draws without it.
func TestControlNetInACheckpoint(t *testing.T) {
	alone := readReference(t, controlsFolder, "sd1.safetensors").file
	whole := rewrite(t, func(f *safetensors.File) { f.Tensors = append(f.Tensors, alone.Tensors...) })
	bare := filepath.Join(t.TempDir(), "bare.safetensors")
	var tensors []safetensors.Tensor
	for _, x := range alone.Tensors {
		x.Name = strings.TrimPrefix(x.Name, convert.ControlPrefix)
		tensors = append(tensors, x)
	}
	writeTensors(t, bare, tensors)
	picture := tensor.New(3, 64, 64)
	for i := range picture.Data {
		picture.Data[i] = float32(i%7) / 7
	}
	want, err := openControl(t, "sd1.safetensors", Options{}).Hint(context.Background(), picture, 0)
	require.NoError(t, err)
	for _, path := range []string{whole, bare} {
		c, err := OpenControlNet(path, Options{})
		require.NoError(t, err, path)
		got, err := c.Hint(context.Background(), picture, 0)
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.NoError(t, c.Close())
		require.NoError(t, c.Close())
	}
	m, err := Open(whole, Options{})
	require.NoError(t, err)
	defer m.Close()
	require.Equal(t, draw(t, openTiny(t, "sd1.safetensors", Options{}), tinyRequest("a cat")), draw(t, m, tinyRequest("a cat")))
}

// What is no ControlNet, or not a whole one, is refused by name.
func TestControlNetsAreChecked(t *testing.T) {
	_, err := OpenControlNet(filepath.Join(netsFolder, "sd1.safetensors"), Options{})
	require.ErrorContains(t, err, "expected a ControlNet")
	_, err = OpenControlNet(filepath.Join(adaptersFolder, "kohya.safetensors"), Options{})
	require.ErrorIs(t, err, convert.ErrUnrecognized)
	alone := readReference(t, controlsFolder, "sd1.safetensors").file
	for i, x := range alone.Tensors {
		if i%7 > 0 { // some of each kind
			continue
		}
		path := filepath.Join(t.TempDir(), "damaged.safetensors")
		writeTensors(t, path, slices.Delete(slices.Clone(alone.Tensors), i, i+1))
		_, err := OpenControlNet(path, Options{})
		require.Error(t, err, x.Name)
		other := slices.Clone(alone.Tensors)
		other[i].Shape = []int64{2, int64(len(x.Data)) / 4}
		writeTensors(t, path, other)
		_, err = OpenControlNet(path, Options{})
		require.Error(t, err, x.Name)
	}
	for name, want := range map[string]string{"task_embedding": "control_add_embedding", "lora_controlnet": "Control-LoRA", "difference": "differences from the UNet"} {
		path := filepath.Join(t.TempDir(), "other.safetensors")
		writeTensors(t, path, append(slices.Clone(alone.Tensors), safetensors.Tensor{Name: name, DType: "F32", Shape: []int64{1}, Data: make([]byte, 4)}))
		_, err := OpenControlNet(path, Options{})
		require.ErrorContains(t, err, want)
	}
}

// The sizes and names of inputs.
func TestControlInputsAreChecked(t *testing.T) {
	ref := readReference(t, netsFolder, "reference.safetensors")
	net := openControl(t, "sd1.safetensors", Options{})
	hint := cgo.Input{Name: "hint", Shape: []int64{2, 32, 10, 6}, F32: make([]float32, 2*32*60)}
	run := func(output string, in ...cgo.Input) error {
		return net.Network().Run(context.Background(), in, []cgo.Output{{Name: output}})
	}
	var in []cgo.Input
	for _, name := range []string{"x", "t", "context"} {
		in = append(in, cgo.Input{Name: name, Shape: ref.shape("sd1.unet." + name), F32: ref.f32("sd1.unet." + name)})
	}
	require.NoError(t, run("control.1", append(in, hint)...))
	require.ErrorContains(t, run("control.1", in...), "input picture is missing")
	require.ErrorContains(t, run("control.4", append(in, hint)...), "no output control.4; there are hint, control.0 to control.3, control.middle")
	wrong := hint
	wrong.Shape = []int64{2, 32, 6, 10}
	require.ErrorContains(t, run("control.1", append(in, wrong)...), "hint must have the shape [2, 32, 10, 6]")
	picture := cgo.Input{Name: "picture", Shape: []int64{1, 3, 12, 16}, F32: make([]float32, 3*12*16)}
	require.ErrorContains(t, run("hint", picture), "multiples of 8, got 16x12")
	scale := cgo.Input{Name: "scale", Shape: []int64{2, 4}, F32: make([]float32, 8)}
	require.ErrorContains(t, run("control.1", append(in, hint, scale)...), "scale must have the shape [2, 5]")
}

// What T2I-Adapters return, full, light and XL's, of colour and of grey, in both layouts, and
// what UNets make of it, against the diffusers library.
func TestT2IAdaptersAgreeWithDiffusers(t *testing.T) {
	ref := readReference(t, controlsFolder, "reference.safetensors")
	for _, c := range []struct{ base, kind, file string }{
		{"sd1", "full", "t2i-sd1"}, {"sd1", "light", "t2i-light"}, {"sd1", "grey", "t2i-grey"}, {"xl", "full", "t2i-xl"},
	} {
		base := controlNets[c.base]
		given := readReference(t, filepath.Dir(base.model), "reference.safetensors")
		for _, w := range ways() {
			m, err := Open(base.model, w.options)
			require.NoError(t, err)
			t.Run(fmt.Sprintf("%s/%s", c.file, w), func(t *testing.T) {
				a, err := OpenT2IAdapter(filepath.Join(controlsFolder, c.file+".safetensors"), w.options)
				require.NoError(t, err)
				defer a.Close()
				require.Empty(t, a.Misfit(m.config().UNet))
				name := "t2i." + c.base + "."
				shape := ref.shape(name + "picture")
				got, err := a.Encode(context.Background(), tensor.Of(ref.f32(name+"picture"), 3, int(shape[2]), int(shape[3])))
				require.NoError(t, err)
				require.Len(t, got, a.Features())
				name += c.kind
				for k, f := range got {
					key := fmt.Sprintf("%s.feature.%d", name, k)
					requireClose(t, f.Data, ref.f32(key), w.bound, key)
				}
				var in []cgo.Input
				for _, input := range []string{"x", "t", "context", "y"} {
					if key := base.inputs + input; given.tensors[key].Name != "" {
						in = append(in, cgo.Input{Name: input, Shape: given.shape(key), F32: given.f32(key)})
					}
				}
				in = append(in, control.Features{got, got}.Inputs(len(m.config().UNet.ChannelMult))...)
				out := make([]float32, len(given.f32(base.inputs+"x")))
				require.NoError(t, m.unet().Run(context.Background(), in, []cgo.Output{{Name: "out", Data: out}}))
				requireClose(t, out, ref.f32(name+".out"), 4*w.bound, name+".out")
			})
			require.NoError(t, m.Close())
		}
	}
}

// Features of sides that do not halve often enough have the UNet's sizes.
func TestT2IFeaturesOfOddSides(t *testing.T) {
	a, err := OpenT2IAdapter(filepath.Join(controlsFolder, "t2i-sd1.safetensors"), Options{})
	require.NoError(t, err)
	defer a.Close()
	got, err := a.Encode(context.Background(), tensor.New(3, 72, 40))
	require.NoError(t, err)
	require.Equal(t, []int{32, 9, 5}, got[0].Shape)
	require.Equal(t, []int{32, 5, 3}, got[1].Shape)
	_, err = OpenT2IAdapter(filepath.Join(controlsFolder, "sd1.safetensors"), Options{})
	require.ErrorContains(t, err, "a ControlNet; expected a T2I-Adapter")
	_, err = OpenControlNet(filepath.Join(controlsFolder, "t2i-sd1.safetensors"), Options{})
	require.ErrorContains(t, err, "expected a ControlNet")
}

// What goes to the middle is added there, as a ControlNet's is, and with what is kept of the
// inner blocks there is none.
func TestFeatureInputs(t *testing.T) {
	ref := readReference(t, netsFolder, "reference.safetensors")
	m := openTiny(t, "sd1.safetensors", Options{})
	run := func(more ...cgo.Input) ([]float32, error) {
		var in []cgo.Input
		for _, name := range []string{"x", "t", "context"} {
			in = append(in, cgo.Input{Name: name, Shape: ref.shape("sd1.unet." + name), F32: ref.f32("sd1.unet." + name)})
		}
		out := make([]float32, 2*4*10*6)
		return out, m.unet().Run(context.Background(), append(in, more...), []cgo.Output{{Name: "out", Data: out}})
	}
	added := make([]float32, 2*32*5*3)
	for i := range added {
		added[i] = float32(i%5) / 5
	}
	middle := cgo.Input{Name: "feature.middle", Shape: []int64{2, 32, 5, 3}, F32: added}
	got, err := run(middle)
	require.NoError(t, err)
	middle.Name = "control.middle"
	want, err := run(middle)
	require.NoError(t, err)
	require.Equal(t, want, got)
	middle.Name = "feature.0"
	_, err = run(middle)
	require.ErrorContains(t, err, "feature.0 must have the shape [2, 32, 10, 6]")
	middle.Name = "feature.1"
	deep := cgo.Input{Name: "deep", Shape: []int64{2, 32, 10, 6}, F32: make([]float32, 2*32*60)}
	_, err = run(middle, deep)
	require.ErrorContains(t, err, "with deep there is no input feature.1")
}

// IP-Adapters of all kinds: what image encoder and UNet make of a picture, against the
// transformers and diffusers libraries.
func TestIPAdaptersAgreeWithDiffusers(t *testing.T) {
	ref := readReference(t, controlsFolder, "reference.safetensors")
	given := readReference(t, netsFolder, "reference.safetensors")
	img := seenPicture(ref)
	for _, kind := range []string{"basic", "plus", "full"} {
		for _, w := range ways() {
			m := openTiny(t, "sd1.safetensors", w.options)
			t.Run(fmt.Sprintf("%s/%s", kind, w), func(t *testing.T) {
				a := openIPAdapter(t, kind, w.options)
				require.Empty(t, a.Misfit(m.config().UNet))
				cond, uncond, err := a.Encode(context.Background(), img, nil, 0.7)
				require.NoError(t, err)
				require.NotEqual(t, cond[0].Data, uncond[0].Data)
				var in []cgo.Input
				for _, input := range []string{"x", "t", "context"} {
					key := "sd1.unet." + input
					in = append(in, cgo.Input{Name: input, Shape: given.shape(key), F32: given.f32(key)})
				}
				all := control.PictureInputs([]control.Picture{cond, cond}, func(int) bool { return true })
				require.Len(t, all, 8)
				out := make([]float32, 2*4*10*6)
				require.NoError(t, m.unet().Run(context.Background(), append(in, all...), []cgo.Output{{Name: "out", Data: out}}))
				requireClose(t, out, ref.f32("ip."+kind+".out"), 4*w.bound, kind)
			})
		}
	}
}

// seenPicture is what IP-Adapters see.
func seenPicture(ref reference) *image.NRGBA {
	shape := ref.shape("ip.picture")
	img := image.NewNRGBA(image.Rect(0, 0, int(shape[1]), int(shape[0])))
	for i := range int(shape[0] * shape[1]) {
		copy(img.Pix[4*i:], ref.tensor("ip.picture", "U8").Data[3*i:][:3])
		img.Pix[4*i+3] = 255
	}
	return img
}

// openIPAdapter opens one of the tiny IP-Adapters.
func openIPAdapter(t *testing.T, kind string, o Options) *IPAdapter {
	t.Helper()
	o.CLIPVision = filepath.Join(controlsFolder, "clip-vision.safetensors")
	c, err := OpenControl(filepath.Join(controlsFolder, "ip-"+kind+".safetensors"), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c.(*IPAdapter)
}
