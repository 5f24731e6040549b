package sd

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// submissions are requests of two sizes, with samplers of all kinds.
func submissions() (all []Request) {
	for i, sampler := range []string{"euler", "euler_a", "dpm++2m", "heun", "ddim", "dpm++2m_sde", "lcm", "unipc"} {
		r := Request{Prompt: "a red apple", NegativePrompt: "blurry", Width: 16, Height: 16, Steps: 3 + i%3, Sampler: sampler, Seed: int64(i)}
		if i == 5 {
			r.Count = 3
		}
		all = append(all, r)
	}
	return all
}

// Two goroutines with eight requests each: the pictures of single calls, to the bit,
// with fewer passes.
func TestSubmit(t *testing.T) {
	single, shared := openTiny(t, "sd1.safetensors", Options{}), openTiny(t, "sd1.safetensors", Options{Batch: 4})
	var want [][]Image
	for _, r := range submissions() {
		result, err := single.Generate(t.Context(), r)
		require.NoError(t, err)
		want = append(want, result.Images)
	}
	var callers sync.WaitGroup
	for range 2 {
		callers.Go(func() {
			var all sync.WaitGroup
			for i, r := range submissions() {
				all.Go(func() {
					events := 0
					r.OnEvent = func(e Event) error {
						if e.Stage == StageImage {
							if e.Picture != events {
								t.Errorf("picture %d after %d", e.Picture, events)
							}
							events++
						}
						return nil
					}
					result, err := shared.Submit(t.Context(), r, i%2)
					if err != nil || len(result.Images) != len(want[i]) || events != len(want[i]) {
						t.Error(r.Sampler, err, events)
						return
					}
					for k, img := range result.Images {
						if !equalPix(img.Image, want[i][k].Image) {
							t.Errorf("%s: picture %d is another one", r.Sampler, k)
						}
					}
				})
			}
			all.Wait()
		})
	}
	callers.Wait()
	t.Logf("%d passes for twice %d", shared.Passes(), single.Passes())
	require.Less(t, shared.Passes(), 2*single.Passes()*6/10)
}

// One caller's errors, cancelling and panics are none of the others'.
func TestSubmissionsAreApart(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{Batch: 4})
	good := Request{Prompt: "a", Width: 16, Height: 16, Steps: 8, Sampler: "euler", Seed: 1}
	want, err := m.Generate(t.Context(), good)
	require.NoError(t, err)
	stop := errors.New("stop")
	var all sync.WaitGroup
	for i := range 12 {
		all.Go(func() {
			r, ctx, cancel := good, t.Context(), func() {}
			switch i % 4 {
			case 1:
				r.OnEvent = func(Event) error { return stop }
			case 2:
				r.OnEvent = func(Event) error { panic(stop) }
			case 3:
				ctx, cancel = context.WithTimeout(ctx, time.Duration(i)*time.Millisecond)
			}
			defer cancel()
			result, err := m.Submit(ctx, r, 0)
			switch i % 4 {
			case 0:
				if err != nil || !equalPix(result.Images[0].Image, want.Images[0].Image) {
					t.Error(err)
				}
			case 1, 2:
				if !errors.Is(err, stop) {
					t.Error(err)
				}
			case 3:
				if err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	require.NoError(t, m.Close())
	_, err = m.Submit(t.Context(), good, 0)
	require.ErrorIs(t, err, ErrClosed)
}

// Higher priorities come first, and only so many wait.
func TestSubmitOrder(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{MaxWaiting: 3})
	r := Request{Prompt: "a", Width: 16, Height: 16, Steps: 2, Sampler: "euler"}
	begun, proceed := make(chan struct{}), make(chan struct{})
	var once sync.Once
	first := r
	first.OnEvent = func(Event) error {
		once.Do(func() { close(begun); <-proceed })
		return nil
	}
	var all sync.WaitGroup
	all.Go(func() {
		if _, err := m.Submit(t.Context(), first, 0); err != nil {
			t.Error(err)
		}
	})
	<-begun
	var mutex sync.Mutex
	var order []int
	for n, priority := range []int{1, 5, 3} {
		q := r
		q.OnEvent = func(e Event) error {
			if e.Stage == StageImage {
				mutex.Lock()
				defer mutex.Unlock()
				order = append(order, priority)
			}
			return nil
		}
		all.Go(func() {
			if _, err := m.Submit(t.Context(), q, priority); err != nil {
				t.Error(err)
			}
		})
		require.Eventually(t, func() bool { return m.queue.Waiting() == n+1 }, time.Minute, time.Millisecond)
	}
	_, err := m.Submit(t.Context(), r, 9)
	require.ErrorIs(t, err, ErrBusy)
	close(proceed)
	all.Wait()
	require.Equal(t, []int{5, 3, 1}, order)
	_, err = Open(netsFolder+"/sd1.safetensors", Options{MaxWaiting: -1})
	require.ErrorContains(t, err, "waiting requests must be 1 to")
}
