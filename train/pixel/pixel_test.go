package pixel

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
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/train"
	"github.com/sdgo/sdgo/train/data"
	"github.com/sdgo/sdgo/train/loss"
	"github.com/sdgo/sdgo/train/network"
	"github.com/sdgo/sdgo/train/optim"
)

// tiny is the architecture of testdata/make.py.
func tiny(classifier bool) Architecture {
	a := Default()
	a.Size, a.Channels, a.Attention, a.Classes, a.Free, a.Classifier = 8, []int{16, 24}, []int{1}, []string{"a", "b", "c"}, !classifier, classifier
	return a
}

func newModel(t *testing.T, a Architecture, o network.Options) *Model {
	t.Helper()
	source, err := New("new", a, 1)
	require.NoError(t, err)
	m, err := Open(context.Background(), source, o)
	require.NoError(t, err)
	t.Cleanup(func() {
		m.Close()
		source.Close()
	})
	return m
}

// pictures are a set of three classes: plain colours.
func pictures(t *testing.T, side int) (*data.Set, *data.Pixels) {
	t.Helper()
	folder := t.TempDir()
	for class, name := range []string{"a", "b", "c"} {
		for i := range 4 {
			img := image.NewNRGBA(image.Rect(0, 0, side, side))
			for p := range side * side {
				img.SetNRGBA(p%side, p/side, color.NRGBA{uint8(255 * (class & 1)), uint8(255 * (class >> 1)), uint8(40 * i), 255})
			}
			path := filepath.Join(folder, name, fmt.Sprintf("%d.png", i))
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
			f, err := os.Create(path)
			require.NoError(t, err)
			require.NoError(t, png.Encode(f, img))
			require.NoError(t, f.Close())
		}
	}
	set, err := data.Open(folder)
	require.NoError(t, err)
	p, err := set.Load(context.Background(), []image.Point{{X: side, Y: side}})
	require.NoError(t, err)
	return set, p
}

type reference map[string][]float32

func readReference(t *testing.T) reference {
	t.Helper()
	bytes, err := os.ReadFile("testdata/reference.safetensors")
	require.NoError(t, err)
	file, err := safetensors.Parse(bytes)
	require.NoError(t, err)
	all := reference{}
	for _, x := range file.Tensors {
		all[x.Name] = make([]float32, len(x.Data)/4)
		require.NoError(t, dtype.Float32(dtype.F32, all[x.Name], x.Data))
	}
	return all
}

// begin gives a model the reference's weights.
func (r reference) begin(t *testing.T, name string, m *Model) {
	t.Helper()
	require.NoError(t, m.Change(context.Background(), func() {
		for i, n := range m.Names() {
			first := r[name+".first."+n]
			require.Len(t, first, len(m.Weights()[i]), n)
			copy(m.Weights()[i], first)
		}
	}))
}

const references, batch = 20, 4 // steps, samples

// requireSame trains a task as the reference was, and compares losses, norms and weights.
func (r reference) requireSame(t *testing.T, name string, task train.Task, rate, clip float64) {
	t.Helper()
	numbers := optim.DefaultAdamW()
	numbers.WeightDecay = 0.01
	o, err := optim.NewAdamW(numbers)
	require.NoError(t, err)
	steps := 0
	require.NoError(t, train.Run(context.Background(), task, train.Options{
		Folder: t.TempDir(), Steps: references, Accumulate: 1, Optimizer: o, Rate: rate, Schedule: "cosine", Warmup: 4, Clip: clip, Average: 0.9,
		OnEvent: func(e train.Event) error {
			if e.Event == "step" {
				require.InEpsilon(t, r[name+".losses"][e.Step-1], e.Loss, 1e-3, "loss of step %d", e.Step)
				require.InEpsilon(t, r[name+".norms"][e.Step-1], e.Norm, 1e-3, "norm of step %d", e.Step)
				steps++
			}
			return nil
		},
		OnSave: func(_ context.Context, _ int, weights [][]float32) (string, error) {
			n := 0
			for i, w := range task.Names() {
				if want := r[name+".average."+w]; want != nil {
					require.InDeltaSlice(t, want, weights[i], 1e-4)
					n++
				}
			}
			require.Equal(t, 1, n)
			return "", nil
		},
	}))
	require.Equal(t, references, steps)
	n := 0
	for i, w := range task.Names() {
		if want := r[name+".last."+w]; want != nil {
			if keys := "qkv_proj.bias"; strings.HasSuffix(w, keys) {
				// Softmax takes away what the biases of keys add: their gradients are rounding errors, which Adam enlarges.
				third := len(want) / 3
				require.InDeltaSlice(t, want[:third], task.Weights()[i][:third], 1e-3, w)
				require.InDeltaSlice(t, want[2*third:], task.Weights()[i][2*third:], 1e-3, w)
				n++
				continue
			}
			require.InDeltaSlice(t, want, task.Weights()[i], 1e-3, w)
			n++
		}
	}
	require.Greater(t, n, 10)
}

