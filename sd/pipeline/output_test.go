package pipeline

import (
	"image/color"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/tensor"
)

// What is decoded becomes a picture, the frames of a video, or sound.
func TestOutputs(t *testing.T) {
	video := tensor.New(3, 2, 1, 2) // two frames of two pixels, the second one red
	for i := range video.Data {
		video.Data[i] = -1
	}
	video.Data[2], video.Data[3] = 1, 1
	got, err := Output{Videos, 24}.image(video)
	require.NoError(t, err)
	require.Equal(t, 24.0, got.Video.Rate)
	require.Len(t, got.Video.Frames, 2)
	require.Same(t, got.Image, got.Video.Frames[0])
	require.Equal(t, color.NRGBA{A: 255}, got.Image.NRGBAAt(1, 0))
	require.Equal(t, color.NRGBA{R: 255, A: 255}, got.Video.Frames[1].NRGBAAt(1, 0))

	got, err = Output{Sounds, 16000}.image(tensor.Of([]float32{1, 2, 3, 4, 5, 6}, 2, 3))
	require.NoError(t, err)
	require.Nil(t, got.Image)
	require.Equal(t, [][]float32{{1, 2, 3}, {4, 5, 6}}, got.Sound.Channels)
	require.Equal(t, 16000, got.Sound.Rate)

	got, err = Output{}.image(tensor.New(3, 4, 5))
	require.NoError(t, err)
	require.Equal(t, 5, got.Image.Rect.Dx())
	for _, shape := range [][]int{{3, 4}, {4, 4, 4}, {3, 2, 4, 4}} {
		_, err = Output{}.image(tensor.New(shape...))
		require.ErrorContains(t, err, "none of the family's output")
	}
}
