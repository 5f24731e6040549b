package job

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/request"
)

// Seeds of 64 bits, as ComfyUI writes them, are the same number in a flag, JSON and the
// parameters of a picture, in and out.
func TestSeedsOf64Bits(t *testing.T) {
	for _, seed := range []uint64{0, 1, 1<<53 + 1, math.MaxInt64, 1 << 63, 1<<63 + 12345, math.MaxUint64 - 1, math.MaxUint64} {
		text := fmt.Sprint(seed)
		var r request.Request
		require.NoError(t, Set(&r, "seed", text))
		require.NoError(t, Set(&r, "to-seed", text))
		require.Equal(t, seed, uint64(r.Seed))
		require.Equal(t, seed, uint64(*r.Interpolate.Seed))
		require.False(t, r.Random())

		written, err := Encode(r)
		require.NoError(t, err)
		require.Contains(t, string(written), `"seed":`+text+",")
		require.Contains(t, string(written), `"to_seed":`+text+",")
		read, err := Decode(written)
		require.NoError(t, err)
		require.NoError(t, differ(read, r))

		q, err := r.Resolve(request.Defaults{Side: 512, Align: 8})
		require.NoError(t, err)
		p := q.Params("m", q.Seed)
		written = []byte(Text(p, "0.1.0"))
		require.Contains(t, string(written), ", Seed: "+text+",")
		require.Contains(t, string(written), "Variation seed: "+text)
		got, unread, err := ReadText(string(written))
		require.NoError(t, err)
		require.Empty(t, unread)
		require.Equal(t, seed, uint64(got.Seed))
		require.Equal(t, p.UnsignedSeed, got.UnsignedSeed)
		require.Equal(t, p.Interpolate, got.Interpolate)
	}
}

// What is no seed is refused: a number that went through a float would be another
// picture's.
func TestWhatIsNoSeed(t *testing.T) {
	const range64, random = "must be 0 to 18446744073709551615", ", or -1 for a random one"
	for text, want := range map[string]string{
		"18446744073709551616": range64 + random + ", got 18446744073709551616", "-2": range64 + random + ", got -2",
		"-9223372036854775809": range64, "x": "must be a whole number", "1.5": "must be a whole number", "": "must be a whole number", "0x10": "whole number",
	} {
		var r request.Request
		require.ErrorContains(t, Set(&r, "seed", text), want, text)
		require.Zero(t, r)
		require.Error(t, Set(&r, "to-seed", text))
		require.Zero(t, r)
		if json.Valid([]byte(text)) {
			_, err := Decode([]byte(`{"seed": ` + text + `}`))
			require.ErrorContains(t, err, want, text)
		}
	}
	var r request.Request
	require.ErrorContains(t, Set(&r, "to-seed", "-1"), range64+", got -1")
	require.NoError(t, Set(&r, "seed", "-1"))
	require.True(t, r.Random())
	_, err := Decode([]byte(`{"seed": 1.8446744073709552e19}`))
	require.ErrorContains(t, err, "must be a whole number")
}

// The last of several pictures has a seed of 64 bits, too.
func TestSeedsOfSeveralPictures(t *testing.T) {
	var r request.Request
	r.SetSeed(math.MaxUint64 - 3)
	r.Interpolate = &request.Interpolation{At: 0.5}
	r.Interpolate.SetSeed(math.MaxInt64)
	r.Count = 4
	d := request.Defaults{Side: 512, Align: 8}
	q, err := r.Resolve(d)
	require.NoError(t, err)
	last := q.Params("m", q.Seed+3)
	require.EqualValues(t, uint64(math.MaxUint64), uint64(last.Seed))
	require.EqualValues(t, uint64(math.MaxInt64)+3, uint64(*last.Interpolate.Seed))
	require.True(t, last.UnsignedSeed && last.Interpolate.UnsignedSeed)
	require.False(t, q.Params("m", 5).UnsignedSeed)

	r.Count = 5
	_, err = r.Resolve(d)
	require.ErrorContains(t, err, "must be at most 18446744073709551611 for 5 pictures, got 18446744073709551612")
	r.SetSeed(0)
	r.Interpolate.SetSeed(math.MaxUint64)
	_, err = r.Resolve(d)
	require.ErrorContains(t, err, "Interpolate.Seed: must be at most 18446744073709551611 for 5 pictures")
}

// Noise has the seed that the text says: torch takes its low 32 bits, Philox all 64.
func TestNoiseOfLargeSeeds(t *testing.T) {
	draw := func(n sampler.Noise) []float32 {
		x := make([]float32, 32)
		n.Normal(x)
		return x
	}
	require.Equal(t, draw(sampler.NewTorch(5)), draw(sampler.NewTorch(1<<32+5)))
	require.NotEqual(t, draw(sampler.NewPhilox(5)), draw(sampler.NewPhilox(1<<32+5)))
}