// The loss of a UNet over 20 steps is PyTorch's, from the same weights with the same
// noise in the same order; and so are the norms of the gradients, the weights and their
// average.
func TestUNetAgreesWithPyTorch(t *testing.T) {
	r := readReference(t)
	m := newModel(t, tiny(false), network.Options{})
	r.begin(t, "unet", m)
	set, p := pictures(t, 8)
	u, err := NewUNet(m, set, p, UNetOptions{Batch: batch, Draw: data.Draw{Background: data.White}, Noise: loss.Options{Gamma: 5}})
	require.NoError(t, err)
	u.draw = func(n uint64, k int, x0, eps, mask []float32) (float64, int, error) {
		at := int(n)*batch + k
		copy(x0, r["x0"][at*len(x0):])
		copy(eps, r["eps"][at*len(eps):])
		return m.process.TToSigma(float64(r["times"][at])), int(r["given"][at]), nil
	}
	r.requireSame(t, "unet", u, 2e-3, 0.5)
}

// So it is with a classifier.
func TestClassifierAgreesWithPyTorch(t *testing.T) {
	r := readReference(t)
	m := newModel(t, tiny(true), network.Options{})
	r.begin(t, "classifier", m)
	set, p := pictures(t, 8)
	c, err := NewClassifier(m, set, p, ClassifierOptions{Batch: batch, Smoothing: 0.1, Draw: data.Draw{Background: data.White}})
	require.NoError(t, err)
	c.draw = func(n uint64, k int, x0, eps []float32) (float64, int, error) {
		at := int(n)*batch + k
		copy(x0, r["x0"][at*len(x0):])
		copy(eps, r["eps"][at*len(eps):])
		return m.process.TToSigma(float64(r["times"][at])), int(r["classes"][at]), nil
	}
	r.requireSame(t, "classifier", c, 3e-3, 1)
}

// A new model's file is read as what it was made as.
func TestNewModels(t *testing.T) {
	edm, linear, free := tiny(false), tiny(false), tiny(false)
	edm.Process = convert.ProcessEDM
	linear.Betas, linear.Prediction, linear.Classes = "linear", "epsilon", nil
	free.Channels, free.Attention, free.Free = []int{8, 16, 32}, nil, false
	for name, a := range map[string]Architecture{"default": Default(), "tiny": tiny(false), "edm": edm, "linear": linear, "free": free, "classifier": tiny(true)} {
		m := newModel(t, a, network.Options{})
		want := a.config()
		require.Equal(t, want.Params(), m.config.Params(), name)
		require.Equal(t, a.Size, m.Size(), name)
		require.Equal(t, len(a.Classes), m.Classes(), name)
		require.Equal(t, a.Process, m.config.Process.Kind, name)
		if a.Classifier { // which predicts no noise
			continue
		}
		require.Equal(t, map[bool]sampler.Prediction{true: sampler.PredictEDM, false: sampler.Prediction(a.Prediction)}[a.Process == "edm"], m.prediction, name)
		if a.Free && a.Classes != nil {
			require.Equal(t, len(a.Classes), m.config.NullClass, name)
		} else {
			require.Equal(t, -1, m.config.NullClass, name)
		}
	}
	all, trained := newModel(t, Default(), network.Options{}).Elements()
	require.Equal(t, all, trained)
	require.InDelta(t, 1.3e6, all, 1e5) // as Default says
}

