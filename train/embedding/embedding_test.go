package embedding

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
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

func open(t *testing.T) *latent.Model {
	t.Helper()
	m, err := latent.Open(tiny, latent.Device{Threads: 1})
	require.NoError(t, err)
	t.Cleanup(func() { m.Close() })
	return m
}

// toys is a set of pictures of two shapes, one with a caption.
func toys(t *testing.T, caption string) (*data.Set, *data.Pixels) {
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
	require.NoError(t, os.WriteFile(filepath.Join(folder, "1.txt"), []byte(caption), 0o666))
	set, err := data.Open(folder)
	require.NoError(t, err)
	p, err := set.Load(context.Background(), []image.Point{{X: 64, Y: 64}, {X: 32, Y: 64}})
	require.NoError(t, err)
	require.Equal(t, []int{0, 1, 0}, p.Bucket)
	return set, p
}

func options() Options {
	return Options{Word: "my-toy", Vectors: 3, Init: "red cat", Templates: []string{"a photo of {}", "{} and {}"},
		Options: latent.Options{Seed: 5, Batch: 2, Draw: data.Draw{Flip: true, Background: data.White}}}
}

func task(t *testing.T, m *latent.Model, o Options) *Task {
	t.Helper()
	set, p := toys(t, "{} (on a table)")
	made, err := New(context.Background(), m, set, p, o, func(int, int) {})
	require.NoError(t, err)
	return made
}

// The gradients through the UNet and the text encoder are those of central differences, of
// every vector.
func TestGradients(t *testing.T) {
	made := task(t, open(t), options())
	ctx := context.Background()
	// Rows of the table are so short that the first norm bends what is a step away.
	optim.Scale(made.vectors, 30)
	for n := range uint64(2) {
		sum := [][]float32{make([]float32, len(made.vectors[0]))}
		_, err := made.Gradients(ctx, n, sum)
		require.NoError(t, err)
		// Along the gradient and along one vector of it at a time.
		width := len(sum[0]) / 3
		for k := range 4 {
			along := slices.Clone(sum[0])
			for i := range along {
				if k < 3 && i/width != k {
					along[i] = 0
				}
			}
			norm := optim.Norm([][]float32{along})
			require.NotZero(t, norm)
			at := func(step float64) float64 {
				kept := slices.Clone(made.vectors[0])
				for i, v := range along {
					made.vectors[0][i] += float32(step * float64(v) / norm)
				}
				l, err := made.Gradients(ctx, n, [][]float32{make([]float32, len(kept))})
				require.NoError(t, err)
				copy(made.vectors[0], kept)
				return l.Value
			}
			const h = 0.05
			slope := (at(h) - at(-h)) / (2 * h)
			require.InEpsilon(t, norm, slope, 0.05, "batch %d, part %d", n, k)
		}
	}
}

// The word's loss falls, and its file is a textual inversion that prompts can use.
func TestTraining(t *testing.T) {
	m := open(t)
	made := task(t, m, options())
	rows, err := m.Texts[0].Rows("red cat")
	require.NoError(t, err)
	n := len(rows)
	require.Equal(t, slices.Concat(rows[0], rows[1%n], rows[2%n]), made.vectors[0])
	require.NotEqual(t, rows[0], rows[1%n])
	before := made.Hash()
	run := func(folder string, made *Task) {
		o, err := optim.NewAdamW(optim.DefaultAdamW())
		require.NoError(t, err)
		require.NoError(t, train.Run(context.Background(), made, train.Options{Folder: folder, Steps: 48, Accumulate: 1, Optimizer: o, Rate: 0.01, Schedule: "constant"}))
	}
	run(t.TempDir(), made)
	require.NotEqual(t, before, made.Hash())
	again := task(t, m, options())
	mean := func(of *Task) (sum float64) {
		for n := range uint64(16) { // of those that it was trained on
			l, err := of.Gradients(context.Background(), n, [][]float32{make([]float32, len(of.vectors[0]))})
			require.NoError(t, err)
			sum += l.Value / 16
		}
		return sum
	}
	after, first := mean(made), mean(again)
	t.Log(first, after)
	require.Less(t, after, 0.995*first)
	run(t.TempDir(), again)
	require.Equal(t, made.vectors, again.vectors)

	path := filepath.Join(t.TempDir(), "my-toy.safetensors")
	require.NoError(t, made.Save(context.Background(), path, made.Weights(), dtype.F32))
	e, err := convert.OpenEmbedding(path)
	require.NoError(t, err)
	require.Equal(t, "my-toy", e.Name)
	require.Equal(t, 3, e.Vectors[0].N)
	require.Equal(t, made.vectors[0], e.Vectors[0].Data)
	bytes, err := made.Memory(context.Background(), 2)
	require.NoError(t, err)
	require.Greater(t, bytes, uint64(1<<20))
	require.Less(t, bytes, uint64(1<<30))
}

func TestOptionsAreChecked(t *testing.T) {
	m := open(t)
	long := ""
	for range 80 {
		long += "cat "
	}
	for want, change := range map[string]func(*Options){
		"the word must be":          func(o *Options) { o.Word = "my toy" },
		"vectors must be 1 to":      func(o *Options) { o.Vectors = 0 },
		"a batch must be":           func(o *Options) { o.Batch = 0 },
		"at least one token":        func(o *Options) { o.Init = " " },
		"at least one template":     func(o *Options) { o.Templates = nil },
		"must have {} for the word": func(o *Options) { o.Templates = []string{"a photo"} },
		"must be at most":           func(o *Options) { o.Templates = []string{long + "{}"} },
		"background must be":        func(o *Options) { o.Draw.Background = "" },
		"gamma must be":             func(o *Options) { o.Noise.Gamma = math.NaN() },
	} {
		set, p := toys(t, "")
		o := options()
		change(&o)
		_, err := New(context.Background(), m, set, p, o, func(int, int) {})
		require.ErrorContains(t, err, want)
	}
	xl, err := latent.Open("../../testdata/xl/base.safetensors", latent.Device{Threads: 1})
	require.NoError(t, err)
	defer xl.Close()
	set, p := toys(t, long)
	_, err = New(context.Background(), xl, set, p, options(), func(int, int) {})
	require.ErrorContains(t, err, "models with one text encoder")
	_, err = New(context.Background(), m, set, p, options(), func(int, int) {})
	require.ErrorContains(t, err, "1.png: its caption must be at most")
}
