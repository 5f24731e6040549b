package report

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// On a terminal there is a bar with the time of a step, which leaves nothing behind
// on its line.
func TestBars(t *testing.T) {
	var w bytes.Buffer
	b := New(Bars, &w, nil)
	b.Loaded(Load{Model: "tiny", Threads: 2, Seconds: 1})
	for i := 1; i <= 3; i++ {
		b.Progress(step(0, i, 3, time.Duration(i)*1500*time.Millisecond))
	}
	b.Progress(Progress{Stage: Decode, Index: 1, Of: 4, Elapsed: time.Second})
	b.Saved(Image{Path: "out.png", Seed: 5, Width: 8, Height: 8, Steps: 3, Sampler: "euler"})
	for _, s := range []string{"text", "picture 1, 1.5 s/step", "(2/3)", "decoding", "(1/4)", "out.png: seed 5, 8x8, 3 steps of euler\n"} {
		require.Contains(t, w.String(), s)
	}
	last := w.String()[:strings.Index(w.String(), "out.png")]
	require.True(t, strings.HasSuffix(last, "\r"), "%q", last)
	b.Close()
}

// Of pictures that are drawn together one has the bar.
func TestBarsOfOnePicture(t *testing.T) {
	var w bytes.Buffer
	b := New(Bars, &w, nil)
	for i := 1; i <= 3; i++ {
		for picture := range 3 {
			b.Progress(step(picture, i, 3, time.Second))
		}
	}
	require.Contains(t, w.String(), "picture 1")
	require.NotContains(t, w.String(), "picture 2")
}

func TestBarsOfOtherWork(t *testing.T) {
	var w bytes.Buffer
	b := New(Bars, &w, nil)
	b.Progress(Progress{Stage: Upload, Index: 3, Of: 9})
	require.Contains(t, w.String(), "uploading, MiB")
	require.Contains(t, w.String(), "(3/9)")
	b.Progress(Progress{Stage: Upload, Index: 9, Of: 9})
	require.Contains(t, w.String(), "text")
	b.Progress(Progress{Stage: Upscale, Picture: 1, Index: 1, Of: 4})
	require.Contains(t, w.String(), "upscaling 2")
	b.Upscaled(Upscaled{Path: "a-x2.png", Width: 16, Height: 8})
	b.Sheet(Sheet{2, "sheet.png"})
	b.Done(Done{Images: 2})
	for _, s := range []string{"a-x2.png: 16x8 in 0.0 s\n", "sheet.png: 2 pictures\n", "2 pictures in 0.0 s"} {
		require.Contains(t, w.String(), s)
	}
}

// A conversion shows progress a few times a second, and its end.
func TestBytes(t *testing.T) {
	for style, want := range map[Style]string{
		Silent: "",
		Lines:  "converted 1.00 kB of 2.00 kB\nconverted 1.30 kB of 2.00 kB\nconverted 2.00 kB of 2.00 kB\n",
		Events: `{"event":"convert","done":1000,"of":2000}` + "\n" + `{"event":"convert","done":1300,"of":2000}` + "\n" + `{"event":"convert","done":2000,"of":2000}` + "\n",
	} {
		var w bytes.Buffer
		c := newClock()
		b := NewBytes("convert", style, &w, c.now)
		for n := int64(1000); n <= 2000; n += 100 {
			b.Advance(n, 2000)
			c.advance(100 * time.Millisecond)
			if n == 1300 {
				c.advance(-400 * time.Millisecond) // no further line until the end
			}
		}
		b.Close()
		require.Equal(t, want, w.String())
	}
	var w bytes.Buffer
	b := NewBytes("convert", Bars, &w, newClock().now)
	b.Advance(1000, 2000)
	require.Contains(t, w.String(), "converting")
	require.Contains(t, w.String(), "50%")
	b.Close()
	require.True(t, strings.HasSuffix(w.String(), "\r"), "%q", w.String())
}