// The weights follow from the seed, and are as large as PyTorch's.
func TestInitialWeights(t *testing.T) {
	values := func(seed uint64) map[string][]float32 {
		source, err := New("new", tiny(false), seed)
		require.NoError(t, err)
		defer source.Close()
		all := map[string][]float32{}
		for _, x := range source.Tensors {
			all[x.Name] = make([]float32, x.Elements())
			require.NoError(t, dtype.Float32(dtype.F32, all[x.Name], x.Bytes))
		}
		return all
	}
	a := values(1)
	require.Equal(t, a, values(1))
	require.NotEqual(t, a, values(2))
	const zero, conv = "input_blocks.1.0.out_layers.3.weight", "input_blocks.1.0.in_layers.2"
	require.Zero(t, slices.Max(a[zero]))
	require.Zero(t, slices.Max(a["out.2.bias"]))
	require.Equal(t, float32(1), slices.Min(a["input_blocks.1.0.in_layers.0.weight"]))
	require.Zero(t, slices.Max(a["input_blocks.1.0.in_layers.0.bias"]))
	for _, name := range []string{conv + ".weight", conv + ".bias"} {
		require.InDelta(t, 1/math.Sqrt(16*9), slices.Max(a[name]), 0.02, name)
		require.InDelta(t, -1/math.Sqrt(16*9), slices.Min(a[name]), 0.02, name)
	}
}

func TestArchitecturesAreChecked(t *testing.T) {
	for want, change := range map[string]func(*Architecture){
		"size must be":               func(a *Architecture) { a.Size = 9 },
		"1 to 6 levels":              func(a *Architecture) { a.Channels = nil },
		"divide by 8 groups":         func(a *Architecture) { a.Channels = []int{12, 24} },
		"and 5 heads":                func(a *Architecture) { a.Heads = 5 },
		"blocks must be 1 to 8":      func(a *Architecture) { a.Blocks = 0 },
		"levels with attention":      func(a *Architecture) { a.Attention = []int{2} },
		"process must be ddpm":       func(a *Architecture) { a.Process = "vp" },
		"betas must be":              func(a *Architecture) { a.Betas = "x" },
		"prediction must be":         func(a *Architecture) { a.Prediction = "flow" },
		"2 classes or more":          func(a *Architecture) { a.Classifier, a.Classes = true, []string{"a"} },
		"attention at its last":      func(a *Architecture) { a.Classifier, a.Attention = true, nil },
		"a classifier's process":     func(a *Architecture) { a.Classifier, a.Process = true, "edm" },
		"groups must be 1 to 1024":   func(a *Architecture) { a.Groups = 0 },
		"heads must be 1 to 64":      func(a *Architecture) { a.Heads = 0 },
		"channels must be 4 to 1024": func(a *Architecture) { a.Channels = []int{2048} },
	} {
		a := tiny(false)
		change(&a)
		_, err := New("new", a, 1)
		require.ErrorContains(t, err, want)
	}
}

func unet(t *testing.T, m *Model, o UNetOptions) *UNet {
	t.Helper()
	set, p := pictures(t, m.Size())
	o.Seed, o.Batch, o.Draw.Background = 3, batch, data.White
	u, err := NewUNet(m, set, p, o)
	require.NoError(t, err)
	return u
}

