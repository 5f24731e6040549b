package sd

import (
	"context"
	"errors"
	"image"
	"image/color"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/pipeline"
)

// callers is a picture of a caller's own.
type callers struct {
	box image.Rectangle
	at  func(x, y int) color.Color
}

func (c callers) ColorModel() color.Model { return color.RGBAModel }
func (c callers) Bounds() image.Rectangle { return c.box }
func (c callers) At(x, y int) color.Color { return c.at(x, y) }

// Pictures that panic or lie are problems of their fields, found in the caller's
// goroutine and before anything is drawn.
func TestCallersPictures(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{Threads: 2})
	good := image.NewNRGBA(image.Rect(0, 0, 64, 64))
	u, err := OpenESRGAN("../testdata/upscale/x2.safetensors", Options{Threads: 2})
	require.NoError(t, err)
	defer u.Close()
	for name, c := range map[string]struct {
		img  image.Image
		want string
	}{
		"short":   {&image.NRGBA{Rect: image.Rect(0, 0, 64, 64), Stride: 256}, "are too few for 64x64 pixels"},
		"panics":  {callers{image.Rect(0, 0, 64, 64), func(int, int) color.Color { panic("the file is gone") }}, "the picture panicked: the file is gone"},
		"ends":    {callers{image.Rect(0, 0, 64, 64), func(int, int) color.Color { runtime.Goexit(); return nil }}, "the picture ended its goroutine"},
		"palette": {&image.Paletted{Pix: make([]byte, 64*64), Stride: 64, Rect: image.Rect(0, 0, 64, 64)}, "colour 0 of a palette of 0"},
		"nil":     {(*image.YCbCr)(nil), "a nil *image.YCbCr"},
		"huge":    {callers{image.Rectangle{image.Pt(math.MinInt, 0), image.Pt(math.MaxInt, 1)}, nil}, "18446744073709551615x1 pixels"},
	} {
		q := Request{Width: 64, Height: 64, Steps: 1, Image: c.img}
		_, err := m.Generate(t.Context(), q)
		require.ErrorContains(t, err, "Image: ", name)
		require.ErrorContains(t, err, c.want, name)
		q.Image, q.Mask = good, c.img
		_, err = m.Generate(t.Context(), q)
		require.ErrorContains(t, err, "Mask: ", name)
		require.ErrorContains(t, err, c.want, name)
		_, err = u.Upscale(t.Context(), c.img)
		require.ErrorContains(t, err, c.want, name)
		_, err = u.UpscaleTo(t.Context(), c.img, 64, 64)
		require.ErrorContains(t, err, c.want, name)
	}
	_, err = u.Upscale(t.Context(), nil)
	require.ErrorContains(t, err, "nil")
}

// What a callback does is the call's error, and no more: the model goes on.
func TestCallersCallbacks(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{Threads: 2, Batch: 4})
	gone := errors.New("gone")
	for _, stage := range []Stage{StageText, StageSample, StageDecode, StageImage} {
		for _, count := range []int{1, 3} { // alone and together
			q := Request{Width: 16, Height: 16, Steps: 2, Sampler: "euler", Count: count}
			q.OnEvent = func(e Event) error {
				if e.Stage == stage {
					panic(gone)
				}
				return nil
			}
			_, err := m.Generate(t.Context(), q)
			require.ErrorIs(t, err, gone, stage)
			require.ErrorContains(t, err, "OnEvent panicked: gone (")
			q.OnEvent = func(e Event) error {
				if e.Stage == stage {
					runtime.Goexit()
				}
				return nil
			}
			_, err = m.Generate(t.Context(), q)
			require.EqualError(t, err, "OnEvent ended its goroutine (runtime.Goexit)", stage)
		}
	}
	one := []Request{{Width: 16, Height: 16, Steps: 1}}
	require.ErrorIs(t, m.GenerateAll(t.Context(), one, func(int, *Result, error) error { panic(gone) }), gone)
	require.ErrorContains(t, m.GenerateAll(t.Context(), one, func(int, *Result, error) error { runtime.Goexit(); return nil }), "done ended")
	require.ErrorContains(t, m.GenerateAll(t.Context(), one, nil), "done must not be nil")
	result, err := m.Generate(t.Context(), one[0])
	require.NoError(t, err)
	require.Len(t, result.Images, 1)

	odd := openTiny(t, "sd1.safetensors", Options{Threads: 2, Warn: func(string) { panic(gone) }})
	require.ErrorIs(t, odd.host().Warn("odd"), gone)

	u, err := OpenESRGAN("../testdata/upscale/x2.safetensors", Options{Threads: 2})
	require.NoError(t, err)
	u.OnTile = func(int, int) error { panic(gone) }
	_, err = u.Upscale(t.Context(), image.NewGray(image.Rect(0, 0, 8, 8)))
	require.ErrorIs(t, err, gone)
	require.NoError(t, u.Close())
	require.NoError(t, m.Close(), "nothing is in progress")
}

