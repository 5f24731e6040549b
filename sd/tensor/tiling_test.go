package tensor

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSpansCoverEverySide(t *testing.T) {
	tile := Tiling{Size: 16, Overlap: 4}
	for n := 1; n < 100; n++ {
		all := tile.Spans(n)
		require.Equal(t, 0, all[0].Start)
		require.Equal(t, n, all[len(all)-1].End)
		for i, s := range all {
			require.LessOrEqual(t, s.End-s.Start, tile.Size)
			if i > 0 {
				require.Greater(t, s.Start, all[i-1].Start)
				require.GreaterOrEqual(t, all[i-1].End-s.Start, tile.Overlap, "neighbours share the overlap")
			}
		}
	}
}

// covered computes z tile by tile.
func covered(t Tiling, z Tensor, scale int, one func(Tensor) (Tensor, error), done Progress) (Tensor, error) {
	return t.Cover(z.Height(), z.Width(), scale, func(ys, xs Span) (Tensor, error) { return one(z.Crop(ys, xs)) }, done)
}

// A decoder of single pixels gives the same picture in tiles as at once: blending
// leaves no seams.
func TestTiledDecodeIsSeamless(t *testing.T) {
	const scale = 4
	upscale := func(z Tensor) (Tensor, error) {
		out := New(z.Channels(), z.Height()*scale, z.Width()*scale)
		for c := range out.Channels() {
			for y := range out.Height() {
				for x := range out.Width() {
					out.Data[(c*out.Height()+y)*out.Width()+x] = z.Data[(c*z.Height()+y/scale)*z.Width()+x/scale]
				}
			}
		}
		return out, nil
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, size := range [][2]int{{16, 16}, {17, 40}, {33, 31}, {64, 9}} {
		z := New(3, size[0], size[1])
		for i := range z.Data {
			z.Data[i] = float32(r.NormFloat64())
		}
		want, _ := upscale(z)
		var calls, of int
		got, err := covered(Tiling{16, 4, 0}, z, scale, upscale, func(_, n int) error {
			calls, of = calls+1, n
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, of, calls)
		require.Equal(t, want.Shape, got.Shape)
		for i := range want.Data {
			if d := want.Data[i] - got.Data[i]; !(d < 1e-5 && d > -1e-5) {
				t.Fatalf("%v: element %d must be %g, got %g", size, i, want.Data[i], got.Data[i])
			}
		}
	}
}

// Between two different tiles the picture changes gradually.
func TestSeamsRise(t *testing.T) {
	calls := 0
	step := func(z Tensor) (Tensor, error) {
		out := New(1, z.Height(), z.Width())
		for i := range out.Data {
			out.Data[i] = float32(calls)
		}
		calls++
		return out, nil
	}
	got, err := covered(Tiling{16, 8, 0}, New(1, 4, 24), 1, step, NoProgress)
	require.NoError(t, err)
	for x := 1; x < 24; x++ {
		d := got.Data[x] - got.Data[x-1]
		require.True(t, d >= 0 && d < 0.2, "a jump of %g at %d", d, x)
	}
	require.Zero(t, got.Data[0])
	require.Equal(t, float32(1), got.Data[23])
}

func TestTiledDecodeStops(t *testing.T) {
	stop := errors.New("stop")
	_, err := covered(Tiling{16, 4, 0}, New(1, 40, 40), 1, func(Tensor) (Tensor, error) { return Tensor{}, stop }, NoProgress)
	require.ErrorIs(t, err, stop)
}
