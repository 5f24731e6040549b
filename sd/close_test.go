package sd

import (
	"context"
	"errors"
	"image"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Close waits for what runs, however often and from wherever it is called; what
// comes later is refused.
func TestCloseWaitsAndRefuses(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{Threads: 2})
	drawing, closed := make(chan struct{}), make(chan struct{})
	var first sync.Once
	result := make(chan error, 1)
	go func() {
		_, err := m.Generate(t.Context(), Request{Prompt: "a cat", Steps: 4, OnEvent: func(e Event) error {
			first.Do(func() {
				close(drawing)
				time.Sleep(20 * time.Millisecond) // so that Close comes before the end
			})
			select {
			case <-closed:
				return errors.New("Close did not wait")
			default:
				return nil
			}
		}})
		result <- err
	}()
	<-drawing
	errs := make(chan error, 8)
	for range cap(errs) {
		go func() { errs <- m.Close() }()
	}
	for range cap(errs) {
		require.NoError(t, <-errs)
	}
	close(closed)
	require.NoError(t, <-result)

	_, err := m.Generate(t.Context(), Request{Prompt: "a cat"})
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, m.Check(Request{Prompt: "a cat"}), ErrClosed)
	_, err = m.Benchmark(t.Context(), 64, 64)
	require.ErrorIs(t, err, ErrClosed)
}

// What a request brings along must be open, too, and have been.
func TestRequestsOfClosedModels(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{Threads: 2})
	for _, never := range []Attachment{&Model{}, &TAESD{}, &ESRGAN{}} {
		require.ErrorIs(t, m.Attach(never), ErrClosed)
	}
	tiny, err := OpenTAESD(taesdFolder+"/tiny.safetensors", Options{})
	require.NoError(t, err)
	network, err := OpenESRGAN(upscaleFolder+"/x2.safetensors", Options{})
	require.NoError(t, err)
	r := Request{TAESD: attach(t, m, tiny), Hires: []HiresPass{{Upscaler: attach(t, m, network)}}}
	require.NoError(t, m.Check(r))
	require.NoError(t, tiny.Close())
	require.ErrorIs(t, m.Check(r), ErrClosed)
	require.NoError(t, network.Close())
	require.ErrorIs(t, m.Check(Request{Hires: r.Hires}), ErrClosed)
	_, err = (&ESRGAN{}).Upscale(t.Context(), image.NewGray(image.Rect(0, 0, 8, 8)))
	require.ErrorIs(t, err, ErrClosed)
	require.NoError(t, m.Check(Request{}), "the failed checks hold nothing")
	require.NoError(t, m.Close())
}

// All problems are told of at once, of whatever kind.
func TestEveryProblemIsTold(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{Threads: 2})
	err := m.Check(Request{Prompt: "<lora:x:1>", NegativePrompt: strings.Repeat("word ", 20000), Steps: -1, ClipSkip: 99, Refiner: "nobody"})
	var all *RequestError
	require.ErrorAs(t, err, &all)
	var fields []string
	for _, p := range all.Problems {
		fields = append(fields, p.Field)
	}
	slices.Sort(fields)
	require.Equal(t, []string{"ClipSkip", "NegativePrompt", "Prompt", "Refiner", "Steps"}, slices.Compact(fields))
}

// A nil pointer is no picture.
func TestNilPictures(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{Threads: 2})
	err := m.Check(Request{Image: (*image.NRGBA)(nil), Mask: (*image.Gray)(nil)})
	require.ErrorContains(t, err, "Image: the picture must not be nil, got a nil *image.NRGBA")
}

// A callback that panics takes no goroutine of its batch along.
func TestPanicsLeaveNothingBehind(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{Threads: 2, Batch: 4})
	draw := func() {
		_, err := m.Generate(t.Context(), Request{Prompt: "a cat", Steps: 2, Count: 4, OnEvent: func(e Event) error {
			if e.Stage == StageSample {
				panic("enough")
			}
			return nil
		}})
		require.ErrorContains(t, err, "OnEvent panicked: enough")
	}
	draw()
	before := runtime.NumGoroutine()
	for range 5 {
		draw()
	}
	for range 1000 { // those that are about to end
		if runtime.NumGoroutine() > before {
			time.Sleep(10 * time.Millisecond)
		}
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), before)
	require.NoError(t, m.Close(), "and nothing is in progress")
}

// Names of attached models are their own, and no filter's.
func TestAttach(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{Threads: 2})
	one, err := OpenESRGAN(upscaleFolder+"/x2.safetensors", Options{})
	require.NoError(t, err)
	defer one.Close()
	require.NoError(t, m.Attach(one, one))
	other, err := OpenESRGAN(upscaleFolder+"/x2.safetensors", Options{})
	require.NoError(t, err)
	defer other.Close()
	require.ErrorContains(t, m.Attach(other), `another model "x2" is attached already`)
	data, err := os.ReadFile(upscaleFolder + "/x2.safetensors")
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "lanczos.safetensors")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	filter, err := OpenESRGAN(path, Options{})
	require.NoError(t, err)
	defer filter.Close()
	require.ErrorContains(t, m.Attach(filter), `"lanczos" is the name of a filter`)
	require.ErrorContains(t, m.Check(Request{Refiner: "x2"}), `Refiner: no model "x2" is attached`)
	require.ErrorContains(t, m.Check(Request{TAESD: "x2"}), `TAESD: no tiny autoencoder "x2" is attached`)
}

// Cancelling ends the conversion of weights while they are loaded; the next run
// begins it anew.
func TestLoadingIsCancelled(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{Type: "q8_0"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := m.unet().Estimate(ctx, nil, nil)
	require.ErrorIs(t, err, context.Canceled)
	_, err = m.Generate(t.Context(), Request{Width: 16, Height: 16, Steps: 1})
	require.NoError(t, err)
}
