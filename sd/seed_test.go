package sd

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// A seed of 64 bits makes torch's picture of its low 32 bits and a picture of its own
// with Philox, as in the programs that have these generators; the picture's parameters
// make it again.
func TestSeedsOf64Bits(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{})
	draw := func(seed uint64, rng RNG) Image {
		r := Request{Prompt: "a fox", Width: 16, Height: 16, Steps: 2, RNG: rng}
		r.SetSeed(seed)
		result, err := m.Generate(context.Background(), r)
		require.NoError(t, err)
		require.Equal(t, seed, uint64(result.Images[0].Params.Seed))
		again, err := m.Generate(context.Background(), result.Images[0].Params.Request)
		require.NoError(t, err)
		require.Equal(t, result.Images[0].Image.Pix, again.Images[0].Image.Pix)
		return result.Images[0]
	}
	for _, seed := range []uint64{math.MaxUint64, 1 << 63, 1<<63 + 7, 1<<32 + 7} {
		low := uint64(uint32(seed))
		require.Equal(t, draw(low, TorchRNG).Image.Pix, draw(seed, TorchRNG).Image.Pix, seed)
		require.NotEqual(t, draw(low, PhiloxRNG).Image.Pix, draw(seed, PhiloxRNG).Image.Pix, seed)
	}
}

// Two pictures may have seeds on both sides of 2^63, and a seed that is -1 is drawn
// only where it is no number of 64 bits.
func TestSeedsAcrossTheSign(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{})
	r := Request{Prompt: "a fox", Width: 16, Height: 16, Steps: 1, Count: 2, Seed: math.MaxInt64}
	result, err := m.Generate(context.Background(), r)
	require.NoError(t, err)
	last := result.Images[1].Params
	require.Equal(t, uint64(1)<<63, uint64(last.Seed))
	require.True(t, last.UnsignedSeed)

	r.Count, r.Seed = 1, RandomSeed
	result, err = m.Generate(context.Background(), r)
	require.NoError(t, err)
	require.LessOrEqual(t, result.Images[0].Params.Seed, int64(math.MaxUint32))
}
