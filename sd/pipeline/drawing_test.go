package pipeline

import (
	"context"
	"image"
	"runtime"
	"testing"

	"github.com/disintegration/imaging"
	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/autoencoder"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/sd/tensor"
	"github.com/sdgo/sdgo/sd/upscale"
)

// peak is what f allocates, bytes.
func peak(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// A picture of one column, scaled until it covers a square, would have 52 GB.
func TestThinPicturesAreCroppedFirst(t *testing.T) {
	for _, size := range []image.Point{{1, 50000}, {50000, 1}, {3, 100000}} {
		img := image.NewNRGBA(image.Rectangle{Max: size})
		for i := range img.Pix {
			img.Pix[i] = 255
		}
		for _, at := range []image.Point{size.Div(2), size.Sub(image.Pt(1, 1)).Div(2)} {
			img.Pix[img.PixOffset(at.X, at.Y)] = 0
		}
		var fitted *image.NRGBA
		require.Less(t, peak(func() { fitted = fit(img, 512, 512) }), uint64(8<<20))
		require.Equal(t, image.Rect(0, 0, 512, 512), fitted.Rect)
		require.Less(t, fitted.NRGBAAt(256, 256).R, uint8(128), "the middle is the middle")
		var squeezed *image.NRGBA
		require.Less(t, peak(func() { squeezed = upscale.Resize(img, 512, 512, imaging.Lanczos) }), uint64(96<<20)) // with AddressSanitizer 70 MB
		require.Equal(t, image.Rect(0, 0, 512, 512), squeezed.Rect)
	}
	// Nothing changes where most of a picture stays.
	for _, size := range []image.Point{{32, 10}, {64, 48}, {512, 768}, {1000, 1000}, {9, 9}} {
		require.Equal(t, image.Rectangle{Max: size}, middleFor(size, image.Pt(512, 512)))
	}
	for size, want := range map[image.Point]image.Rectangle{
		{1, 50000}: image.Rect(0, 24999, 1, 25000), {50000, 2}: image.Rect(24999, 0, 25001, 2), {8, 1024}: image.Rect(0, 508, 8, 516),
	} {
		require.Equal(t, want, middleFor(size, image.Pt(512, 512)))
	}
}

// eighth is an autoencoder with eight pixels along a latent one.
type eighth struct{ autoencoder.None }

func (eighth) Factor() int { return 8 }

// A latent that is enlarged to other proportions is cropped first, too.
func TestLatentsAreCroppedFirst(t *testing.T) {
	p := &Pipeline{Autoencoder: eighth{}}
	h := hiresPass{drawing: Drawing{model: p, Resolved: request.Resolved{Request: request.Request{Width: 8192, Height: 8}}}}
	h.filter, _ = upscale.LookupFilter("latent")
	var latent tensor.Tensor
	require.Less(t, peak(func() {
		var err error
		latent, err = h.enlarge(context.Background(), tensor.New(4, 1024, 1), nil, 0, nil)
		require.NoError(t, err)
	}), uint64(1<<30))
	require.Equal(t, []int{4, 1, 1024}, latent.Shape)
}

// A picture that is scaled covers the whole size.
func TestFitCovers(t *testing.T) {
	wide := image.NewGray(image.Rect(0, 0, 40, 10))
	for i := range wide.Pix {
		wide.Pix[i] = 200
	}
	fitted := fit(imaging.Clone(wide), 24, 24)
	require.Equal(t, image.Rect(0, 0, 24, 24), fitted.Rect)
	for i := 0; i < len(fitted.Pix); i += 4 {
		require.Equal(t, []uint8{200, 200, 200, 255}, fitted.Pix[i:i+4])
	}
}

func TestTransparencyAndMasks(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 2, 1))
	copy(img.Pix, []uint8{0, 100, 200, 255, 10, 20, 30, 0})
	require.Equal(t, []uint8{0, 100, 200, 255, 255, 255, 255, 255}, opaque(img).Pix)

	mask := image.NewNRGBA(image.Rect(0, 0, 16, 8))
	for i := range mask.Pix {
		mask.Pix[i] = 255 * uint8((i%4+1)/4) // opaque black
	}
	copy(mask.Pix[4*9:], []uint8{255, 255, 255, 255}) // one pixel of the second cell
	copy(mask.Pix[4*3:], []uint8{255, 255, 255, 0})   // white, but transparent
	copy(mask.Pix[4*2:], []uint8{100, 100, 100, 255}) // dark grey
	grey, err := picture.Mask(mask)
	require.NoError(t, err)
	full := coverage(grey)
	require.Equal(t, float32(1), full[9])
	require.Equal(t, float32(0), full[3])
	require.InDelta(t, 100.0/255, full[2], 1e-6)
	require.Equal(t, []float32{0, 1}, cells(full, 16, 8))
}

// Prompts that change after different steps are mixed in phases of their own, when
// they are reached; what has fewer chunks is followed by empty ones.
func TestPhasesBetween(t *testing.T) {
	one := func(values ...float32) *Condition {
		return &Condition{Inputs: []engine.Named{{Name: "context", Shape: []int{len(values), 1}, Data: values}}}
	}
	a := []encoded{{until: 2, cond: one(0)}, {until: 6, cond: one(1)}}
	b := []encoded{{until: 3, cond: one(4, 8)}, {until: 6, cond: one(9)}}
	var until []int
	var values [][]float32
	for _, p := range between(a, b, *one(-1), 0.25) {
		until, values = append(until, p.Until), append(values, p.Conditions().Cond.Inputs[0].Data)
	}
	require.Equal(t, []int{2, 3, 6}, until)
	require.Equal(t, [][]float32{{1, 1.25}, {1.75, 1.25}, {3}}, values)
	require.Equal(t, []float32{0}, a[0].cond.Inputs[0].Data)
}
