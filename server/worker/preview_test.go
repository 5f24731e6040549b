package worker

import (
	"bytes"
	"image"
	"image/png"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func preview(side, seed int) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, side, side))
	for i := range img.Pix {
		if img.Pix[i] = uint8(i*i*seed/7 + i); i%4 == 3 {
			img.Pix[i] = 255
		}
	}
	return img
}

// Previews of several pictures at once have the pixels that they had, whatever tables they
// were encoded with, and cost little memory.
func TestPreviews(t *testing.T) {
	var p previews
	var all sync.WaitGroup
	for k := range 8 {
		all.Go(func() {
			for n := range 20 {
				img := preview(1+(k*20+n)%40, k+n)
				data, err := p.encode(img)
				if err != nil {
					t.Error(err)
					return
				}
				got, err := png.Decode(bytes.NewReader(data))
				if err != nil {
					t.Error(err)
					return
				}
				for y := range img.Rect.Dy() {
					for x := range img.Rect.Dx() {
						if got.At(x, y) != got.ColorModel().Convert(img.At(x, y)) {
							t.Errorf("%d %d: another pixel at %d, %d", k, n, x, y)
							return
						}
					}
				}
			}
		})
	}
	all.Wait()
	_, err := p.encode(image.NewNRGBA(image.Rectangle{}))
	require.Error(t, err, "no pixels")

	img := preview(16, 3)
	// The race detector lets a sync.Pool drop a fourth of what it is given.
	kept := allocated(200, func() { _, _ = p.encode(img) })
	fresh := allocated(20, func() { _, _ = new(previews).encode(img) })
	require.Less(t, kept, fresh/2, "the tables are kept")
}

// allocated is how many bytes a function allocates on average.
func allocated(runs uint64, f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		f()
	}
	runtime.ReadMemStats(&after)
	return (after.TotalAlloc - before.TotalAlloc) / runs
}
