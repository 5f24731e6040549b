package pipeline

import (
	"image"
	"image/color"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/sd/tensor"
)

// The numbers of AUTOMATIC1111's extension (soft weights) and of the diffusers library
// (torch.logspace(-1, 0, 13)).
func TestControlFactors(t *testing.T) {
	for _, c := range []struct {
		mode           request.ControlMode
		n              int
		first, last    float64
		withoutPrompts bool
	}{
		{request.ControlPrompt, 13, 0.0994108, 1, true}, // 0.825^12
		{request.ControlPrompt, 10, 0.0994108, 0.561516, true},
		{request.ControlNetwork, 13, 0.0994108, 1, false},
		{request.ControlGuess, 13, 0.1, 1, false},
	} {
		cond, uncond := factors(c.mode, 2, c.n)
		require.Len(t, cond, c.n)
		require.InDelta(t, 2*c.first, cond[0], 1e-5, c.mode)
		require.InDelta(t, 2*c.last, cond[c.n-1], 1e-5, c.mode)
		if c.withoutPrompts {
			require.Equal(t, cond, uncond)
		} else {
			require.Equal(t, make([]float32, c.n), uncond)
		}
	}
	cond, uncond := factors(request.ControlGuess, 1, 13)
	require.InDelta(t, 0.316228, cond[6], 1e-5)
	require.Zero(t, uncond[6])
	cond, uncond = factors(request.ControlBalanced, 1, 13)
	require.Nil(t, cond)
	require.Nil(t, uncond)
	cond, _ = factors("", 0.5, 3)
	require.Equal(t, []float32{0.5, 0.5, 0.5}, cond)

	features := make([]tensor.Tensor, 4)
	for i := range features {
		features[i] = tensor.Of([]float32{1}, 1, 1, 1)
	}
	soft, without := softened(request.ControlNetwork, 2, features)
	require.Nil(t, without)
	for i, want := range []float32{0.5, 1.24, 1.65, 2} {
		require.InDelta(t, want, soft[i].Data[0], 1e-6)
	}
}

// The steps in which a network takes part, as the diffusers library's controlnet_keep.
func TestControlSteps(t *testing.T) {
	for _, c := range []struct {
		start, end float64
		want       []int
	}{{0, 1, []int{0, 1, 2, 3, 4}}, {0.2, 0.6, []int{1, 2}}, {0.3, 0.7, []int{2}}, {0, 0.1, nil}, {0.9, 1, nil}} {
		var made int
		s := &steering{all: []steer{{start: c.start, end: c.end}}, made: &made, of: 5}
		var got []int
		for made = range 5 {
			if len(s.active()) > 0 {
				got = append(got, made)
			}
		}
		require.Equal(t, c.want, got, "%g to %g", c.start, c.end)
	}
	require.Empty(t, (*steering)(nil).active())
}

// A photo becomes edges at the size that it is scaled to.
func TestPreprocessed(t *testing.T) {
	photo := image.NewNRGBA(image.Rect(0, 0, 256, 192))
	for y := range 192 {
		for x := range 256 {
			photo.Set(x, y, color.NRGBA{uint8(255 * (x / 128)), 0, 0, 255})
		}
	}
	edges, _, err := preprocessed("canny", photo, image.Pt(128, 128))
	require.NoError(t, err)
	require.Equal(t, image.Pt(171, 128), edges.Rect.Size())
	white := 0
	for i := 0; i < len(edges.Pix); i += 4 {
		white += int(edges.Pix[i] / 255)
	}
	require.InDelta(t, 128, white, 8, "one line")
	negative, _, err := preprocessed("invert", photo, image.Pt(128, 128))
	require.NoError(t, err)
	require.Equal(t, photo.Rect, negative.Rect)
	same, _, err := preprocessed("", photo, image.Pt(128, 128))
	require.NoError(t, err)
	require.Same(t, photo, same)
	_, _, err = preprocessed("depth", photo, image.Pt(128, 128))
	require.Error(t, err)
}
