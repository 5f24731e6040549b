//go:build unix

package builtin_test

import (
	"math"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd"
)

// processorTime is what this process has used of all processors: other programs don't change it.
func processorTime(t *testing.T) time.Duration {
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// The first picture after a change of the set of adapters costs little more than the next one, as the
// sets are kept apart from the model: with this one, a hundredth of SD 1.5, a tenth of a second at
// most, and never as much as two new models. The least of some tries counts, since what happens beside
// it only adds. BenchmarkBeside in package sd measures the same with a model of full size.
func TestFirstPictureAfterAChange(t *testing.T) {
	drawn := func(m *sd.Model, adapters ...sd.RequestAdapter) time.Duration {
		before := processorTime(t)
		_, err := m.Generate(t.Context(), sd.Request{Prompt: "a coconut on a yellow background", Seed: 1, Steps: 1, Adapters: adapters})
		require.NoError(t, err)
		return processorTime(t) - before
	}
	m := adapted(t)
	things := func(strength float64) sd.RequestAdapter {
		return sd.RequestAdapter{Name: "things", Strength: sd.Float(strength)}
	}
	drawn(m)
	reload, first, next := time.Duration(math.MaxInt64), time.Duration(math.MaxInt64), time.Duration(math.MaxInt64)
	for i := range 5 {
		before := processorTime(t)
		again, err := sd.Open("", sd.Options{})
		require.NoError(t, err)
		drawn(again)
		reload = min(reload, processorTime(t)-before)
		require.NoError(t, again.Close())

		drawn(m)
		set := things(0.5 + float64(i)/10)
		first, next = min(first, drawn(m, set)), min(next, drawn(m, set))
	}
	t.Logf("of the processors' time: %v for the first picture of one step after a change, %v for the next, %v with a new model", first, next, reload)
	require.Less(t, first-next, time.Second/10)
	require.Less(t, first-next, 2*reload)
}
