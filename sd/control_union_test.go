package sd

import (
	"context"
	"fmt"
	"image"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/sd/control"
	"github.com/sdgo/sdgo/sd/tensor"
)

// What a ControlNet Union returns for a picture of two kinds, against the diffusers library.
func TestControlNetUnionAgreesWithDiffusers(t *testing.T) {
	ref := readReference(t, controlsFolder, "union-reference.safetensors")
	given := readReference(t, filepath.Join("..", "testdata", "xl"), "reference.safetensors")
	var in []cgo.Input
	for _, name := range []string{"t", "context", "y"} {
		in = append(in, cgo.Input{Name: name, Shape: given.shape("base.unet." + name), F32: given.f32("base.unet." + name)})
	}
	x := cgo.Input{Name: "x", Shape: given.shape("base.unet.x"), F32: given.f32("base.unet.x")}
	shape, all := ref.shape("picture"), ref.f32("picture")
	picture := tensor.Of(all[:len(all)/2], int(shape[1]), int(shape[2]), int(shape[3]))
	for _, w := range ways() {
		net := openControl(t, "union.safetensors", w.options)
		require.Equal(t, 6, net.Types())
		for _, kind := range []int{3, 0} {
			t.Run(fmt.Sprintf("%s/%d", w, kind), func(t *testing.T) {
				hint, err := net.Hint(context.Background(), picture, kind)
				require.NoError(t, err)
				item := control.Item{Hint: hint, Kind: kind}
				r, err := net.Run(context.Background(), x, in, []control.Item{item, item}, control.Residuals{}, false)
				require.NoError(t, err)
				got := readResiduals(t, r)
				for k := range net.Outputs() {
					out, want := fmt.Sprintf("control.%d", k), fmt.Sprintf("%d.control.%d", kind, k)
					if k == net.Outputs()-1 {
						out = "control.middle"
					}
					requireClose(t, got[out], ref.f32(want), w.bound, want)
				}
				// One of the two alone, where the other's does not count.
				off := item
				off.Scale = make([]float32, net.Outputs())
				before, err := net.Run(context.Background(), x, in, []control.Item{item, item}, control.Residuals{}, false)
				require.NoError(t, err)
				for i, items := range [][]control.Item{{item, off}, {off, item}} {
					some, err := net.Run(context.Background(), x, in, items, control.Residuals{}, false)
					require.NoError(t, err)
					sum, err := net.Run(context.Background(), x, in, items, before, false)
					require.NoError(t, err)
					added := readResiduals(t, sum)
					for name, values := range readResiduals(t, some) {
						half := len(values) / 2
						mine := slices.Clone(got[name])
						clear(mine[(1-i)*half:][:half])
						requireClose(t, values, mine, w.bound, name)
						for k, v := range mine {
							mine[k] = v + got[name][k]
						}
						requireClose(t, added[name], mine, w.bound, name)
					}
				}
			})
		}
	}
}

// The kind of a picture is said, or that which its preprocessor makes, where a network needs it.
func TestControlTypes(t *testing.T) {
	m, err := Open(filepath.Join("..", "testdata", "xl", "base.safetensors"), Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	union, plain := openControl(t, "union.safetensors", Options{}), openControl(t, "xl.safetensors", Options{})
	require.NoError(t, m.Attach(union))
	require.NoError(t, m.Attach(plain))
	photo := image.NewNRGBA(image.Rect(0, 0, 64, 64))
	for i := range photo.Pix {
		photo.Pix[i] = byte(i * i >> 5)
	}
	draw := func(c RequestControl) (*Result, error) {
		c.Image = photo
		return m.Generate(context.Background(), Request{Prompt: "a", Width: 64, Height: 64, Steps: 1, Controls: []RequestControl{c}})
	}
	_, err = draw(RequestControl{Name: "union"})
	require.ErrorContains(t, err, "must say what the picture is")
	_, err = draw(RequestControl{Name: "union", Type: ControlInpaint})
	require.ErrorContains(t, err, "inpaint is not among the 6 kinds")
	_, err = draw(RequestControl{Name: "union", Type: "edges"})
	require.ErrorContains(t, err, "must be one of")
	_, err = draw(RequestControl{Name: "xl", Type: ControlDepth})
	require.ErrorContains(t, err, "xl is none")
	said, err := draw(RequestControl{Name: "union", Type: ControlCanny, Preprocess: "canny"})
	require.NoError(t, err)
	meant, err := draw(RequestControl{Name: "union", Preprocess: "canny"})
	require.NoError(t, err)
	require.Equal(t, said.Images[0].Image.Pix, meant.Images[0].Image.Pix)
	other, err := draw(RequestControl{Name: "union", Type: ControlDepth, Preprocess: "canny"})
	require.NoError(t, err)
	require.NotEqual(t, said.Images[0].Image.Pix, other.Images[0].Image.Pix)
}
