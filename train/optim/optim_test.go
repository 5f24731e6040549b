package optim

import (
	"encoding/json"
	"math"
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

type reference struct {
	Weights  [][]float32
	Norms    []float64
	Distance float64
}

func references(t *testing.T) map[string]reference {
	t.Helper()
	data, err := os.ReadFile("testdata/reference.json")
	require.NoError(t, err)
	var all map[string]reference
	require.NoError(t, json.Unmarshal(data, &all))
	return all
}

// start and gradients are those of testdata/make.py.
func start() [][]float32 {
	out := [][]float32{make([]float32, 7), make([]float32, 20)}
	for _, s := range out {
		for i := range s {
			s[i] = float32(0.5 * math.Sin(float64(1+i)))
		}
	}
	return out
}

func gradients(weights [][]float32) [][]float32 {
	out := like(weights)
	for j, s := range weights {
		for i, w := range s {
			out[j][i] = 2*float32(1+i%5)*(w-float32(math.Cos(float64(i)))) + 0.4*w*w*w
		}
	}
	return out
}

func adamW(t *testing.T, o AdamWOptions) *AdamW {
	t.Helper()
	a, err := NewAdamW(o)
	require.NoError(t, err)
	return a
}

func prodigy(t *testing.T, o ProdigyOptions) *Prodigy {
	t.Helper()
	p, err := NewProdigy(o)
	require.NoError(t, err)
	return p
}

var warm = Schedule{Kind: "constant", Warmup: 10, Steps: 50}

type testCase struct {
	name     string
	make     func() Optimizer
	rate     float64
	schedule Schedule
}

func cases(t *testing.T) []testCase {
	decay, betas := DefaultAdamW(), AdamWOptions{Beta1: 0.8, Beta2: 0.95, Epsilon: 1e-4}
	decay.WeightDecay = 0.1
	more := ProdigyOptions{Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8, WeightDecay: 0.01, First: 1e-3, Coefficient: 2, BiasCorrection: true, SafeguardWarmup: true}
	first := DefaultProdigy()
	first.First = 1e-3
	constant := Schedule{Kind: "constant", Steps: 50}
	return []testCase{
		{"adamw", func() Optimizer { return adamW(t, decay) }, 0.02, constant},
		{"adamw-betas", func() Optimizer { return adamW(t, betas) }, 0.005, warm},
		{"prodigy", func() Optimizer { return prodigy(t, first) }, 1, constant},
		{"prodigy-more", func() Optimizer { return prodigy(t, more) }, 1, warm},
	}
}

func (c testCase) steps(t *testing.T, o Optimizer, w [][]float32, from, to int) (norms []float64) {
	t.Helper()
	for step := from; step < to; step++ {
		g := gradients(w)
		norm, err := Clip(g, 3)
		require.NoError(t, err)
		norms = append(norms, norm)
		require.NoError(t, o.Step(c.rate*c.schedule.Factor(step), w, g))
	}
	return norms
}

func requireNear(t *testing.T, want, got [][]float32, bound float64) {
	t.Helper()
	require.NoError(t, sameLengths("weights", want, got))
	for i := range want {
		for k := range want[i] {
			require.InDelta(t, want[i][k], got[i][k], bound, "tensor %d, element %d", i, k)
		}
	}
}

func TestOptimizersAgreeWithPyTorch(t *testing.T) {
	all := references(t)
	for _, c := range cases(t) {
		t.Run(c.name, func(t *testing.T) {
			w, o := start(), c.make()
			norms := c.steps(t, o, w, 0, 50)
			requireNear(t, all[c.name].Weights, w, 2e-5) // of weights near 1
			require.InDeltaSlice(t, all[c.name].Norms, norms, 3e-5)
			if p, ok := o.(*Prodigy); ok {
				require.InEpsilon(t, all[c.name].Distance, p.Distance(), 1e-4)
			}
		})
	}
}

func TestAverageAgreesWithPyTorch(t *testing.T) {
	w, o := start(), adamW(t, DefaultAdamW())
	a, err := NewAverage(0.95, w)
	require.NoError(t, err)
	for range 50 {
		require.NoError(t, o.Step(0.01, w, gradients(w)))
		require.NoError(t, a.Update(w))
	}
	requireNear(t, references(t)["average"].Weights, a.Values(), 3e-6)
	require.Error(t, a.Update(w[:1]))
}

// A restored optimizer continues to the bit.
func TestRestore(t *testing.T) {
	for _, c := range cases(t) {
		w, o := start(), c.make()
		c.steps(t, o, w, 0, 20)
		restored, again := c.make(), like(w)
		require.NoError(t, restored.Restore(o.State()))
		for i := range w {
			copy(again[i], w[i])
		}
		c.steps(t, o, w, 20, 50)
		c.steps(t, restored, again, 20, 50)
		require.Equal(t, w, again, c.name)

		bad := o.State()
		for name, s := range bad.Slices {
			if name != "mean" {
				bad.Slices[name] = s[:1]
			}
		}
		require.Error(t, c.make().Restore(bad), c.name)
	}
}

// Results don't depend on the number of threads.
func TestThreads(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	compute := func(threads int) ([][]float32, float64) {
		runtime.GOMAXPROCS(threads)
		w := [][]float32{make([]float32, 3*blockSize+5), make([]float32, blockSize-1)}
		for _, s := range w {
			for i := range s {
				s[i] = float32(math.Sin(float64(i)))
			}
		}
		p := prodigy(t, DefaultProdigy())
		var norm float64
		for range 5 {
			g := gradients(w)
			var err error
			norm, err = Clip(g, 1)
			require.NoError(t, err)
			require.NoError(t, p.Step(1, w, g))
		}
		return w, norm
	}
	want, norm := compute(1)
	for _, threads := range []int{2, 8} {
		got, n := compute(threads)
		require.Equal(t, want, got)
		require.Equal(t, norm, n)
	}
}

func TestClip(t *testing.T) {
	g := [][]float32{{3}, {4}}
	norm, err := Clip(g, 10)
	require.NoError(t, err)
	require.Equal(t, 5.0, norm)
	require.Equal(t, [][]float32{{3}, {4}}, g)
	for _, bad := range []float64{math.NaN(), math.Inf(1)} {
		_, err := Clip([][]float32{{1}, {float32(bad)}}, 1)
		require.ErrorContains(t, err, "not finite")
	}
	Scale(g, 0.5)
	Add(g, [][]float32{{1}, {1}})
	require.Equal(t, [][]float32{{2.5}, {3}}, g)
}

func TestSchedules(t *testing.T) {
	at := func(kind string, step int) float64 { return Schedule{Kind: kind, Warmup: 4, Steps: 24}.Factor(step) }
	for _, kind := range ScheduleKinds() {
		require.NoError(t, Schedule{Kind: kind, Warmup: 4, Steps: 24}.Check())
		require.Equal(t, 0.25, at(kind, 0))
		require.Equal(t, 1.0, at(kind, 3))
		require.Equal(t, 1.0, at(kind, 4))
	}
	require.InDelta(t, 0.5, at("cosine", 14), 1e-12)
	require.InDelta(t, (1+math.Cos(math.Pi/4))/2, at("cosine", 9), 1e-12)
	require.InDelta(t, 0, at("cosine", 24), 1e-12)
	require.InDelta(t, 0.75, at("linear", 9), 1e-12)
	require.Equal(t, 0.0, at("linear", 99))
	require.Equal(t, 1.0, at("constant", 20))
	for _, s := range []Schedule{{Kind: "x", Steps: 1}, {Kind: "cosine"}, {Kind: "cosine", Steps: 5, Warmup: 5}, {Kind: "cosine", Steps: 5, Warmup: -1}} {
		require.Error(t, s.Check())
	}
	require.NoError(t, Schedule{Kind: "constant", Steps: 1}.Check())
}

func TestNumbersAreChecked(t *testing.T) {
	for _, change := range []func(*AdamWOptions){
		func(o *AdamWOptions) { o.Beta1 = 1 }, func(o *AdamWOptions) { o.Beta2 = math.NaN() },
		func(o *AdamWOptions) { o.Epsilon = 0 }, func(o *AdamWOptions) { o.WeightDecay = -1 },
	} {
		o := DefaultAdamW()
		change(&o)
		_, err := NewAdamW(o)
		require.Error(t, err)
	}
	for _, change := range []func(*ProdigyOptions){
		func(o *ProdigyOptions) { o.Beta1 = 1 }, func(o *ProdigyOptions) { o.Coefficient = math.Inf(1) }, func(o *ProdigyOptions) { o.First = 0 },
	} {
		o := DefaultProdigy()
		change(&o)
		_, err := NewProdigy(o)
		require.Error(t, err)
	}
	a := adamW(t, DefaultAdamW())
	require.ErrorContains(t, a.Step(1, [][]float32{{1, 2}}, [][]float32{{1}}), "gradients[0] must have 2 elements, got 1")
	require.NoError(t, a.Step(1, [][]float32{{1, 2}}, [][]float32{{1, 1}}))
	require.Error(t, a.Step(1, [][]float32{{1}}, [][]float32{{1}}))
}
