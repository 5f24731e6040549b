package sd

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/sd/adapter"
	"github.com/sdgo/sdgo/sd/control"
	"github.com/sdgo/sdgo/sd/face"
)

// FaceID: what the UNet makes of a face's vector, with the products that come with it, and whole
// runs, against the diffusers library. FaceID Plus sees a picture, too; that its second version adds
// tokens, its file's name says.
func TestFaceID(t *testing.T) {
	o := Options{Type: "f32"}
	ref, all := readReference(t, controlsFolder, "ip-reference.safetensors"), readReference(t, controlsFolder, "reference.safetensors")
	given := readReference(t, netsFolder, "reference.safetensors")
	file := filepath.Join(controlsFolder, "face.npy")
	vector, err := face.Open(file)
	require.NoError(t, err)
	for name, from := range map[string]string{"faceid": "faceid", "faceid-plus": "faceid-plus", "faceid-plusv2": "faceid-plus"} {
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join(controlsFolder, "ip-"+from+".safetensors"))
			require.NoError(t, err)
			path := filepath.Join(t.TempDir(), "ip-"+name+".safetensors")
			require.NoError(t, os.WriteFile(path, data, 0o600))
			with := o
			if from != "faceid" { // which needs no image encoder
				with.CLIPVision = filepath.Join(controlsFolder, "clip-vision.safetensors")
			}
			c, err := OpenControl(path, with)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, c.Close()) })
			a := c.(*control.IPAdapter)
			m := openTiny(t, "sd1.safetensors", o)
			img := seenPicture(all)
			cond, _, err := a.Encode(t.Context(), img, vector, 0.7)
			require.NoError(t, err)
			in := control.PictureInputs([]control.Picture{cond, cond}, func(int) bool { return true })
			for _, name := range []string{"x", "t", "context"} {
				in = append(in, cgo.Input{Name: name, Shape: given.shape("sd1.unet." + name), F32: given.f32("sd1.unet." + name)})
			}
			var sets adapter.Sets
			set, err := sets.Get(m.host().Weights, []adapter.Use{{Adapter: a.LoRA(), Denoiser: 1}}, nil)
			require.NoError(t, err)
			out := make([]float32, len(given.f32("sd1.unet.x")))
			require.NoError(t, m.unet().Run(t.Context(), in, []cgo.Output{{Name: "out", Data: out}}, set.Denoiser()))
			requireClose(t, out, ref.f32(name+".out"), 1e-4, name)

			require.NoError(t, m.Attach(a))
			plain := latentOf(t, m, controlRequest(all), nil)
			used := RequestControl{Name: "ip-" + name, FaceFile: file, Weight: Float(0.7)}
			if from != "faceid" {
				used.Image = img
			}
			got := latentOf(t, m, controlRequest(all, used), nil)
			requireClose(t, got.Data, ref.f32("latent."+name), 1e-4, name)
			used.Weight = Float(0)
			require.Equal(t, plain.Data, latentOf(t, m, controlRequest(all, used), nil).Data, "with nothing to say, the products say nothing either")
		})
	}
}

// Files of FaceID that can't be right are refused with a tensor's name, and a copy remembers that it
// was the second version of Plus.
func TestFaceIDFiles(t *testing.T) {
	folder := t.TempDir()
	with := Options{CLIPVision: filepath.Join(controlsFolder, "clip-vision.safetensors")}
	write := func(name, from string, change func(x *safetensors.Tensor) (keep bool)) string {
		data, err := os.ReadFile(filepath.Join(controlsFolder, from))
		require.NoError(t, err)
		f, err := safetensors.Parse(data)
		require.NoError(t, err)
		var all []safetensors.Tensor
		for _, x := range f.Tensors {
			x.Data = slices.Clone(x.Data)
			if change(&x) {
				all = append(all, x)
			}
		}
		var b bytes.Buffer
		require.NoError(t, safetensors.Write(&b, f.Metadata, all))
		path := filepath.Join(folder, name+".safetensors")
		require.NoError(t, os.WriteFile(path, b.Bytes(), 0o600))
		return path
	}
	const some = "ip_adapter.3.to_k_lora.up.weight"
	for name, c := range map[string]struct {
		want   string
		change func(x *safetensors.Tensor) bool
	}{
		"half a pair": {some + `" of shape [32 2] is missing`, func(x *safetensors.Tensor) bool { return x.Name != some }},
		"a rank": {some + `" must have the shape [32 2], got [16 4]`, func(x *safetensors.Tensor) bool {
			if x.Name == some {
				x.Shape = []int64{16, 4}
			}
			return true
		}},
		"nan": {some + `" has NaN or infinite elements`, func(x *safetensors.Tensor) bool {
			if x.Name == some {
				copy(x.Data, []byte{0, 0x7e})
			}
			return true
		}},
		"no projection": {`"image_proj.proj.0.weight`, func(x *safetensors.Tensor) bool { return x.Name != "image_proj.proj.0.weight" }},
	} {
		made, err := OpenControl(write(name, "ip-faceid.safetensors", c.change), Options{})
		if err == nil {
			require.NoError(t, made.Close())
		}
		require.ErrorContains(t, err, c.want, name)
	}
	second := write("ip-plusv2", "ip-faceid-plus.safetensors", func(*safetensors.Tensor) bool { return true })
	copied := converted(t, second)
	first := write("ip-plus", "ip-faceid-plus.safetensors", func(*safetensors.Tensor) bool { return true })
	for path, want := range map[string]bool{second: true, copied: true, first: false} {
		m, err := convert.Open(path)
		require.NoError(t, err, path)
		require.Equal(t, want, m.Config.(*convert.IPAdapterConfig).Shortcut, path)
		require.NoError(t, m.Close())
		a, err := OpenControl(path, with)
		require.NoError(t, err)
		require.NoError(t, a.Close())
	}
}
