package pipeline_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/family/stablediffusion"
	"github.com/sdgo/sdgo/sd/pipeline"
	"github.com/sdgo/sdgo/sd/request"
)

// openTiny opens the tiny model of testdata/nets.
func openTiny(t *testing.T, o engine.Options, batch int) *pipeline.Pipeline {
	t.Helper()
	const path = "../../testdata/nets/sd1.safetensors"
	h, err := engine.Open("sd1", o, func() (*convert.Model, error) { return convert.Open(path) })
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	p, err := stablediffusion.Open(h, pipeline.Options{Batch: batch})
	require.NoError(t, err)
	return p
}

// Where memory is short fewer are drawn at once.
func TestBatchFitsMemory(t *testing.T) {
	resolve := func(p *pipeline.Pipeline) pipeline.Drawing {
		d, err := p.Resolve(request.Request{Width: 256, Height: 256}, pipeline.Attached{})
		require.NoError(t, err)
		return d
	}
	p := openTiny(t, engine.Options{}, 5)
	need := func(n int) uint64 {
		bytes, err := pipeline.StepMemory(t.Context(), p, resolve(p), n)
		require.NoError(t, err)
		return bytes
	}
	require.Greater(t, need(4), 3*need(1))
	for memory, want := range map[uint64]int{1 << 40: 5, need(3) + 1: 3, 1: 1} {
		p := openTiny(t, engine.Options{MaxMemory: memory}, 5)
		n, err := pipeline.BatchSize(t.Context(), p, resolve(p))
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
}
