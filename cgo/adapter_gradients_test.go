package cgo

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/internal/checked"
)

// lowRank is a net with an adapter of low rank on some of its layers.
type lowRank struct {
	net     *Net
	changes []Change
	adapter *Adapter
	seed    []float32
}

var adaptedLayers = []string{
	"input_blocks.0.0.weight", "input_blocks.1.0.in_layers.2.weight", "input_blocks.2.0.op.weight",
	"middle_block.1.transformer_blocks.0.attn1.to_q.weight", "middle_block.1.transformer_blocks.0.attn2.to_k.weight",
	"middle_block.1.transformer_blocks.0.ff.net.0.proj.weight", "middle_block.1.transformer_blocks.0.ff.net.2.weight",
	"middle_block.1.transformer_blocks.0.attn1.to_out.0.weight", "out.2.weight",
}

func newLowRank(t *testing.T, kernels string, threads int, tucker bool) *lowRank {
	r := rand.New(rand.NewPCG(8, 9))
	l := &lowRank{net: randomNet(t, "unet", unetParams(), Config{Threads: threads, Kernels: kernels}), seed: make([]float32, 4*36)}
	for i, w := range l.net.Weights() {
		if slices.Contains(adaptedLayers, w.Name) {
			c, _ := factors(r, i, w, 2, tucker)
			l.changes = append(l.changes, c)
		}
	}
	require.Len(t, l.changes, len(adaptedLayers))
	for i := range l.seed {
		l.seed[i] = float32(r.NormFloat64())
	}
	var err error
	l.adapter, err = l.net.NewAdapter(l.changes)
	require.NoError(t, err)
	return l
}

// gradients are by the factors of all changes, in their order: of down, mid and up.
func (l *lowRank) gradients(t *testing.T) (names []string, values, gradients [][]float32) {
	var outputs []Output
	for _, c := range l.changes {
		for _, f := range []struct {
			part  string
			bytes []byte
		}{{"down", c.Down}, {"mid", c.Mid}, {"up", c.Up}} {
			if f.bytes != nil {
				name := "d:adapter:" + l.net.Weights()[c.Weight].Name + "." + f.part
				outputs = append(outputs, Output{Name: name, Data: make([]float32, len(f.bytes)/4)})
				names, values, gradients = append(names, name), append(values, floatsOf(f.bytes)), append(gradients, outputs[len(outputs)-1].Data)
			}
		}
	}
	inputs := append(unetInputs(6), Input{Name: "d_out", Shape: []int64{1, 4, 6, 6}, F32: l.seed})
	require.NoError(t, l.net.Run(context.Background(), inputs, outputs, AdapterUse{l.adapter, 0.8}))
	return names, values, gradients
}

// loss is what the gradients are of, with the changes as they are now.
func (l *lowRank) loss(t *testing.T) (sum float64) {
	require.NoError(t, l.net.UpdateAdapter(context.Background(), l.adapter, l.changes))
	out := make([]float32, 4*36)
	require.NoError(t, l.net.Run(context.Background(), unetInputs(6), []Output{{Name: "out", Data: out}}, AdapterUse{l.adapter, 0.8}))
	for i, v := range out {
		sum += float64(v) * float64(l.seed[i])
	}
	return sum
}

// Each factor's gradient against central differences in a random direction.
func TestAdapterGradientsAreSlopes(t *testing.T) {
	all := KernelNames()
	for _, kernels := range []string{GGML, "generic", all[len(all)-1]} {
		for _, tucker := range []bool{false, true} {
			l := newLowRank(t, kernels, 1, tucker)
			names, values, gradients := l.gradients(t)
			r := rand.New(rand.NewPCG(10, 11))
			for i, name := range names {
				start := slices.Clone(values[i])
				direction, is, norm := make([]float64, len(start)), 0.0, 0.0
				for k := range direction {
					direction[k] = r.NormFloat64() / math.Sqrt(float64(len(start)))
					is += direction[k] * float64(gradients[i][k])
					norm += math.Pow(float64(gradients[i][k]), 2) / float64(len(start))
				}
				ends := map[float64]float64{}
				for _, h := range []float64{1. / 64, -1. / 64, 1. / 32, -1. / 32} {
					for k := range start {
						values[i][k] = start[k] + float32(h*direction[k])
					}
					ends[h] = l.loss(t)
				}
				copy(values[i], start)
				want := (4*(ends[1./64]-ends[-1./64])*32 - (ends[1./32]-ends[-1./32])*16) / 3
				require.InDelta(t, want, is, 3e-3*math.Sqrt(norm)+2e-3, "%s, %s, tucker %v", name, kernels, tucker)
				require.Greater(t, norm, 1e-9, name)
			}
		}
	}
}

