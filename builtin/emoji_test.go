package builtin_test

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/builtin"
	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/cli"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sd"
	"github.com/sdgo/sdgo/sd/engine"
)

const classifierFile = "emoji-classifier.safetensors"

// classifier is the network that tells classes of noisy pictures apart.
func classifier(t *testing.T) (*convert.Pixel, *engine.Network) {
	host, err := engine.Open("classifier", engine.Options{Backend: "cpu"}, func() (*convert.Model, error) { return convert.Open(classifierFile) })
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, host.Close()) })
	c, err := convert.ConfigAs[*convert.Pixel](host.Weights, "a classifier")
	require.NoError(t, err)
	require.True(t, c.Classifier)
	var n *engine.Network
	require.NoError(t, host.Place(func() (err error) {
		n, err = host.NewNetwork(engine.Spec{Role: engine.RoleDenoiser, Title: "the classifier", Arch: c.Net, Prefix: c.Prefix, Params: c.Params()})
		return err
	}, func() ([]engine.Demand, error) { return nil, nil }))
	return c, n
}

// seen is the class that a finished picture shows.
func seen(t *testing.T, c *convert.Pixel, n *engine.Network, img *image.NRGBA) int {
	x := make([]float32, 3*32*32)
	for i := range 32 * 32 {
		for channel := range 3 {
			x[channel*32*32+i] = float32(img.Pix[4*i+channel])/127.5 - 1
		}
	}
	logits := make([]float32, c.Classes)
	require.NoError(t, n.Run(t.Context(), []cgo.Input{{Name: "x", Shape: []int64{1, 3, 32, 32}, F32: x}, {Name: "timesteps", Shape: []int64{1}, F32: []float32{0}}},
		[]cgo.Output{{Name: "logits", Data: logits}}))
	return slices.Index(logits, slices.Max(logits))
}

// The model in the box draws what it is asked for, as its classifier sees it.
func TestEmoji(t *testing.T) {
	for file, most := range map[string]int64{"emoji.safetensors": 3e6, classifierFile: 1e6} {
		info, err := os.Stat(file)
		require.NoError(t, err)
		require.LessOrEqual(t, info.Size(), most)
	}
	m, err := sd.Open(sd.BuiltinPrefix+builtin.Emoji, sd.Options{Batch: 8})
	require.NoError(t, err)
	defer m.Close()
	require.False(t, m.TakesText())
	n, names := m.Classes()
	require.Equal(t, 24, n)
	require.Len(t, names, n)
	c, net := classifier(t)
	require.Equal(t, n, c.Classes)
	right := 0
	for class, name := range names {
		r, err := m.Generate(context.Background(), sd.Request{Class: name, Seed: 1, Count: 2, Steps: 20})
		require.NoError(t, err)
		for _, img := range r.Images {
			require.Equal(t, image.Pt(32, 32), img.Image.Rect.Size())
			if got := seen(t, c, net, img.Image); got == class {
				right++
			} else {
				t.Logf("a %s is seen as a %s", name, names[got])
			}
		}
	}
	t.Logf("%d of %d are right", right, 2*n)
	require.GreaterOrEqual(t, right, 2*n*9/10)

	// By number it is the same, and without a class it is something.
	var same [2]*sd.Result
	for i, class := range []string{names[8], "8"} {
		same[i], err = m.Generate(context.Background(), sd.Request{Class: class, Seed: 3, Steps: 3})
		require.NoError(t, err)
	}
	require.Equal(t, same[0].Images[0].Image.Pix, same[1].Images[0].Image.Pix)
	_, err = m.Generate(context.Background(), sd.Request{Seed: 3, Steps: 3})
	require.NoError(t, err)
	_, err = m.Generate(context.Background(), sd.Request{Class: "wolf"})
	require.ErrorContains(t, err, fmt.Sprintf("no class is called %q; did you mean", "wolf"))
}

func TestBuiltins(t *testing.T) {
	require.Equal(t, []string{builtin.Name, builtin.Emoji}, sd.Builtins())
	m, err := sd.Open("", sd.Options{})
	require.NoError(t, err)
	require.Equal(t, builtin.Name, m.Name())
	require.NoError(t, m.Close())
	_, err = sd.Open(sd.BuiltinPrefix+"sdgo-cats", sd.Options{})
	require.EqualError(t, err, `no built-in model "sdgo-cats": there is sdgo-noto, sdgo-emoji`)
	w, err := sd.OpenWeights(sd.BuiltinPrefix + builtin.Emoji)
	require.NoError(t, err)
	require.Equal(t, convert.PixelUNet, w.Family)
	require.NoError(t, w.Close())
	_, err = sd.OpenWeights(sd.BuiltinPrefix + "sdgo-cats")
	require.Error(t, err)
	require.Panics(t, func() { sd.RegisterBuiltin(builtin.Name, nil) })
}

// sdgo sample needs nothing but a class: the model is in the box.
func TestSampleWithoutAModel(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sheet.png")
	var out, errors bytes.Buffer
	code := cli.Run(t.Context(), []string{"sample", "--class", "cat,fox", "-n", "2", "--grid", "2", "--steps", "3", "-s", "1", "-q", "-o", path}, nil, &out, &errors)
	require.Zero(t, code, errors.String())
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	c, err := png.DecodeConfig(f)
	require.NoError(t, err)
	require.Equal(t, []int{64, 64}, []int{c.Width, c.Height})

	code = cli.Run(t.Context(), []string{"txt2img", "-m", "builtin:sdgo-emoji", "-p", "a fox", "-q", "-o", path}, nil, &out, &errors)
	require.NotZero(t, code)
	require.Contains(t, errors.String(), "sdgo sample -m builtin:sdgo-emoji --class CLASS draws with it")
}
