package sd

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Two forks name different adapters alike, and draw at once: each gets its own, and the
// model itself has none.
func TestForksHaveTheirOwnAdapters(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{Batch: 4})
	r := Request{Prompt: "a fox <lora:style:0.8>", Width: 16, Height: 16, Steps: 3, Sampler: "euler", Seed: 1}
	files := []string{"kohya.safetensors", "locon.safetensors"}
	var want []*Result
	for _, file := range files {
		alone := openTiny(t, "sd1.safetensors", Options{})
		require.NoError(t, alone.Attach(Named("style", openAdapter(t, file))))
		result, err := alone.Generate(t.Context(), r)
		require.NoError(t, err)
		require.Contains(t, result.Images[0].Params.UsedAdapters[0].Name, file[:len(file)-len(".safetensors")], "by its own name")
		want = append(want, result)
	}
	require.False(t, equalPix(want[0].Images[0].Image, want[1].Images[0].Image))
	forks := []*Model{m.Fork(), m.Fork()}
	for i, file := range files {
		require.NoError(t, forks[i].Attach(Named("style", openAdapter(t, file))))
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			got, err := forks[i%2].Submit(t.Context(), r, 0)
			if err != nil || !equalPix(got.Images[0].Image, want[i%2].Images[0].Image) {
				t.Error("another picture than alone", err)
			}
		})
	}
	all.Wait()
	_, err := m.Generate(t.Context(), r)
	require.ErrorContains(t, err, "no adapter is attached")
	require.Error(t, forks[0].Attach(Named("style", openAdapter(t, "loha.safetensors"))), "another one of this name is attached")
	require.NoError(t, forks[0].Close())
	_, err = m.Generate(t.Context(), Request{Prompt: "a"})
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, new(Model).Fork().Attach(m), ErrClosed)
}
