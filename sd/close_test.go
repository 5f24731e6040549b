package sd

import (
	"errors"
	"image"
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
	_, err = m.Measure(t.Context(), 64, 64)
	require.ErrorIs(t, err, ErrClosed)
}

// What a request brings along must be open, too, and have been.
func TestRequestsOfClosedModels(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{Threads: 2})
	for name, r := range map[string]Request{
		"refiner":          {Refiner: &Model{}},
		"tiny autoencoder": {TAESD: &TAESD{}},
		"upscaler":         {Stages: []HiresStage{{ESRGAN: &ESRGAN{}}}},
	} {
		require.ErrorIs(t, m.Check(r), ErrClosed, name)
	}
	_, err := (&ESRGAN{}).Upscale(t.Context(), image.NewGray(image.Rect(0, 0, 8, 8)))
	require.ErrorIs(t, err, ErrClosed)
	require.NoError(t, m.Check(Request{}), "the failed checks hold nothing")
	require.NoError(t, m.Close())
}

// All problems are told of at once, of whatever kind.
func TestEveryProblemIsTold(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{Threads: 2})
	err := m.Check(Request{Prompt: "<lora:x:1>", NegativePrompt: strings.Repeat("word ", 20000), Steps: -1, ClipSkip: 99, Refiner: m})
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
	require.ErrorContains(t, err, "Image: no picture: a nil *image.NRGBA; Mask: no picture: a nil *image.Gray")
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