// Without a context nothing begins.
func TestNilContext(t *testing.T) {
	var none context.Context
	m := openTiny(t, "sd1.safetensors", Options{Threads: 2})
	_, err := m.Generate(none, Request{})
	require.ErrorContains(t, err, "ctx must not be nil")
	_, err = m.Benchmark(none, 64, 64)
	require.ErrorContains(t, err, "ctx must not be nil")
	u, err := OpenESRGAN("../testdata/upscale/x2.safetensors", Options{Threads: 2})
	require.NoError(t, err)
	_, err = u.Upscale(none, image.NewGray(image.Rect(0, 0, 8, 8)))
	require.ErrorContains(t, err, "ctx must not be nil")
	_, err = u.UpscaleTo(none, image.NewGray(image.Rect(0, 0, 8, 8)), 8, 8)
	require.ErrorContains(t, err, "ctx must not be nil")
	require.NoError(t, u.Close())
	require.NoError(t, m.Close())
}

// Zero values are closed models.
func TestZeroValues(t *testing.T) {
	require.NoError(t, (&Model{}).Close())
	require.NoError(t, (&ESRGAN{}).Close())
	require.NoError(t, (&TAESD{}).Close())
	require.NoError(t, (*Model)(nil).Close())
	require.Zero(t, (&Model{}).NativeSize())
	require.Zero(t, (&ESRGAN{}).Scale())
	_, err := (*ESRGAN)(nil).Upscale(t.Context(), image.NewGray(image.Rect(0, 0, 8, 8)))
	require.ErrorIs(t, err, ErrClosed)
	require.Empty(t, (&ESRGAN{}).Name()+(&TAESD{}).Name()+(&Model{}).Name())
}

// peak is what f allocates, bytes.
func peak(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// A stage of other proportions crops first, too.
func TestStagesCropFirst(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{Threads: 2})
	for _, upscaler := range []string{"latent", "Lanczos"} {
		result, err := m.Generate(t.Context(), Request{Width: 8, Height: 512, Steps: 1, Sampler: "euler",
			Hires: []HiresPass{{Width: 512, Height: 8, Upscaler: upscaler, Steps: 1}}})
		require.NoError(t, err)
		require.Equal(t, image.Rect(0, 0, 512, 8), result.Images[0].Image.Rect)
	}
}

// A short prompt can ask for a thousand texts of a hundred chunks each.
func TestPromptsAreBounded(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{Threads: 2})
	var turns []string
	for i := range 999 {
		turns = append(turns, strings.Repeat("a", i%7+1)+string(rune('a'+i%26))+string(rune('a'+i/26)))
	}
	bomb := "[" + strings.Join(turns, "|") + "] " + strings.Repeat("word ", 2000)
	require.Less(t, len(bomb), 20_000)
	for name, q := range map[string]Request{
		"Prompt":             {Prompt: bomb, Steps: 1000},
		"NegativePrompt":     {NegativePrompt: bomb, Steps: 1000},
		"Interpolate.Prompt": {Interpolate: &Interpolation{Prompt: &bomb}, Steps: 1000},
		"Hires":              {Prompt: bomb, Steps: 1, Hires: []HiresPass{{Scale: 1, Steps: 1000, Strength: Float(1)}}},
	} {
		require.Less(t, peak(func() {
			_, err := m.Generate(t.Context(), q)
			var all *RequestError
			require.ErrorAs(t, err, &all, name)
			require.ErrorContains(t, err, "chunks of tokens in the first ", name)
			require.ErrorContains(t, err, "phases; at most 512 are supported", name)
		}), uint64(300<<20), name)
	}
	// Two texts that take turns are two, however often.
	require.NoError(t, m.Check(Request{Prompt: "[cat|dog] " + strings.Repeat("word ", 2000), Steps: 1000}))
}

// Each text is encoded once, phases share what it became, and a refiner's part is
// not encoded for the base model.
func TestPhasesShareTexts(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{Threads: 2})
	conditions := func(r Request, steps pipeline.Steps) (all []pipeline.Conditions) {
		d, err := m.resolved(r)
		require.NoError(t, err)
		phases, err := m.pipeline.Conditioner.Conditions(t.Context(), &d.Resolved, d.ExtrasOf(m.pipeline), steps, pipeline.Needs{Cond: true, Uncond: true}, pipeline.Memo{})
		require.NoError(t, err)
		for _, p := range phases {
			all = append(all, p.Conditions())
		}
		return all
	}
	q := Request{Prompt: "[cat|dog] " + strings.Repeat("word ", 100), Steps: 40, Width: 16, Height: 16}
	all := conditions(q, pipeline.Steps{Until: 40})
	require.Len(t, all, 40)
	require.Same(t, all[0].Cond, all[38].Cond)
	require.Same(t, all[0].Uncond, all[39].Uncond)
	require.NotSame(t, all[0].Cond, all[1].Cond)
	for step, c := range conditions(q, pipeline.Steps{After: 20, Until: 40}) {
		require.Equal(t, step >= 20, c.Cond != nil && c.Uncond != nil, step)
	}
	other := "[one|two|three]"
	q.Interpolate = &Interpolation{Prompt: &other, At: 0.5}
	require.Len(t, conditions(q, pipeline.Steps{Until: 40}), 40)
}