// The same numbers to the bit, whichever parts are computed twice and by however many
// threads.
func TestAdapterGradientsOfSegments(t *testing.T) {
	all := KernelNames()
	var want [][]float32
	for _, threads := range []int{1, 2, 8} {
		l := newLowRank(t, all[len(all)-1], threads, true)
		for _, segments := range []int{1, 4, 30} {
			l.net.Choose(OpChoice{GradientSegments: segments})
			_, _, got := l.gradients(t)
			if want == nil {
				want = got
			}
			require.Equal(t, want, got, "%d threads, %d segments", threads, segments)
		}
	}
}

// An adapter with new numbers gives what one gives that is made of them, of what depends on
// the context alone, which a graph keeps between runs, too.
func TestUpdatedAdapters(t *testing.T) {
	for _, kernels := range checked.Few(KernelNames()) {
		l := newLowRank(t, kernels, 1, false)
		before := l.loss(t)
		for _, c := range l.changes {
			for _, values := range [][]float32{floatsOf(c.Down), floatsOf(c.Up), c.Scale} {
				for i := range values {
					values[i] *= 0.75
				}
			}
		}
		got := l.loss(t)
		require.NotEqual(t, before, got)
		var err error
		l.adapter, err = l.net.NewAdapter(l.changes)
		require.NoError(t, err)
		require.Equal(t, l.loss(t), got)

		for _, wrong := range [][]Change{l.changes[1:], nil, slices.Concat(l.changes[1:], l.changes[:1])} {
			require.ErrorContains(t, l.net.UpdateAdapter(context.Background(), l.adapter, wrong), "same weights")
		}
		require.ErrorContains(t, l.net.UpdateAdapter(context.Background(), l.adapter, []Change{{Weight: -1}}), "does not exist")
		other := randomNet(t, "unet", unetParams(), Config{Threads: 1, Kernels: kernels})
		require.ErrorContains(t, other.UpdateAdapter(context.Background(), l.adapter, l.changes), "not made for this net")
		require.Equal(t, got, l.loss(t), "refused changes change nothing")
	}
}

func TestAdapterGradientErrors(t *testing.T) {
	l := newLowRank(t, "generic", 1, false)
	inputs := append(unetInputs(6), Input{Name: "d_out", Shape: []int64{1, 4, 6, 6}, F32: l.seed})
	for name, want := range map[string]string{
		"d:adapter:out.2.weight.mid":   "has down and up",
		"d:adapter:out.2.weight":       "no adapter of this run has a low-rank change of weight out.2",
		"d:adapter:nothing.up":         "of weight nothing",
		"d:adapter:":                   "of weight ",
		"d:adapter:out.0.weight.up":    "of weight out.0.weight",
		"d:adapter:out.2.weight.scale": "has down and up",
	} {
		err := l.net.Run(context.Background(), inputs, []Output{{Name: name, Data: make([]float32, 4)}}, AdapterUse{l.adapter, 1})
		require.ErrorContains(t, err, want)
	}
	err := l.net.Run(context.Background(), unetInputs(6), []Output{{Name: "d:adapter:out.2.weight.up", Data: make([]float32, 8)}}, AdapterUse{l.adapter, 1})
	require.ErrorContains(t, err, "d_OUT")
	value := []Output{{Name: "d:adapter:out.2.weight.down"}}
	require.NoError(t, l.net.Run(context.Background(), inputs, value, AdapterUse{l.adapter, 1}))
	require.Equal(t, []int64{2, 32, 3, 3}, value[0].Value.Shape())
}
