package control

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/sd"
	"github.com/sdgo/sdgo/sd/preprocess"
	"github.com/sdgo/sdgo/train"
	"github.com/sdgo/sdgo/train/data"
	"github.com/sdgo/sdgo/train/latent"
	"github.com/sdgo/sdgo/train/network"
	"github.com/sdgo/sdgo/train/optim"
)

const tiny = "../../testdata/nets/sd1.safetensors"

func options(t *testing.T) Options {
	edges, err := preprocess.Parse("canny")
	require.NoError(t, err)
	return Options{Blocks: 1, Caption: "a thing", CaptionDrop: 0.3, Device: network.Options{Threads: 1},
		Control: func(img image.Image) (*image.NRGBA, error) { return edges.Apply(img, 0) },
		Options: latent.Options{Seed: 5, Batch: 2, Draw: data.Draw{Background: data.White}}}
}

// pictures are three squares at different places.
func pictures(t *testing.T, side int) (*data.Set, *data.Pixels) {
	t.Helper()
	folder := t.TempDir()
	for i := range 3 {
		img := image.NewNRGBA(image.Rect(0, 0, side, side))
		for p := range side * side {
			x, y := p%side, p/side
			c := color.NRGBA{200, 220, 240, 255}
			if x > 10+8*i && x < 30+8*i && y > 12 && y < 40 {
				c = color.NRGBA{uint8(200 * (i % 2)), 20, 60, 255}
			}
			img.SetNRGBA(x, y, c)
		}
		f, err := os.Create(filepath.Join(folder, fmt.Sprintf("%d.png", i)))
		require.NoError(t, err)
		require.NoError(t, png.Encode(f, img))
		require.NoError(t, f.Close())
	}
	set, err := data.Open(folder)
	require.NoError(t, err)
	p, err := set.Load(context.Background(), []image.Point{{X: side, Y: side}})
	require.NoError(t, err)
	return set, p
}

func task(t *testing.T, o Options, side int) (*Task, error) {
	t.Helper()
	m, err := latent.Open(tiny, latent.Device{Threads: 1})
	require.NoError(t, err)
	t.Cleanup(func() { m.Close() })
	set, p := pictures(t, side)
	made, err := New(context.Background(), m, set, p, o, func(int, int) {})
	if err == nil {
		t.Cleanup(made.Close)
	}
	return made, err
}

func zeros(t *Task) [][]float32 {
	out := make([][]float32, len(t.Weights()))
	for i, w := range t.Weights() {
		out[i] = make([]float32, len(w))
	}
	return out
}

// The gradients, which pass through two networks, are those of central differences.
func TestGradients(t *testing.T) {
	t.Setenv("SDGO_KERNELS", "generic")
	made, err := task(t, options(t), 64)
	require.NoError(t, err)
	ctx := context.Background()
	for n := range uint64(2) {
		sum := zeros(made)
		_, err := made.Gradients(ctx, n, sum)
		require.NoError(t, err)
		for _, only := range []int{-1, 0, len(sum) - 1} {
			along := zeros(made)
			for i := range along {
				if only < 0 || i == only {
					copy(along[i], sum[i])
				}
			}
			norm := optim.Norm(along)
			require.NotZero(t, norm)
			at := func(step float64) float64 {
				move := func(by float64) {
					require.NoError(t, made.Change(ctx, func() {
						for i, a := range along {
							for k, v := range a {
								made.Weights()[i][k] += float32(by * float64(v) / norm)
							}
						}
					}))
				}
				move(step)
				l, err := made.Gradients(ctx, n, zeros(made))
				require.NoError(t, err)
				move(-step)
				return l.Value
			}
			const h = 0.01
			require.InEpsilon(t, norm, (at(h)-at(-h))/(2*h), 0.05, "batch %d, weight %d", n, only)
		}
	}
}

// The loss falls, and the file is a T2I-Adapter that a model draws with.
func TestTraining(t *testing.T) {
	run := func() *Task {
		made, err := task(t, options(t), 64)
		require.NoError(t, err)
		o, err := optim.NewAdamW(optim.DefaultAdamW())
		require.NoError(t, err)
		require.NoError(t, train.Run(context.Background(), made, train.Options{Folder: t.TempDir(), Steps: 24, Accumulate: 1, Optimizer: o, Rate: 0.01, Schedule: "constant"}))
		return made
	}
	made := run()
	first, err := task(t, options(t), 64)
	require.NoError(t, err)
	mean := func(of *Task) (sum float64) {
		for n := range uint64(8) {
			l, err := of.Gradients(context.Background(), n, zeros(of)) // of those that it was trained on
			require.NoError(t, err)
			sum += l.Value / 8
		}
		return sum
	}
	require.Less(t, mean(made), 0.98*mean(first))
	require.Equal(t, made.Weights(), run().Weights())

	path := filepath.Join(t.TempDir(), "edges.safetensors")
	require.NoError(t, made.Save(context.Background(), path, made.Weights(), dtype.F16))
	m, err := sd.Open(tiny, sd.Options{Threads: 1})
	require.NoError(t, err)
	defer m.Close()
	c, err := sd.OpenControl(path, sd.Options{Threads: 1})
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, m.Attach(c))
	q := sd.Request{Prompt: "a thing", Seed: 1, Width: 64, Height: 64, Steps: 1}
	without, err := m.Generate(t.Context(), q)
	require.NoError(t, err)
	q.Controls = []sd.RequestControl{{Name: c.Name(), Image: without.Images[0].Image}}
	with, err := m.Generate(t.Context(), q)
	require.NoError(t, err)
	require.NotEqual(t, without.Images[0].Image.Pix, with.Images[0].Image.Pix)
	require.Error(t, made.Save(context.Background(), path, made.Weights(), dtype.Q8_0))
	bytes, err := made.Memory(context.Background(), 2)
	require.NoError(t, err)
	require.Greater(t, bytes, uint64(1<<20))
}

func TestOptionsAreChecked(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"blocks of each feature must be": func(o *Options) { o.Blocks = 0 },
		"must be a function":             func(o *Options) { o.Control = nil },
		"are not mirrored":               func(o *Options) { o.Draw.Flip = true },
		"without a caption must":         func(o *Options) { o.CaptionDrop = 1 },
		"has no caption":                 func(o *Options) { o.Caption = "" },
		"a batch must be":                func(o *Options) { o.Batch = 0 },
		"0.png: mine": func(o *Options) {
			o.Control = func(image.Image) (*image.NRGBA, error) { return nil, errors.New("mine") }
		},
		"must be as large": func(o *Options) {
			o.Control = func(image.Image) (*image.NRGBA, error) { return image.NewNRGBA(image.Rect(0, 0, 3, 3)), nil }
		},
	} {
		o := options(t)
		change(&o)
		_, err := task(t, o, 64)
		require.ErrorContains(t, err, want)
	}
}
