package cgo

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/internal/checked"
)

// One run with a loss gives the output and the gradients that two runs give, of which the
// first computes the output, whichever parts are computed twice.
func TestLossesAreOneRun(t *testing.T) {
	const elements = 4 * 36
	shape := []int64{1, 4, 6, 6}
	for _, kernels := range checked.Few(KernelNames()) {
		l := newLowRank(t, kernels, 2, false)
		use := AdapterUse{l.adapter, 0.8}
		target, factors, out := make([]float32, elements), make([]float32, elements), make([]float32, elements)
		for i := range target {
			target[i], factors[i] = float32(math.Sin(float64(i))), float32(i%5)/10
		}
		require.NoError(t, l.net.Run(context.Background(), unetInputs(6), []Output{{Name: "out", Data: out}}, use))
		for name, of := range map[string]func(i int) float32{
			"mse":     func(i int) float32 { return out[i] - target[i] },
			"entropy": func(i int) float32 { return softmax(out[i/6*6:i/6*6+6], i%6) - target[i] },
		} {
			for i := range l.seed {
				l.seed[i] = factors[i] * of(i)
			}
			names, _, want := l.gradients(t)
			for _, segments := range []int{1, 4} {
				l.net.Choose(OpChoice{GradientSegments: segments})
				again := make([]float32, elements)
				outputs := []Output{{Name: "out", Data: again}}
				for i, n := range names {
					outputs = append(outputs, Output{Name: n, Data: make([]float32, len(want[i]))})
				}
				in := append(unetInputs(6), Input{Name: name + "_out", Shape: shape, F32: target}, Input{Name: "factor_out", Shape: shape, F32: factors})
				require.NoError(t, l.net.Run(context.Background(), in, outputs, use))
				require.InDeltaSlice(t, out, again, 1e-5)
				for i, n := range names {
					size := float64(slices.Max(want[i]) - slices.Min(want[i]))
					require.InDeltaSlice(t, want[i], outputs[i+1].Data, 1e-3*size+1e-6, "%s, %s, %s, %d segments", kernels, name, n, segments)
				}
			}
		}
	}
}

func softmax(row []float32, i int) float32 {
	sum := 0.0
	for _, v := range row {
		sum += math.Exp(float64(v))
	}
	return float32(math.Exp(float64(row[i])) / sum)
}

func TestLossErrors(t *testing.T) {
	l := newLowRank(t, "generic", 1, false)
	shape, values := []int64{1, 4, 6, 6}, make([]float32, 4*36)
	input := func(name string) Input { return Input{Name: name, Shape: shape, F32: values} }
	for want, in := range map[string][]Input{
		"input mse_out: there must be an input factor_out": {input("mse_out")},
		"input factor_out: is for one of the losses":       {input("factor_out"), input("d_out")},
		"input mse_out: the output has a gradient already": {input("mse_out"), input("factor_out"), input("d_out")},
		"no output none": {input("mse_none"), input("factor_none")},
		"input factor_out must have the shape of out, [1, 4, 6, 6], got [144]": {input("mse_out"), {Name: "factor_out", Shape: []int64{144}, F32: values}},
	} {
		out := []Output{{Name: "d:x", Data: values}}
		require.ErrorContains(t, l.net.Run(context.Background(), append(unetInputs(6), in...), out), want)
	}
}