// The loss falls, with EDM's process as with the DDPM's, and the gradients don't depend on
// the number of threads nor on segments.
func TestTraining(t *testing.T) {
	for process, most := range map[string]float64{"ddpm": 0.7, "edm": 0.9} { // of the first losses
		a := tiny(false)
		a.Process = process
		u := unet(t, newModel(t, a, network.Options{}), UNetOptions{ClassDrop: 0.2, Noise: loss.Options{NoiseOffset: 0.1}})
		o, err := optim.NewAdamW(optim.DefaultAdamW())
		require.NoError(t, err)
		var losses []float64
		require.NoError(t, train.Run(context.Background(), u, train.Options{Folder: t.TempDir(), Steps: 100, Accumulate: 1, Optimizer: o, Rate: 3e-3, Schedule: "constant", Clip: 1,
			OnEvent: func(e train.Event) error {
				losses = append(losses, e.Loss)
				return nil
			}}))
		mean := func(x []float64) (m float64) {
			for _, v := range x {
				m += v / float64(len(x))
			}
			return m
		}
		require.Less(t, mean(losses[60:100]), mean(losses[:10])*most, process)
	}
	gradients := func(o network.Options) [][]float32 {
		m := newModel(t, tiny(false), o)
		u := unet(t, m, UNetOptions{})
		sum := make([][]float32, len(m.Names()))
		for i, w := range m.Weights() {
			sum[i] = make([]float32, len(w))
		}
		_, err := u.Gradients(context.Background(), 5, sum)
		require.NoError(t, err)
		return sum
	}
	want := gradients(network.Options{Threads: 1})
	require.NotZero(t, optim.Norm(want))
	require.Equal(t, want, gradients(network.Options{Threads: 2}))
	require.Equal(t, want, gradients(network.Options{Threads: 2, Segments: 3}))
}

// What is drawn for a batch follows from the seed and its number.
func TestSamplesFollowFromTheirNumber(t *testing.T) {
	u := unet(t, newModel(t, tiny(false), network.Options{}), UNetOptions{ClassDrop: 0.5})
	draw := func(n uint64, k int) string {
		x0, eps := make([]float32, 192), make([]float32, 192)
		sigma, class, err := u.draw(n, k, x0, eps, nil)
		require.NoError(t, err)
		return fmt.Sprint(sigma, class, x0, eps)
	}
	first := draw(0, 1)
	none := 0
	for n := range uint64(20) {
		if s := draw(n, 0); strings.Contains(s[:30], " 3 [") {
			none++
		}
	}
	require.InDelta(t, 10, none, 7)
	require.Equal(t, first, draw(0, 1))
	require.NotEqual(t, first, draw(1, 1))
}

// A saved model is the same model, as safetensors and as GGUF.
func TestSave(t *testing.T) {
	for _, name := range []string{"m.safetensors", "m.gguf"} {
		m := newModel(t, tiny(false), network.Options{})
		changed := make([][]float32, len(m.Names()))
		for i, w := range m.Weights() {
			changed[i] = slices.Clone(w)
			changed[i][0] += 0.25
		}
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, m.Save(context.Background(), path, changed, dtype.F32))
		source, err := convert.Open(path)
		require.NoError(t, err)
		defer source.Close()
		again, err := Open(context.Background(), source, network.Options{})
		require.NoError(t, err)
		defer again.Close()
		require.Equal(t, changed, again.Weights(), name)
		require.Equal(t, m.config.Params(), again.config.Params())
		require.Equal(t, m.config.Process, again.config.Process)
		require.JSONEq(t, `["a", "b", "c"]`, source.Metadata[convert.PixelLabels])
	}
}

