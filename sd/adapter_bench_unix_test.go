//go:build unix

package sd

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sd/adapter"
	"github.com/sdgo/sdgo/sd/control"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/tensor"
)

// BenchmarkBeside is what adapters cost in a step with guidance of the model SDGO_DENOISER, of
// Stable Diffusion, whose side is SDGO_SIDE latents, 32 by default: of the LoRAs SDGO_LORA, a list of files,
// all at once, and of the ControlNet SDGO_CONTROL. The ways take turns. The processors' time is what compares them on a
// machine that is busy with other things.
func BenchmarkBeside(b *testing.B) {
	path := os.Getenv("SDGO_DENOISER")
	if path == "" {
		b.Skip("SDGO_DENOISER is no file")
	}
	side := int(numberOf(b, "SDGO_SIDE", 32))
	host, n, inputs, outputs := benchDenoiser(b, path)
	inputs = slices.Clone(inputs)
	inputs[0] = cgo.Input{Name: "x", Shape: []int64{2, 4, int64(side), int64(side)}, F32: make([]float32, 2*4*side*side)}
	for i := range inputs[0].F32 {
		inputs[0].F32[i] = float32(i%7)/3 - 1
	}
	inputs[1] = cgo.Input{Name: "t", Shape: []int64{2}, F32: []float32{500, 500}}
	inputs[2].Shape = slices.Concat([]int64{2}, inputs[2].Shape[1:])
	inputs[2].F32 = slices.Repeat(inputs[2].F32, 2)
	outputs[0].Data = make([]float32, 2*4*side*side)

	ctx := context.Background()
	type way struct {
		name           string
		run            func()
		seconds        float64
		opening, first float64
		work           []cgo.Work
	}
	ways := []*way{{name: "plain", run: func() { require.NoError(b, n.Run(ctx, inputs, outputs)) }}}
	if files := filepath.SplitList(os.Getenv("SDGO_LORA")); len(files) > 0 {
		before := processorTime(b)
		a := benchLoRAs(b, host.Weights, files)
		ways = append(ways, &way{name: "LoRA", opening: processorTime(b) - before, run: func() { require.NoError(b, n.Run(ctx, inputs, outputs, a)) }})
	}
	if file := os.Getenv("SDGO_CONTROL"); file != "" {
		c, err := control.OpenControlNet(file, engine.Options{Backend: "cpu"})
		require.NoError(b, err)
		b.Cleanup(func() { require.NoError(b, c.Close()) })
		hint, err := c.Hint(ctx, tensor.New(3, side*control.Factor, side*control.Factor), 0)
		require.NoError(b, err)
		items := []control.Item{{Hint: hint}, {Hint: hint}}
		ways = append(ways, &way{name: "ControlNet", run: func() {
			added, err := c.Run(ctx, inputs[0], inputs[1:], items, control.Residuals{}, false)
			require.NoError(b, err)
			more, err := added.On(n.Device())
			require.NoError(b, err)
			require.NoError(b, n.Run(ctx, append(slices.Clip(inputs), more...), outputs))
			added.Close()
		}})
	}
	for _, w := range ways {
		before := processorTime(b)
		w.run()
		w.first = processorTime(b) - before
		n.Profile()
	}
	for b.Loop() {
		for _, w := range ways {
			before := processorTime(b)
			w.run()
			w.seconds += processorTime(b) - before
			w.work = append(w.work, n.Profile()...)
		}
	}
	for _, w := range ways {
		b.Logf("%s: %.3f s of the processors, %.3f of the first one's; %.3f s to open files, %.3f s more at first", w.name, w.seconds/float64(b.N),
			w.seconds/ways[0].seconds, w.opening, w.first-w.seconds/float64(b.N))
		for _, o := range w.work[:len(w.work)/b.N] {
			b.Logf("  %+v", o)
		}
	}
}

// benchLoRAs are LoRAs of a model's denoiser.
func benchLoRAs(b *testing.B, m *convert.Model, files []string) *engine.Adaptation {
	var uses []adapter.Use
	for _, file := range files {
		a, err := adapter.Open(file)
		require.NoError(b, err)
		b.Cleanup(func() { require.NoError(b, a.Close()) })
		uses = append(uses, adapter.Use{Adapter: a, Text: 1, Denoiser: 1})
	}
	var sets adapter.Sets
	set, err := sets.Get(m, uses, func(string, ...any) error { return nil })
	require.NoError(b, err)
	return set.Denoiser()
}
