package sd

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/sd/control"
)

// IP-Adapters of all kinds for SD 2 and SDXL: what the UNet makes of a picture, and whole runs, against
// the diffusers library.
func TestIPAdaptersOfXLAndSD2(t *testing.T) {
	ref := readReference(t, controlsFolder, "ip-reference.safetensors")
	img := seenPicture(readReference(t, controlsFolder, "reference.safetensors"))
	o := Options{Type: "f32"}
	for base, c := range map[string]struct{ model, inputs string }{
		"sd2": {filepath.Join(netsFolder, "sd2.safetensors"), "sd2.unet."},
		"xl":  {filepath.Join(xlFolder, "base.safetensors"), "base.unet."},
	} {
		given := readReference(t, filepath.Dir(c.model), "reference.safetensors")
		m, err := Open(c.model, o)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, m.Close()) })
		for _, kind := range []string{"basic", "plus", "full"} {
			t.Run(base+" "+kind, func(t *testing.T) {
				a := openIPAdapter(t, base+"-"+kind, o)
				require.Empty(t, a.Misfit(m.config().UNet))
				cond, _, err := a.Encode(t.Context(), img, nil, 0.7)
				require.NoError(t, err)
				var in []cgo.Input
				for _, name := range []string{"x", "t", "context", "y"} {
					if key := c.inputs + name; given.tensors[key].Name != "" {
						in = append(in, cgo.Input{Name: name, Shape: given.shape(key), F32: given.f32(key)})
					}
				}
				in = append(in, control.PictureInputs([]control.Picture{cond, cond}, func(int) bool { return true })...)
				out := make([]float32, len(given.f32(c.inputs+"x")))
				require.NoError(t, m.unet().Run(t.Context(), in, []cgo.Output{{Name: "out", Data: out}}))
				requireClose(t, out, ref.f32(base+"."+kind+".out"), 1e-4, kind)
				if base == "sd2" {
					return
				}
				require.NoError(t, m.Attach(a))
				of := readReference(t, controlsFolder, "reference.safetensors")
				got := latentOf(t, m, controlRequest(of, RequestControl{Name: "ip-xl-" + kind, Image: img, Weight: Float(0.7)}), nil)
				requireClose(t, got.Data, ref.f32("latent.xl."+kind), 1e-4, kind)
			})
		}
	}
	sd1 := openTiny(t, "sd1.safetensors", o)
	require.Contains(t, openIPAdapter(t, "xl-plus", o).Misfit(sd1.config().UNet), "whose text has width 96; the model's has 64")
}