func TestTasksAreChecked(t *testing.T) {
	m, c := newModel(t, tiny(false), network.Options{}), newModel(t, tiny(true), network.Options{})
	set, p := pictures(t, 8)
	_, large := pictures(t, 16)
	other := &data.Set{Items: set.Items, Classes: []string{"a", "b"}}
	none := &data.Set{Items: set.Items}
	good := UNetOptions{Batch: 2, Draw: data.Draw{Background: data.White}}
	for want, f := range map[string]func() error{
		"of the model's size":    func() error { _, err := NewUNet(m, set, large, good); return err },
		"a batch must be":        func() error { _, err := NewUNet(m, set, p, UNetOptions{}); return err },
		"3 classes, the":         func() error { _, err := NewUNet(m, other, p, good); return err },
		"the pictures have none": func() error { _, err := NewUNet(m, none, p, good); return err },
		"is a classifier":        func() error { _, err := NewUNet(c, set, p, good); return err },
		"is a UNet":              func() error { _, err := NewClassifier(m, set, p, ClassifierOptions{Batch: 1}); return err },
		"have no classes":        func() error { _, err := NewClassifier(c, none, p, ClassifierOptions{Batch: 1}); return err },
		"smoothed labels": func() error {
			_, err := NewClassifier(c, set, p, ClassifierOptions{Batch: 1, Smoothing: 1})
			return err
		},
		"background must be":   func() error { _, err := NewUNet(m, set, p, UNetOptions{Batch: 1}); return err },
		"without a class must": func() error { _, err := NewUNet(m, set, p, UNetOptions{Batch: 1, ClassDrop: 1}); return err },
	} {
		require.ErrorContains(t, f(), want)
	}
	bytes, err := unet(t, m, UNetOptions{}).Memory(context.Background(), 3)
	require.NoError(t, err)
	_, trained := m.Elements()
	require.Greater(t, bytes, uint64(20*trained))
	require.Less(t, bytes, uint64(100<<20))
}

// Classes of a set are the model's by name, whatever their order, or by number.
func TestMatchClasses(t *testing.T) {
	m := newModel(t, tiny(false), network.Options{})
	match := func(names ...string) (classes []int, err error) {
		set := &data.Set{Classes: names}
		for i := range names {
			set.Items = append(set.Items, data.Item{Class: i})
		}
		if set, err = m.MatchClasses(set); err == nil {
			require.Equal(t, []string{"a", "b", "c"}, set.Classes)
			for _, item := range set.Items {
				classes = append(classes, item.Class)
			}
		}
		return classes, err
	}
	got, err := match("c", "a")
	require.NoError(t, err)
	require.Equal(t, []int{2, 0}, got)
	got, err = match("1", "c")
	require.NoError(t, err)
	require.Equal(t, []int{1, 2}, got)
	for _, name := range []string{"d", "3", "-1"} {
		_, err = match("a", name)
		require.ErrorContains(t, err, "the model has no class")
	}
	set, err := m.MatchClasses(&data.Set{Items: []data.Item{{Class: -1}}})
	require.NoError(t, err)
	require.Nil(t, set.Classes)
}

// Softmax takes away what the biases of keys add, so that the classifier's gradients by them
// are 0 but for rounding, where those by queries and values are not: PyTorch's rounding is
// another one, and TestClassifierAgreesWithPyTorch leaves them out.
func TestBiasesOfKeysHaveNoGradient(t *testing.T) {
	t.Setenv("SDGO_KERNELS", "generic") // in float32
	m := newModel(t, tiny(true), network.Options{})
	readReference(t).begin(t, "classifier", m)
	set, p := pictures(t, 8)
	c, err := NewClassifier(m, set, p, ClassifierOptions{Batch: batch, Draw: data.Draw{Background: data.White}})
	require.NoError(t, err)
	sum := make([][]float32, len(c.Weights()))
	for i, w := range c.Weights() {
		sum[i] = make([]float32, len(w))
	}
	_, err = c.Gradients(context.Background(), 0, sum)
	require.NoError(t, err)
	n := 0
	for i, name := range c.Names() {
		if !strings.HasSuffix(name, "qkv_proj.bias") {
			continue
		}
		n++
		third := len(sum[i]) / 3
		keys, others := optim.Norm([][]float32{sum[i][third : 2*third]}), optim.Norm([][]float32{sum[i][:third], sum[i][2*third:]})
		t.Logf("%s: %.2g of keys, %.2g of queries and values", name, keys, others)
		require.Greater(t, others, 0.0)
		require.Less(t, keys, 1e-5*others, name)
	}
	require.Positive(t, n)
}
