package sd

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSpansCoverEverySide(t *testing.T) {
	tile := tiling{size: 16, overlap: 4}
	for n := 1; n < 100; n++ {
		all := tile.spans(n)
		require.Equal(t, 0, all[0].start)
		require.Equal(t, n, all[len(all)-1].end)
		for i, s := range all {
			require.LessOrEqual(t, s.end-s.start, tile.size)
			if i > 0 {
				require.Greater(t, s.start, all[i-1].start)
				require.GreaterOrEqual(t, all[i-1].end-s.start, tile.overlap, "neighbours share the overlap")
			}
		}
	}
}

// A decoder that looks at single pixels only gives the same picture in tiles
// as at once: the seams are blended without a trace.
func TestTiledDecodeIsSeamless(t *testing.T) {
	const scale = 4
	upscale := func(_ context.Context, z plane) (plane, error) {
		out := newPlane(z.channels, z.height*scale, z.width*scale)
		for c := range out.channels {
			for y := range out.height {
				for x := range out.width {
					out.data[(c*out.height+y)*out.width+x] = z.data[(c*z.height+y/scale)*z.width+x/scale]
				}
			}
		}
		return out, nil
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, size := range [][2]int{{16, 16}, {17, 40}, {33, 31}, {64, 9}} {
		z := newPlane(3, size[0], size[1])
		for i := range z.data {
			z.data[i] = float32(r.NormFloat64())
		}
		want, _ := upscale(context.Background(), z)
		var calls, of int
		got, err := tiling{16, 4, 0}.decodeTiled(context.Background(), z, scale, upscale, func(_, n int) error {
			calls, of = calls+1, n
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, of, calls)
		require.Equal(t, [3]int{want.channels, want.height, want.width}, [3]int{got.channels, got.height, got.width})
		for i := range want.data {
			if d := want.data[i] - got.data[i]; !(d < 1e-5 && d > -1e-5) {
				t.Fatalf("%v: element %d is %g, %g wanted", size, i, got.data[i], want.data[i])
			}
		}
	}
}

// Between two tiles that disagree the picture goes over from one to the other
// without a jump.
func TestSeamsRise(t *testing.T) {
	calls := 0
	step := func(_ context.Context, z plane) (plane, error) {
		out := newPlane(1, z.height, z.width)
		for i := range out.data {
			out.data[i] = float32(calls)
		}
		calls++
		return out, nil
	}
	got, err := tiling{16, 8, 0}.decodeTiled(context.Background(), newPlane(1, 4, 24), 1, step, func(int, int) error { return nil })
	require.NoError(t, err)
	for x := 1; x < 24; x++ {
		d := got.data[x] - got.data[x-1]
		require.True(t, d >= 0 && d < 0.2, "a jump of %g at %d", d, x)
	}
	require.Zero(t, got.data[0])
	require.Equal(t, float32(1), got.data[23])
}

func TestTiledDecodeStops(t *testing.T) {
	stop := errors.New("stop")
	_, err := tiling{16, 4, 0}.decodeTiled(context.Background(), newPlane(1, 40, 40), 1,
		func(context.Context, plane) (plane, error) { return plane{}, stop }, func(int, int) error { return nil })
	require.ErrorIs(t, err, stop)
}
