package lora

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/train"
	"github.com/sdgo/sdgo/train/data"
	"github.com/sdgo/sdgo/train/latent"
	"github.com/sdgo/sdgo/train/optim"
)

const tiny = "../../testdata/nets/sd1.safetensors"

// pictures are three of two shapes, one with a caption.
func pictures(t *testing.T) (*data.Set, *data.Pixels) {
	t.Helper()
	folder := t.TempDir()
	for i, size := range []image.Point{{64, 64}, {48, 100}, {64, 64}} {
		img := image.NewNRGBA(image.Rectangle{Max: size})
		for p := range size.X * size.Y {
			img.SetNRGBA(p%size.X, p/size.X, color.NRGBA{uint8(p * 3 % 256), uint8(80 * i), uint8(p % size.X * 4), 255})
		}
		f, err := os.Create(filepath.Join(folder, fmt.Sprintf("%d.png", i)))
		require.NoError(t, err)
		require.NoError(t, png.Encode(f, img))
		require.NoError(t, f.Close())
	}
	require.NoError(t, os.WriteFile(filepath.Join(folder, "1.txt"), []byte("a (red) thing"), 0o666))
	set, err := data.Open(folder)
	require.NoError(t, err)
	p, err := set.Load(context.Background(), []image.Point{{X: 64, Y: 64}, {X: 32, Y: 64}})
	require.NoError(t, err)
	return set, p
}

func options() Options {
	return Options{Rank: 3, Alpha: 1.5, Layers: Transformer, Caption: "a thing", CaptionDrop: 0.3,
		Options: latent.Options{Seed: 5, Batch: 2, Draw: data.Draw{Flip: true, Background: data.White}}}
}

func task(t *testing.T, o Options) *Task { return taskOf(t, tiny, o) }

func taskOf(t *testing.T, path string, o Options) *Task {
	t.Helper()
	m, err := latent.Open(path, latent.Device{Threads: 1})
	require.NoError(t, err)
	t.Cleanup(func() { m.Close() })
	set, p := pictures(t)
	made, err := New(context.Background(), m, set, p, o, func(int, int) {})
	require.NoError(t, err)
	return made
}

func zeros(t *Task) [][]float32 {
	out := make([][]float32, len(t.weights))
	for i, w := range t.weights {
		out[i] = make([]float32, len(w))
	}
	return out
}

// The gradients are those of central differences, along all factors and along those of one
// layer.
func TestGradients(t *testing.T) {
	made, ctx := task(t, options()), context.Background()
	require.NoError(t, made.Change(ctx, func() {
		for i, w := range made.weights {
			for k := range w { // the first product is zero: then the first factors have no gradient
				w[k] += float32((k*7+i)%11-5) / 100
			}
		}
	}))
	for n := range uint64(2) {
		sum := zeros(made)
		_, err := made.Gradients(ctx, n, sum)
		require.NoError(t, err)
		for _, only := range []int{-1, 0, 1, 6} {
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
								made.weights[i][k] += float32(by * float64(v) / norm)
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
			// A step that changes the loss by a hundredth: less is lost in the rounding of float16.
			h := 0.005 / norm
			slope := (at(h) - at(-h)) / (2 * h)
			require.InEpsilon(t, norm, slope, 0.1, "batch %d, factor %d", n, only)
		}
	}
}

// The loss falls; two trainings are the same; the file is a LoRA that fits the model, under
// kohya's names.
func TestTraining(t *testing.T) {
	run := func() *Task {
		made := task(t, options())
		o, err := optim.NewAdamW(optim.DefaultAdamW())
		require.NoError(t, err)
		require.NoError(t, train.Run(context.Background(), made, train.Options{Folder: t.TempDir(), Steps: 30, Accumulate: 1, Optimizer: o, Rate: 0.01, Schedule: "constant"}))
		return made
	}
	made, first := run(), task(t, options())
	mean := func(of *Task) (sum float64) {
		for n := range uint64(8) {
			l, err := of.Gradients(context.Background(), 1000+n, zeros(of))
			require.NoError(t, err)
			sum += l.Value / 8
		}
		return sum
	}
	require.Less(t, mean(made), 0.95*mean(first))
	require.Equal(t, made.weights, run().weights)

	path := filepath.Join(t.TempDir(), "thing.safetensors")
	require.NoError(t, made.Save(context.Background(), path, made.weights, dtype.F32))
	file, err := convert.OpenAdapter(path)
	require.NoError(t, err)
	defer file.Close()
	source, err := convert.Open(tiny)
	require.NoError(t, err)
	defer source.Close()
	targets, err := convert.NewAdapterTargets(source)
	require.NoError(t, err)
	changes, unmatched, err := file.Match(targets)
	require.NoError(t, err)
	require.Empty(t, unmatched)
	require.Len(t, changes, len(made.parts[0].layers))
	require.Error(t, made.Save(context.Background(), path, made.weights, dtype.Q8_0))
	bytes, err := made.Memory(context.Background(), 2)
	require.NoError(t, err)
	require.Greater(t, bytes, uint64(1<<20))
}

// Captions are the pictures' own, or that of all, and some are dropped.
func TestCaptions(t *testing.T) {
	made := task(t, options())
	count := map[string]int{}
	for n := range uint64(300) {
		count[made.captions.Text(int(n%3), n)]++
		require.Equal(t, made.captions.Text(1, n), made.captions.Text(1, n))
	}
	require.InDelta(t, 90, count[""], 30)
	require.InDelta(t, 70, count["a (red) thing"], 20)
	require.InDelta(t, 140, count["a thing"], 30)
}

func TestOptionsAreChecked(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"the rank must be":       func(o *Options) { o.Rank = 0 },
		"alpha must be":          func(o *Options) { o.Alpha = -1 },
		"layers must be":         func(o *Options) { o.Layers = "x" },
		"without a caption must": func(o *Options) { o.CaptionDrop = 1 },
		"a batch must be":        func(o *Options) { o.Batch = 0 },
		"has no caption":         func(o *Options) { o.Caption = "" },
		"at most 75 tokens long": func(o *Options) { o.Caption = strings.Repeat("cat ", 80) },
		"the background must be": func(o *Options) { o.Draw.Background = "" },
	} {
		o := options()
		change(&o)
		m, err := latent.Open(tiny, latent.Device{})
		require.NoError(t, err)
		set, p := pictures(t)
		_, err = New(context.Background(), m, set, p, o, func(int, int) {})
		require.ErrorContains(t, err, want)
		require.NoError(t, m.Close())
	}
	o := options()
	o.Layers = Attention
	require.Less(t, len(task(t, o).weights), len(task(t, options()).weights))
}
